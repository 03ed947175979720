import { describe, expect, test } from '@jest/globals';
import { SUPPRESSIONS, type noCounts } from '../../src/core/alert/alert.ts';
import {
  digestKey,
  MOST_GROUPS,
  overflowKey,
  shareOfGroups,
} from '../../src/core/alert/judgement.ts';
import type { Rule } from '../../src/core/alert/rule.ts';
import { aSilence, AlertStage, STAGE_START as START } from '../support/alert-stage.ts';
import { aRule, anAlertEvent } from '../support/fake-alerts.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const SUCCESS = aRule().resolve;

function stage(...about: ConstructorParameters<typeof AlertStage>): AlertStage {
  return new AlertStage(...about);
}

function expectSum(counts: ReturnType<typeof noCounts>): void {
  const told = SUPPRESSIONS.reduce((sum, reason) => sum + counts[reason], counts.notified);
  expect(counts.observed).toBe(told + counts.waiting);
}

describe('an alert of each matching event', () => {
  test('500 failures in a minute cause one firing and one update per interval', () => {
    const play = stage([aRule()]);
    for (let run = 0; run < 500; run += 1) {
      play.judge('run.failed');
      play.wait(120);
    }
    play.wait(10 * MINUTE);
    play.judge('run.completed');
    expect(play.notified()).toEqual(['firing 30', 'updated 330', 'resolved 660']);
    expect(play.sent.at(-1)?.alert).toMatchObject({ count: 500, state: 'resolved' });
    expect(play.counts).toMatchObject({ observed: 500, notified: 2, grouped: 498, waiting: 0 });
  });

  test('an alert that resolves while it is pending is notified as firing and resolved at once', () => {
    const play = stage([aRule()]);
    play.judge('run.failed');
    play.judge('run.completed');
    expect(play.notified()).toEqual([]);
    play.wait(MINUTE);
    expect(play.notified()).toEqual(['firing 30', 'resolved 30']);
  });

  test('an alert needs as many successes in a row as its rule says', () => {
    const play = stage([aRule({ resolve: { ...SUCCESS, count: 2 } })]);
    play.judge('run.failed');
    play.wait(MINUTE);
    for (const type of ['run.completed', 'run.failed', 'run.completed']) play.judge(type);
    expect(play.notified()).toEqual(['firing 30']);
    play.judge('run.completed');
    expect(play.notified()).toEqual(['firing 30', 'resolved 60']);
  });

  test('an alert resolves when nothing has matched for resolve.after', () => {
    const play = stage([aRule({ resolve: { ...SUCCESS, events: [], afterMs: HOUR } })]);
    play.judge('run.failed');
    play.wait(30 * MINUTE);
    play.judge('run.failed');
    play.wait(2 * HOUR);
    expect(play.notified()).toEqual(['firing 30', 'updated 1830', 'resolved 5400']);
  });

  test('an alert that goes on is notified again after each repeat_interval', () => {
    const play = stage([aRule()]);
    play.judge('run.failed');
    play.wait(9 * HOUR);
    expect(play.sent.map(({ kind, isRepeat }) => [kind, isRepeat])).toEqual([
      ['firing', false],
      ['updated', true],
      ['updated', true],
    ]);
  });

  test('a group that flaps fires at most twice in group_interval', () => {
    const play = stage([aRule()]);
    for (let second = 0; second < 300; second += 1) {
      play.judge('run.failed');
      play.judge('run.completed');
      play.wait(SECOND);
    }
    expect(play.sent.filter(({ kind }) => kind === 'firing')).toHaveLength(2);
    expectSum(play.counts);
  });

  test('an alert keeps the newest runs and counts the others', () => {
    const play = stage([aRule({ maxRuns: 2 })]);
    for (let run = 0; run < 4; run += 1) {
      play.judge('run.failed');
      play.wait(SECOND);
    }
    expect(play.alert()).toMatchObject({
      count: 4,
      runs: [{ runId: 'run-4' }, { runId: 'run-3' }],
    });
  });

  test('a second alert of a group has an id of its own', () => {
    const play = stage([aRule()]);
    for (let round = 0; round < 2; round += 1) {
      play.judge('run.failed');
      play.wait(MINUTE);
      play.judge('run.completed');
    }
    const ids = play.sent.map(({ alert }) => alert.id);
    expect(ids[0]).toBe(ids[1]);
    expect(ids[2]).toBe(ids[3]);
    expect(ids[0]).not.toBe(ids[2]);
  });
});

