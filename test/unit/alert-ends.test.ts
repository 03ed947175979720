import { describe, expect, test } from '@jest/globals';
import { planAlertEvent } from '../../src/alert/event.ts';
import { configSchema } from '../../src/config/schema.ts';
import { MOST_GROUPS, ownersOf } from '../../src/core/alert/judgement.ts';
import { defaultResolution, type Rule } from '../../src/core/alert/rule.ts';
import { aSilence, AlertStage, STAGE_START as START } from '../support/alert-stage.ts';
import { testProcess } from '../support/daemon.ts';
import { aRule, anAlertEvent } from '../support/fake-alerts.ts';

const PAGE = 'https://runwatch.example';
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const SUCCESS = aRule().resolve;
const NIGHTS = [
  { name: 'nights', times: [{ from: 22 * 60, to: 24 * 60 }], location: 'UTC' },
  { name: 'nights', times: [{ from: 0, to: 6 * 60 }], location: 'UTC' },
];
/** From the start of the stage, ten in the morning. */
const TO_TEN_IN_THE_EVENING = 12 * HOUR;

/** A rule with the end that it has when it says nothing of it. */
function byDefault(changes: Partial<Rule> = {}): Rule {
  const rule = aRule(changes);
  return { ...rule, resolve: defaultResolution(rule) };
}

function inWorkflow(workflowId: string, runId = `run of ${workflowId}`) {
  return { run: { runId, workflowId, name: null, url: null, status: 'failed' } };
}

describe('an alert whose rule has changed', () => {
  test('a reload that takes resolve.after away leaves no timer that is due at once', () => {
    const after = { ...SUCCESS, events: [], afterMs: 8 * SECOND };
    const play = new AlertStage([aRule({ resolve: after })]);
    play.judge('run.failed');
    play.use([aRule({ resolve: { ...SUCCESS, events: ['run.resumed'] } })]);
    play.wait(HOUR);
    expect(play.notified()).toEqual(['firing 30']);
    expect(Math.min(...play.due.values())).toBeGreaterThan(play.now);
  });

  test('a rate that is of another type now opens no alert of the type before', () => {
    const condition = { kind: 'rate', rate: 0.5, ofLast: 4, atLeast: 2 } as const;
    const rule = aRule({ condition, groupBy: ['event'] });
    const play = new AlertStage([rule]);
    play.judge('run.failed');
    play.use([{ ...rule, events: ['run.stopped'] }]);
    play.judge('run.failed');
    expect(play.open()).toEqual([]);
    for (let run = 0; run < 2; run += 1) play.judge('run.stopped');
    expect(play.open()).toMatchObject([{ labels: { event: 'run.stopped' } }]);
  });

  test.each<[string, (play: AlertStage) => void, (play: AlertStage) => void]>([
    [
      'source',
      (play) => (play.sources = ['other']),
      (play) => (play.sources = ['default', 'other']),
    ],
    [
      'rule',
      (play) => play.use([aRule({ mute: NIGHTS, groupBy: [] })]),
      (play) => play.use([aRule({ mute: NIGHTS })]),
    ],
  ])('a %s that is gone at the end of a mute and comes back in time is told', (_, go, comeBack) => {
    const play = new AlertStage([aRule({ mute: NIGHTS })]);
    play.wait(TO_TEN_IN_THE_EVENING + HOUR);
    play.judge('run.failed');
    play.wait(7 * HOUR - 30 * SECOND);
    go(play);
    play.use(play.all);
    play.wait(45 * SECOND);
    expect(play.sent).toEqual([]);
    comeBack(play);
    play.use(play.all);
    play.wait(MINUTE);
    expect(play.told('chat')).toEqual(['firing']);
    expect(play.sent[0]?.digest).toMatchObject({ byType: { 'run.failed': 1 } });
    expect(play.spinning).toEqual([]);
  });

  test('a threshold that becomes an absence leaves no timer that is due at once', () => {
    const condition = { kind: 'consecutive', count: 1 } as const;
    const play = new AlertStage([aRule({ condition, forMs: MINUTE })]);
    play.judge('run.failed');
    const absent = { kind: 'absent', event: 'run.completed', withinMs: DAY } as const;
    play.use([aRule({ condition: absent, events: [] })]);
    play.judge('run.failed');
    play.wait(HOUR);
    expect(play.spinning).toEqual([]);
  });

  test('a muted rule that comes back in time leaves no digest that is due at once', () => {
    const play = new AlertStage([byDefault({ mute: NIGHTS })]);
    play.wait(TO_TEN_IN_THE_EVENING);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.use([]);
    play.wait(30 * SECOND);
    play.use([byDefault({ mute: NIGHTS })]);
    play.wait(HOUR);
    expect(Math.min(...play.due.values())).toBeGreaterThan(play.now);
    play.wait(7 * HOUR);
    expect(play.sent.map(({ digest }) => digest?.reason)).toEqual(['muted']);
  });

  test.each<[string, Partial<Rule>]>([
    ['another group_by', { groupBy: ['source'] }],
    ['another workflow in when', { when: { workflow_id: ['wf-2'] } }],
    ['another source in when', { when: { source: ['other'] } }],
    ['other metadata in when', { when: { metadata: { env: ['prod'] } } }],
    ['another kind of condition', { condition: { kind: 'consecutive', count: 5 } }],
  ])('%s ends the alerts of before, and notifies the endpoints that knew', (_, changes) => {
    const play = new AlertStage([aRule()]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.use([aRule({ ...changes, notify: ['mail'] })]);
    play.wait(50 * SECOND);
    expect(play.told('chat')).toEqual(['firing']);
    play.wait(11 * SECOND);
    expect(play.told('chat')).toEqual(['firing', 'resolved']);
    expect(play.sent.at(-1)?.alert.reason).toBe('rule_changed');
    expect(play.told('mail')).toEqual([]);
    expect(play.open()).toEqual([]);
  });

  test.each(['before', 'after'])(
    'a silenced failure of the workflow that a reload leaves, %s it, keeps the alert open',
    (when) => {
      const play = new AlertStage([aRule({ groupBy: ['source'] })]);
      play.silences.push(aSilence());
      play.judge('run.failed', inWorkflow('wf-1'));
      if (when === 'before') play.judge('run.failed', inWorkflow('wf-2'));
      play.use([aRule({ groupBy: ['source'], when: { workflow_id: ['wf-2'] } })]);
      if (when === 'after') play.judge('run.failed', inWorkflow('wf-2'));
      play.wait(10 * MINUTE);
      expect(play.alert()).toMatchObject({ state: 'firing', count: 2 });
    },
  );

  test('an alert of silenced events is notified when the first of their silences ends', () => {
    const play = new AlertStage([aRule({ groupBy: ['source'] })]);
    const short = { matchers: { workflowId: ['wf-1'] }, until: START + 10 * MINUTE };
    play.silences.push(aSilence(short), aSilence({ matchers: { workflowId: ['wf-2'] } }));
    for (const workflow of ['wf-1', 'wf-2']) play.judge('run.failed', inWorkflow(workflow));
    play.wait(11 * MINUTE);
    expect(play.told('chat')).toEqual(['firing']);
  });

  test('a workflow that is taken out of an absence is not waited for any more', () => {
    const condition = { kind: 'absent', event: 'run.completed', withinMs: HOUR } as const;
    const rule = aRule({ condition, events: [], groupWaitMs: 0 });
    const play = new AlertStage([{ ...rule, when: { workflow_id: ['wf-1', 'wf-2'] } }]);
    for (const workflow_id of ['wf-1', 'wf-2']) play.begin({ source: 'default', workflow_id });
    play.use([{ ...rule, when: { workflow_id: ['wf-1'] } }]);
    play.wait(3 * HOUR);
    expect(play.sent.map(({ alert }) => alert.labels['workflow_id'])).toEqual(['wf-1']);
    expect(play.groups.size).toBe(1);
  });

  test('a rule under another name ends the alert under the old one at each endpoint', () => {
    const escalate = [{ afterMs: 10 * MINUTE, unlessAcknowledged: true, notify: ['pager'] }];
    const play = new AlertStage([aRule({ escalate })]);
    play.judge('run.failed');
    play.wait(20 * MINUTE);
    play.use([aRule({ name: 'failures', escalate })]);
    play.wait(2 * MINUTE);
    expect([play.told('chat'), play.told('pager')]).toEqual([
      ['firing', 'resolved'],
      ['firing', 'resolved'],
    ]);
    const [first] = play.sent;
    expect(play.sent.every(({ alert }) => alert.id === first?.alert.id)).toBe(true);
  });

  test('a rule that comes back in time goes on with its alert', () => {
    const play = new AlertStage([aRule()]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.isMixed = true;
    play.use([]);
    play.wait(9 * MINUTE);
    play.use([aRule()]);
    play.isMixed = false;
    play.wait(HOUR);
    expect(play.notified()).toEqual(['firing 30']);
    play.judge('run.completed');
    expect(play.told('chat')).toEqual(['firing', 'resolved']);
  });
});

describe('the end of an alert whose rule says nothing of it', () => {
  test('failures of a workflow with successes between them are one alert', () => {
    const play = new AlertStage([byDefault({ groupWaitMs: 3 * SECOND, groupIntervalMs: MINUTE })]);
    for (let run = 0; run < 400; run += 1) {
      play.judge(run % 4 === 0 ? 'run.failed' : 'run.completed');
      play.wait(200);
    }
    play.wait(5 * MINUTE);
    expect(play.told('chat')).toEqual(['firing', 'updated', 'updated', 'resolved']);
    expect(new Set(play.sent.map(({ alert }) => alert.id)).size).toBe(1);
  });

  test('it is the later of a success and group_interval after the last failure', () => {
    const play = new AlertStage([byDefault()]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.judge('run.completed');
    play.wait(HOUR);
    play.judge('run.failed');
    play.wait(2 * HOUR);
    play.judge('run.completed');
    play.wait(SECOND);
    expect(play.notified()).toEqual(['firing 30', 'resolved 300', 'firing 3690', 'resolved 10860']);
  });

  test('failures of a workflow that runs no more are over after seven days', () => {
    const play = new AlertStage([byDefault({ repeatIntervalMs: 30 * DAY })]);
    play.judge('run.failed');
    play.wait(6.9 * DAY);
    expect(play.told('chat')).toEqual(['firing']);
    play.wait(DAY);
    expect(play.told('chat')).toEqual(['firing', 'resolved']);
    expect(play.sent.at(-1)?.alert.reason).toBe('quiet');
  });

  test('keep_firing_for holds the end of an alert of single events back', () => {
    const play = new AlertStage([aRule({ keepFiringForMs: 10 * MINUTE })]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.judge('run.completed');
    play.wait(5 * MINUTE);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.judge('run.completed');
    play.wait(9 * MINUTE);
    expect(play.told('chat')).toEqual(['firing', 'updated']);
    play.wait(2 * MINUTE);
    expect(play.told('chat')).toEqual(['firing', 'updated', 'resolved']);
  });

  test.each([
    'run.resumed',
    'run.completed',
    'run.failed',
    'run.stopped',
    'run.gone',
    'watch.expired',
  ])('a run that waits has an alert of its own until %s', (type) => {
    const waiting = { events: ['run.awaiting_human_feedback'], groupBy: ['...'] };
    const play = new AlertStage([byDefault(waiting)]);
    const { run } = play.judge('run.awaiting_human_feedback');
    play.wait(3 * DAY);
    expect(play.open()).toHaveLength(1);
    play.judge(type, { run });
    expect(play.open()).toEqual([]);
    expect(play.told('chat').at(-1)).toBe('resolved');
  });

  test.each([
    ['source.unreachable', 'source.recovered'],
    ['source.inconsistent', 'source.consistent'],
    ['workflow.stalled', 'workflow.recovered'],
    ['polling.overdue', 'polling.caught_up'],
    ['endpoint.disabled', 'endpoint.recovered'],
    ['watch.unreachable', 'watch.recovered'],
    ['run.stalled', 'run.recovered'],
  ])('an alert of %s ends by %s', (type, counterpart) => {
    const play = new AlertStage([byDefault({ events: [type] })]);
    play.judge(type);
    play.wait(MINUTE);
    expect(play.open()).toHaveLength(1);
    play.judge(counterpart);
    expect(play.told('chat')).toEqual(['firing', 'resolved']);
  });

  test.each<[string, Partial<Rule>]>([
    ['run.stopped', { events: ['run.stopped'] }],
    ['run.gone', { events: ['run.gone'] }],
    ['run.failed', { groupBy: ['...'] }],
    ['run.failed', { groupBy: ['event', 'workflow_id'] }],
  ])('an alert of %s that nothing else ends is over after a day', (type, changes) => {
    const play = new AlertStage([byDefault(changes)]);
    play.judge(type);
    play.wait(23 * HOUR);
    expect(play.open()).toHaveLength(1);
    play.wait(2 * HOUR);
    expect(play.told('chat').at(-1)).toBe('resolved');
  });
});

describe('a run that a user watches no more', () => {
  const limit = { kind: 'interval', ms: HOUR } as const;
  const deadline = { kind: 'deadline', reference: 'created_at', limit } as const;

  test('the last late run that is cancelled ends the alert of its deadline', () => {
    const play = new AlertStage([aRule({ condition: deadline, events: [], groupWaitMs: 0 })]);
    play.late('run-a');
    play.late('run-b');
    play.wait(MINUTE);
    play.leave('run-a');
    expect(play.told('chat')).toEqual(['firing']);
    expect(play.alert()?.runs.map(({ runId }) => runId)).toEqual(['run-b']);
    play.leave('run-b');
    expect(play.told('chat')).toEqual(['firing', 'resolved']);
  });

  test('a run in a group of its own ends that alert, of whatever type', () => {
    const waiting = { events: ['run.awaiting_human_feedback'], groupBy: ['...', 'event'] };
    const play = new AlertStage([byDefault(waiting)]);
    play.judge('run.awaiting_human_feedback', { run: anAlertEvent({ runId: 'run-a' }).run });
    play.wait(MINUTE);
    play.leave('run-a');
    expect(play.told('chat')).toEqual(['firing', 'resolved']);
  });

  test('a purged failure is listed no more, and the last one ends the alert untold if it was', () => {
    const play = new AlertStage([aRule()]);
    play.judge('run.failed', inWorkflow('wf-1', 'run-a'));
    play.judge('run.failed', inWorkflow('wf-1', 'run-b'));
    play.leave('run-a', inWorkflow('wf-1', 'run-a'));
    expect(play.alert()).toMatchObject({ runsTotal: 1, runs: [{ runId: 'run-b' }] });
    play.leave('run-b', inWorkflow('wf-1', 'run-b'));
    play.wait(HOUR);
    expect(play.sent).toEqual([]);
    expect(play.open()).toEqual([]);
  });

  test('an end in time closes an alert that nobody was notified of', () => {
    const play = new AlertStage([aRule({ condition: deadline, events: [] })]);
    play.late('run-a');
    play.wait(10 * SECOND);
    const { run } = anAlertEvent({ runId: 'run-a' });
    play.judge('run.completed', { run, finishedAt: START - SECOND });
    play.wait(HOUR);
    expect(play.sent).toEqual([]);
    expect(play.open()).toEqual([]);
  });
});

describe('a deadline that is entered again after its run was late', () => {
  const limit = { kind: 'interval', ms: HOUR } as const;
  const condition = { kind: 'deadline', reference: 'created_at', limit } as const;
  const rule = aRule({ condition, events: [], groupWaitMs: 0 });
  const byHand = { kind: 'resolve', resolvedBy: { by: 'ana', comment: null } } as const;
  const ofOwn = { ...rule, groupBy: ['...'] };

  test('the run fires no more once a user has ended its alert, until a deadline that was to come', () => {
    const play = new AlertStage([rule]);
    play.late('run-a');
    play.wait(MINUTE);
    play.act(byHand);
    play.wait(2 * DAY);
    play.late('run-a', {}, START);
    expect(play.open()).toEqual([]);
    play.late('run-b', {}, START);
    expect(play.alert()).toMatchObject({ count: 1, runs: [{ runId: 'run-b' }] });
    play.late('run-a', {}, START + HOUR);
    expect(play.alert()).toMatchObject({ count: 2 });
  });

  test('the run is not counted with further groups once a user has ended its alert', () => {
    const play = new AlertStage([ofOwn], { otherGroups: MOST_GROUPS - 1 });
    play.late('run-a');
    play.wait(MINUTE);
    play.act(byHand);
    play.late('run-b');
    play.late('run-a', {}, START);
    expect(play.open()).toMatchObject([{ runs: [{ runId: 'run-b' }] }]);
  });

  test('the run is counted once with further groups, also where that alert has ended', () => {
    const play = new AlertStage([ofOwn], { otherGroups: MOST_GROUPS });
    play.late('run-a');
    play.wait(MINUTE);
    play.late('run-a', {}, START);
    expect(play.alert()).toMatchObject({ count: 1, labels: { overflow: 'true' } });
    play.act(byHand);
    play.late('run-a', {}, START);
    expect(play.open()).toEqual([]);
  });

  test('the group is kept no longer than the run goes on', () => {
    const play = new AlertStage([rule]);
    play.late('run-a');
    play.wait(MINUTE);
    play.act(byHand);
    play.wait(2 * DAY);
    expect(play.kept()).toBe(1);
    play.judge('run.completed', { run: anAlertEvent({ runId: 'run-a' }).run });
    expect(play.kept()).toBe(0);
  });
});

describe('what is kept', () => {
  test('a rule that makes an alert of each run never runs out of groups by those that are over', () => {
    const waiting = { events: ['run.awaiting_human_feedback'], groupBy: ['...'] };
    const play = new AlertStage([byDefault(waiting)]);
    for (let run = 0; run < MOST_GROUPS + 50; run += 1) {
      const { run: about } = play.judge('run.awaiting_human_feedback');
      play.wait(2 * MINUTE);
      play.judge('run.completed', { run: about });
    }
    expect(play.overflowed.size).toBe(0);
    expect(play.kept()).toBeLessThan(10);
  });

  test('only groups with an alert or a wait count towards the bound of a rule', () => {
    const condition = { kind: 'rate', rate: 1, ofLast: 5, atLeast: 5 } as const;
    const play = new AlertStage([aRule({ condition })]);
    play.judge('run.completed');
    const owners = [...play.groups.values()].flatMap((group) => ownersOf(group));
    expect(owners).toHaveLength(1);
    expect(owners).not.toContain('failed-runs');
  });

  test('the alert of an overflow says which rule has too many groups', () => {
    const play = new AlertStage([aRule({ groupWaitMs: 0 })], { otherGroups: MOST_GROUPS });
    play.judge('run.failed');
    expect(play.alert()?.annotations['summary']).toMatch(
      /^The rule failed-runs has as many groups/,
    );
  });
});

describe('the end of a mute', () => {
  const muted = (changes: Partial<Rule> = {}) => byDefault({ mute: NIGHTS, ...changes });

  test('all alerts that were notified of before a mute and resolve in it are resolved, however many', () => {
    const play = new AlertStage([aRule({ mute: NIGHTS })]);
    play.wait(TO_TEN_IN_THE_EVENING - HOUR);
    for (let at = 0; at < 80; at += 1) play.judge('run.failed', inWorkflow(`wf-${at}`));
    play.wait(2 * HOUR);
    for (let at = 0; at < 80; at += 1) play.judge('run.completed', inWorkflow(`wf-${at}`));
    expect(play.told('chat')).toHaveLength(80);
    play.wait(8 * HOUR);
    expect(play.told('chat').filter((kind) => kind === 'resolved')).toHaveLength(80);
  });

  test('a pager gets open alerts by their own keys, and nothing of those that came and went', () => {
    const play = new AlertStage([muted({ notify: ['chat', 'pager'], pagers: ['pager'] })]);
    play.wait(TO_TEN_IN_THE_EVENING + HOUR);
    for (const workflow of ['wf-1', 'wf-2', 'wf-3']) play.judge('run.failed', inWorkflow(workflow));
    play.judge('run.completed', inWorkflow('wf-3'));
    play.wait(8 * HOUR);
    const paged = play.sent.filter(({ notify }) => notify.includes('pager'));
    expect(paged.map(({ kind, digest }) => [kind, digest])).toEqual([
      ['firing', null],
      ['firing', null],
    ]);
    const open = play.open().map(({ id }) => id);
    expect(new Set(paged.map(({ alert }) => alert.id))).toEqual(new Set(open));
    for (const workflow of ['wf-1', 'wf-2']) play.judge('run.completed', inWorkflow(workflow));
    play.wait(10 * MINUTE);
    expect(play.told('pager')).toEqual(['firing', 'firing', 'resolved', 'resolved']);
    const chat = play.sent.filter(({ notify }) => notify.includes('chat'));
    expect(chat.map(({ digest }) => digest?.reason)).toEqual(['muted', undefined, undefined]);
  });

  test.each([
    [
      'several alerts links to those of its rule',
      ['wf-1', 'wf-2'],
      () => `${PAGE}/alerts?rule=failed-runs`,
    ],
    ['a single alert links to its page', ['wf-1'], (id: string) => `${PAGE}/alerts/${id}`],
  ])('a digest of %s', (_, workflows, page) => {
    const play = new AlertStage([muted()]);
    play.wait(TO_TEN_IN_THE_EVENING + HOUR);
    for (const workflow of workflows) play.judge('run.failed', inWorkflow(workflow));
    play.wait(8 * HOUR);
    const [digest] = play.sent;
    if (digest === undefined) throw new Error('no digest was sent');
    const server = { public_url: PAGE };
    const process = testProcess({ config: configSchema.parse({ data_dir: '/nowhere', server }) });
    const event = planAlertEvent(process, digest, play.now);
    const { data } = JSON.parse(event.body) as { data: { alert: { id: string; url: string } } };
    expect(data.alert.url).toBe(page(data.alert.id));
  });

  test('an alert that a pager knew is updated there, not paged anew', () => {
    const play = new AlertStage([aRule({ mute: NIGHTS, notify: ['pager'], pagers: ['pager'] })]);
    play.wait(TO_TEN_IN_THE_EVENING - MINUTE);
    play.judge('run.failed');
    play.wait(HOUR);
    play.judge('run.failed');
    play.wait(8 * HOUR);
    expect(play.told('pager').slice(0, 2)).toEqual(['firing', 'updated']);
    expect(new Set(play.sent.map(({ alert }) => alert.id)).size).toBe(1);
  });

  test('the digest of a schedule goes to people, and to no pager', () => {
    const schedule = { minute: 8 * 60, location: 'UTC' };
    const condition = { kind: 'digest', schedule } as const;
    const rule = aRule({ condition, groupBy: [], notify: ['chat', 'pager'], pagers: ['pager'] });
    const play = new AlertStage([rule]);
    play.judge('run.failed');
    play.wait(2 * DAY);
    expect([play.told('chat'), play.told('pager')]).toEqual([['firing'], []]);
  });
});

describe('what an alert counts', () => {
  test('two events of one run are one run', () => {
    const waiting = { events: ['run.awaiting_human_feedback'] };
    const play = new AlertStage([byDefault(waiting)]);
    const { run } = play.judge('run.awaiting_human_feedback');
    play.wait(HOUR);
    play.judge('run.awaiting_human_feedback', { run });
    play.wait(HOUR);
    expect(play.sent.at(-1)?.alert).toMatchObject({ count: 2, runsTotal: 1 });
  });

  test('distinct runs are counted to 500', () => {
    const play = new AlertStage([aRule()]);
    for (let run = 0; run < 510; run += 1) play.judge('run.failed');
    expect(play.alert()).toMatchObject({ count: 510, runsTotal: 500 });
  });

  test('a rate that a success crosses is notified with the type of what failed', () => {
    const condition = { kind: 'rate', rate: 0.75, ofLast: 4, atLeast: 4 } as const;
    const play = new AlertStage([aRule({ condition, mute: NIGHTS })]);
    play.wait(TO_TEN_IN_THE_EVENING + HOUR);
    for (const type of ['failed', 'failed', 'failed', 'completed']) play.judge(`run.${type}`);
    play.wait(8 * HOUR);
    expect(play.sent[0]?.digest?.byType).toEqual({ 'run.failed': 3 });
    expect(play.sent[0]?.alert).toMatchObject({ count: 3, runsTotal: 3 });
  });
});

describe('inhibition and escalation', () => {
  const other = aRule({ name: 'other' });
  const between = (sourceRule: string, targetRule: string) => {
    return { sourceRule, targetRule, equal: ['source'] };
  };

  test.each([
    ['two rules', [between('other', 'failed-runs'), between('failed-runs', 'other')]],
    ['one rule', [between('failed-runs', 'failed-runs'), between('other', 'other')]],
  ])('of alerts of %s that inhibit one another the first is told', (_, inhibit) => {
    const play = new AlertStage([aRule(), other], { inhibit });
    play.judge('run.failed', inWorkflow('wf-1'));
    play.judge('run.failed', inWorkflow('wf-2'));
    play.wait(10 * MINUTE);
    expect(play.told('chat').length).toBeGreaterThan(0);
    expect(play.told('chat').length).toBeLessThan(4);
  });

  test('what is itself inhibited does not inhibit', () => {
    const rules = ['one', 'two', 'three'].map((name) => aRule({ name }));
    const inhibit = [between('one', 'two'), between('two', 'three')];
    const play = new AlertStage(rules, { inhibit });
    play.judge('run.failed');
    play.wait(MINUTE);
    expect(play.sent.map(({ alert }) => alert.rule)).toEqual(['one', 'three']);
  });

  test('a step that an acknowledgement excuses is skipped, and the next one is taken', () => {
    const escalate = [
      { afterMs: 30 * MINUTE, unlessAcknowledged: true, notify: ['pager'] },
      { afterMs: 4 * HOUR, unlessAcknowledged: false, notify: ['boss'] },
    ];
    const play = new AlertStage([aRule({ escalate })]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.acknowledge();
    play.wait(12 * HOUR);
    expect([play.told('pager'), play.told('boss')]).toEqual([[], ['firing']]);
    play.act({ kind: 'unacknowledge' });
    play.wait(MINUTE);
    expect(play.told('pager')).toEqual(['firing']);
  });
});

describe('an alert that a user ends', () => {
  const resolvedBy = { by: 'ana', comment: 'known' };

  test('an end by hand notifies the endpoints that knew, and says who ended it', () => {
    const play = new AlertStage([aRule()]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.act({ kind: 'resolve', resolvedBy });
    expect(play.told('chat')).toEqual(['firing', 'resolved']);
    expect(play.sent.at(-1)?.alert).toMatchObject({ state: 'resolved', resolvedBy });
  });

  test('an alert of a rule that is gone can be ended by hand', () => {
    const play = new AlertStage([aRule()]);
    play.judge('run.failed');
    play.wait(MINUTE);
    play.isMixed = true;
    play.use([]);
    play.act({ kind: 'resolve', resolvedBy });
    expect(play.told('chat')).toEqual(['firing', 'resolved']);
  });

  test('a threshold that is crossed when its alert is ended by hand is counted anew', () => {
    const play = new AlertStage([aRule({ condition: { kind: 'consecutive', count: 2 } })]);
    for (let run = 0; run < 2; run += 1) play.judge('run.failed');
    play.wait(MINUTE);
    play.act({ kind: 'resolve', resolvedBy });
    play.judge('run.failed');
    play.wait(HOUR);
    expect(play.told('chat')).toEqual(['firing', 'resolved']);
  });
});