describe('an acknowledged alert', () => {
  test('an acknowledged alert gets no updates, repeats and escalation, and still resolves', () => {
    const escalate = [{ afterMs: HOUR, unlessAcknowledged: true, notify: ['pager'] }];
    const play = stage([aRule({ escalate })]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.acknowledge();
    for (let run = 0; run < 3; run += 1) play.judge('run.failed');
    play.wait(12 * HOUR);
    play.judge('run.completed');
    expect(play.notified()).toEqual(['firing 30', 'acknowledged 60', 'resolved 43260']);
    expect(play.counts).toMatchObject({ observed: 4, notified: 1, acknowledged: 3 });
  });

  test('an alert is notified again when its acknowledgement expires', () => {
    const play = stage([aRule()]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.acknowledge(START + HOUR);
    play.wait(2 * HOUR);
    expect(play.notified()).toEqual(['firing 30', 'acknowledged 60', 'updated 3600']);
    expect(play.alert()).toMatchObject({ state: 'firing', acknowledged: null });
  });

  test('an alert that is acknowledged before its first notification sends none', () => {
    const play = stage([aRule()]);
    play.judge('run.failed');
    play.acknowledge();
    play.wait(HOUR);
    play.judge('run.completed');
    expect(play.notified()).toEqual([]);
    expect(play.counts).toMatchObject({ observed: 1, acknowledged: 1 });
  });
});

describe('the owner of an alert', () => {
  const ownerOf: Rule['ownerOf'] = ({ workflowId }) =>
    ({ 'wf-1': '@ana', 'wf-2': '@bob' })[workflowId] ?? null;
  const runOf = (workflowId: string) => ({
    run: { runId: workflowId, workflowId, name: null, url: null, status: 'failed' },
  });

  test('an alert has the owner of its workflow where the rule names none', () => {
    const play = stage([aRule({ owner: null, ownerOf })]);
    play.judge('run.failed');
    expect(play.alert()?.owner).toBe('@ana');
  });

  test('an alert of workflows of two owners has none', () => {
    const play = stage([aRule({ owner: null, ownerOf, groupBy: [] })]);
    play.judge('run.failed', runOf('wf-1'));
    expect(play.alert()?.owner).toBe('@ana');
    play.judge('run.failed', runOf('wf-2'));
    expect(play.alert()?.owner).toBeNull();
  });

  test('the owner of a rule comes before that of a workflow', () => {
    const play = stage([aRule({ owner: '@team', ownerOf })]);
    play.judge('run.failed');
    expect(play.alert()?.owner).toBe('@team');
  });
});

describe('an escalation', () => {
  test('each step of an escalation notifies its endpoints once, and again of the end', () => {
    const escalate = [
      { afterMs: 30 * MINUTE, unlessAcknowledged: true, notify: ['pager'] },
      { afterMs: HOUR, unlessAcknowledged: false, notify: ['boss', 'chat'] },
    ];
    const play = stage([aRule({ escalate })]);
    play.judge('run.failed');
    play.wait(2 * HOUR);
    play.judge('run.completed');
    expect(play.sent.map(({ kind, notify }) => [kind, notify])).toEqual([
      ['firing', ['chat']],
      ['firing', ['pager']],
      ['firing', ['boss']],
      ['updated', ['chat']],
      ['resolved', ['chat', 'pager', 'boss']],
    ]);
  });

  test('a step that an acknowledgement does not excuse is taken nevertheless', () => {
    const escalate = [{ afterMs: HOUR, unlessAcknowledged: false, notify: ['pager'] }];
    const play = stage([aRule({ escalate })]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.acknowledge();
    play.wait(2 * HOUR);
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing', 'acknowledged', 'firing']);
  });
});

describe('a silence', () => {
  test('a silenced alert is recorded, and notified only when the silence ends', () => {
    const play = stage([aRule()]);
    play.silences.push(aSilence());
    for (let run = 0; run < 3; run += 1) play.judge('run.failed');
    play.wait(50 * MINUTE);
    expect(play.alert()).toMatchObject({ state: 'firing', count: 3 });
    expect(play.notified()).toEqual([]);
    play.wait(20 * MINUTE);
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing']);
    expect(play.counts).toMatchObject({ observed: 3, silenced: 3, notified: 0, waiting: 0 });
  });

  test('an alert that resolves within a silence is never notified', () => {
    const play = stage([aRule()]);
    play.silences.push(aSilence());
    play.judge('run.failed');
    play.wait(10 * MINUTE);
    play.judge('run.completed');
    play.wait(2 * HOUR);
    expect(play.notified()).toEqual([]);
  });

  test('a silence of one workflow leaves the others of the same alert', () => {
    const play = stage([aRule({ groupBy: [] })]);
    play.silences.push(aSilence({ matchers: { workflowId: ['wf-2'] } }));
    const run = { runId: 'r', workflowId: 'wf-2', name: null, url: null, status: 'failed' };
    play.judge('run.failed');
    play.judge('run.failed', { run });
    play.wait(MINUTE);
    expect(play.notified()).toEqual(['firing 30']);
    expect(play.counts).toMatchObject({ observed: 2, silenced: 1, notified: 1 });
  });
});

describe('mute intervals', () => {
  const night = { name: 'nights', times: [{ from: 22 * 60, to: 24 * 60 }], location: 'UTC' };
  const morning = { name: 'mornings', times: [{ from: 0, to: 6 * 60 }], location: 'UTC' };
  const mute = [night, morning];
  const TO_MIDNIGHT = 14 * HOUR;

  test('alerts of a muted rule become one digest when the mute ends', () => {
    const play = stage([aRule({ mute })]);
    play.wait(TO_MIDNIGHT);
    for (const workflowId of ['wf-1', 'wf-2', 'wf-3']) {
      const run = { runId: workflowId, workflowId, name: null, url: null, status: 'failed' };
      play.judge('run.failed', { run });
      play.judge('run.failed', { run });
    }
    play.wait(5 * HOUR);
    expect(play.notified()).toEqual([]);
    play.wait(90 * MINUTE);
    expect(play.sent).toHaveLength(1);
    expect(play.sent[0]).toMatchObject({
      kind: 'firing',
      at: Date.parse('2026-03-03T06:00:00.000Z'),
      alert: { count: 6, labels: {} },
      digest: { reason: 'muted', byType: { 'run.failed': 6 }, alerts: [{}, {}, {}] },
    });
    expect(play.counts).toMatchObject({ observed: 6, muted: 6 });
    play.judge('run.completed');
    expect(play.sent.at(-1)).toMatchObject({ kind: 'resolved', alert: { count: 2 } });
  });

  test('a digest of one alert is that alert', () => {
    const play = stage([aRule({ mute })]);
    play.wait(TO_MIDNIGHT);
    play.judge('run.failed');
    play.wait(MINUTE);
    const id = play.alert()?.id;
    play.wait(7 * HOUR);
    expect(play.sent).toMatchObject([
      { kind: 'firing', alert: { id }, digest: { reason: 'muted' } },
    ]);
  });

  test('an alert that was notified before a mute and resolves in it is resolved when the mute ends', () => {
    const play = stage([aRule({ mute })]);
    play.wait(11.9 * HOUR);
    play.judge('run.failed');
    play.wait(HOUR);
    play.judge('run.completed');
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing']);
    play.wait(9 * HOUR);
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing', 'resolved']);
  });

  test('an alert that a digest covered goes on with updates and repeats', () => {
    const play = stage([aRule({ mute })]);
    play.wait(TO_MIDNIGHT);
    play.judge('run.failed');
    play.wait(7 * HOUR);
    play.judge('run.failed');
    play.wait(10 * MINUTE);
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing', 'updated']);
    expect(play.groups.has(digestKey('failed-runs'))).toBe(false);
  });
});

describe('thresholds', () => {
  test('a count within a time fires when it is reached and resolves when it is not any more', () => {
    const condition = { kind: 'count', count: 3, withinMs: 10 * MINUTE } as const;
    const play = stage([aRule({ condition, groupWaitMs: 0 })]);
    play.judge('run.failed');
    play.wait(11 * MINUTE);
    play.judge('run.failed');
    play.judge('run.failed');
    play.wait(MINUTE);
    expect(play.notified()).toEqual([]);
    play.judge('run.failed');
    play.wait(MINUTE);
    expect(play.sent).toMatchObject([{ kind: 'firing', alert: { count: 3 } }]);
    play.wait(HOUR);
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing', 'resolved']);
  });

  test('so many failures in a row fire, and one success resolves', () => {
    const play = stage([aRule({ condition: { kind: 'consecutive', count: 3 }, groupWaitMs: 0 })]);
    for (const type of ['failed', 'failed', 'completed', 'failed', 'failed']) {
      play.judge(`run.${type}`);
    }
    play.wait(MINUTE);
    expect(play.notified()).toEqual([]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.judge('run.completed');
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing', 'resolved']);
  });

  test('a failure rate fires from at_least runs on, and resolves below it', () => {
    const condition = { kind: 'rate', rate: 0.5, ofLast: 10, atLeast: 4 } as const;
    const play = stage([aRule({ condition, groupWaitMs: 0 })]);
    for (const type of ['failed', 'failed', 'completed']) play.judge(`run.${type}`);
    play.wait(MINUTE);
    expect(play.notified()).toEqual([]);
    play.judge('run.stopped');
    play.wait(MINUTE);
    expect(play.sent).toMatchObject([{ kind: 'firing', alert: { count: 2 } }]);
    play.judge('run.completed');
    expect(play.sent.at(-1)).toMatchObject({ kind: 'resolved' });
  });

  test('a threshold fires only once it was crossed for as long as for', () => {
    const condition = { kind: 'consecutive', count: 2 } as const;
    const play = stage([aRule({ condition, forMs: 10 * MINUTE, groupWaitMs: 0 })]);
    play.judge('run.failed');
    play.judge('run.failed');
    play.wait(9 * MINUTE);
    play.judge('run.completed');
    play.wait(HOUR);
    expect(play.notified()).toEqual([]);
    play.judge('run.failed');
    play.judge('run.failed');
    play.wait(11 * MINUTE);
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing']);
  });

  test('a threshold that is crossed again within keep_firing_for goes on', () => {
    const condition = { kind: 'consecutive', count: 1 } as const;
    const play = stage([aRule({ condition, keepFiringForMs: HOUR, groupWaitMs: 0 })]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.judge('run.completed');
    play.wait(30 * MINUTE);
    play.judge('run.failed');
    play.wait(50 * MINUTE);
    play.judge('run.completed');
    play.wait(50 * MINUTE);
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing', 'updated']);
    play.wait(20 * MINUTE);
    expect(play.sent.at(-1)).toMatchObject({ kind: 'resolved' });
  });
});

describe('what should have happened', () => {
  const labels = { source: 'default', workflow_id: 'wf-1' };
  const absent = { kind: 'absent', event: 'run.completed', withinMs: HOUR } as const;

  test('an absent event fires once it is overdue, and resolves when it comes', () => {
    const play = stage([aRule({ condition: absent, groupWaitMs: 0 })]);
    play.begin(labels);
    play.wait(50 * MINUTE);
    play.judge('run.completed');
    play.wait(59 * MINUTE);
    expect(play.notified()).toEqual([]);
    play.wait(2 * MINUTE);
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing']);
    play.judge('run.completed');
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing', 'resolved']);
  });

  test('an alert of an absent event says what is missing, of which workflow', () => {
    const nameOf = () => 'invoices';
    const play = stage([aRule({ condition: absent, groupWaitMs: 0, nameOf })]);
    play.begin(labels);
    play.wait(2 * HOUR);
    const { summary } = play.alert()?.annotations ?? {};
    expect(summary).toBe('No run.completed of invoices for 1h');
  });

  test('time without a process does not count as absence', () => {
    const play = stage([aRule({ condition: absent, groupWaitMs: 0 })]);
    play.begin(labels);
    play.wait(30 * MINUTE);
    play.down(5 * HOUR);
    play.wait(25 * MINUTE);
    expect(play.notified()).toEqual([]);
    play.wait(10 * MINUTE);
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing']);
  });

  test('absence does not fire while the source is in doubt', () => {
    const play = stage([aRule({ condition: absent, groupWaitMs: 0 })]);
    play.inDoubt.add('default');
    play.begin(labels);
    play.wait(3 * HOUR);
    expect(play.notified()).toEqual([]);
    play.inDoubt.clear();
    // What was not seen counts for nothing.
    play.wait(59 * MINUTE);
    expect(play.notified()).toEqual([]);
    play.wait(2 * MINUTE);
    expect(play.sent.map(({ kind }) => kind)).toEqual(['firing']);
  });

  test('runs beyond their deadline are one alert, which resolves with the last of them', () => {
    const limit = { kind: 'interval', ms: HOUR } as const;
    const condition = { kind: 'deadline', reference: 'created_at', limit } as const;
    const play = stage([aRule({ condition, groupWaitMs: 0 })]);
    play.late('run-a');
    play.late('run-b');
    play.late('run-b');
    play.wait(MINUTE);
    expect(play.sent).toMatchObject([{ kind: 'firing', alert: { count: 2 } }]);
    play.judge('run.completed', { run: anAlertEvent({ runId: 'run-a' }).run });
    expect(play.sent).toHaveLength(1);
    play.judge('run.failed', { run: anAlertEvent({ runId: 'run-b' }).run });
    expect(play.sent.at(-1)).toMatchObject({ kind: 'resolved' });
  });
});

describe('groups of a rule beyond their bound', () => {
  test('events of further groups are counted together by one alert, which ends by itself', () => {
    const rule = aRule({ groupBy: ['...'], groupWaitMs: 0, groupIntervalMs: MINUTE });
    const play = stage([rule], { otherGroups: MOST_GROUPS - 2 });
    for (let run = 0; run < 7; run += 1) play.judge('run.failed');
    play.wait(2 * MINUTE);
    play.judge('run.failed');
    const overflow = play.groups.get(overflowKey('failed-runs', 'default'))?.open?.alert;
    const labels = { overflow: 'true', source: 'default' };
    expect(overflow).toMatchObject({ count: 6, labels, state: 'firing' });
    expect(play.groups.size).toBe(3);
    play.wait(2 * MINUTE);
    play.judge('run.completed');
    play.wait(2 * HOUR);
    const ofOverflow = play.sent.filter(({ alert }) => alert.id === overflow?.id);
    expect(ofOverflow.map(({ kind }) => kind)).toEqual(['firing', 'updated', 'resolved']);
    expect(play.counts).toMatchObject({ observed: 8, waiting: 0 });
    expectSum(play.counts);
  });

  test.each([
    [1, 1_000],
    [2, 750],
    [3, 500],
    [4, 250],
    [9, 250],
  ])('of %i sources each may have %i groups of a rule', (sources, share) => {
    expect(shareOfGroups(sources)).toBe(share);
  });

  test('the groups of one source leave those of another their own alerts', () => {
    const rule = aRule({ groupBy: ['metadata.team'], groupWaitMs: MINUTE });
    const play = stage([rule], { otherGroups: 749, sources: ['default', 'other'] });
    const fail = (team: string, source = 'default') =>
      play.judge('run.failed', { source, metadata: { team } });
    for (const team of ['first', 'beyond']) fail(team);
    play.wait(SECOND);
    // The first event beyond the share is sent at once, with its run.
    expect(play.sent).toMatchObject([
      { kind: 'firing', alert: { labels: { overflow: 'true', source: 'default' }, count: 1 } },
    ]);
    expect(play.sent[0]?.alert.runs).toHaveLength(1);
    for (let team = 0; team < 20; team += 1) fail(`team-${team}`);
    fail('payments', 'other');
    play.wait(2 * MINUTE);
    const fired = play.sent
      .filter(({ kind }) => kind === 'firing')
      .map(({ alert }) => alert.labels);
    expect(fired).toContainEqual({ 'metadata.team': 'payments' });
    expect(fired).toHaveLength(3);
  });

  test('events beyond the share of a source are counted by an alert of that source', () => {
    const rule = aRule({ groupBy: ['...'], groupWaitMs: 0 });
    const play = stage([rule], { otherGroups: MOST_GROUPS, sources: ['default', 'other'] });
    play.judge('run.failed');
    play.judge('run.failed', { source: 'other' });
    play.wait(SECOND);
    expect(play.sent.map(({ alert }) => alert.labels)).toEqual([
      { overflow: 'true', source: 'default' },
      { overflow: 'true', source: 'other' },
    ]);
  });
});

describe('digests and inhibition', () => {
  test('a digest covers the events of a day at its time', () => {
    const schedule = { minute: 8 * 60, location: 'Europe/Lisbon' };
    const condition = { kind: 'digest', schedule } as const;
    const play = stage([aRule({ condition, events: ['run.*'], groupBy: [] })]);
    play.judge('run.failed');
    play.judge('run.completed');
    play.wait(72 * HOUR);
    expect(play.sent).toMatchObject([
      {
        kind: 'firing',
        at: Date.parse('2026-03-03T08:00:00.000Z'),
        alert: { count: 2 },
        digest: { reason: 'schedule', byType: { 'run.failed': 1, 'run.completed': 1 } },
      },
    ]);
    expect(play.counts).toMatchObject({ observed: 2, notified: 1, grouped: 1 });
  });

  test('an alert is inhibited while one of another rule with equal labels goes on', () => {
    const down = aRule({
      name: 'noxus-down',
      events: ['source.unreachable'],
      resolve: { ...SUCCESS, events: ['source.recovered'] },
      groupBy: ['source'],
    });
    const play = stage([down, aRule()], {
      inhibit: [{ sourceRule: 'noxus-down', targetRule: 'failed-runs', equal: ['source'] }],
    });
    play.judge('source.unreachable', { run: null });
    play.wait(MINUTE);
    play.judge('run.failed');
    play.wait(10 * MINUTE);
    expect(play.sent.map(({ alert }) => alert.rule)).toEqual(['noxus-down']);
    expect(play.counts).toMatchObject({ observed: 2, notified: 1, inhibited: 1 });
    play.judge('source.recovered', { run: null });
    play.wait(2 * MINUTE);
    expect(play.sent.map(({ alert, kind }) => `${alert.rule} ${kind}`)).toEqual([
      'noxus-down firing',
      'noxus-down resolved',
      'failed-runs firing',
    ]);
  });
});
