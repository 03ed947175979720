import { describe, expect, test } from '@jest/globals';
import type { WorkflowKey } from '../../src/core/cadence/phase.ts';
import { noticeOf } from '../../src/deliver/channels/notice/describe.ts';
import type { SentEvent } from '../../src/deliver/channels/notice/sent-event.ts';
import {
  calledOwner,
  markdownLink,
  oneLine,
  shortId,
} from '../../src/deliver/channels/notice/notice.ts';
import {
  INVOICES,
  sampleAlert,
  sampleBatch,
  sampleEvent,
  sampleFailures,
  sampleSystemEvent,
} from '../support/sample-events.ts';

const WORDING = {
  ownerOf: ({ workflowId }: WorkflowKey) => (workflowId === INVOICES.id ? '@ana' : null),
  labelOf: (source: string) => (source === 'default' ? 'Noxus' : source),
};

const titleOf = (event: SentEvent) => noticeOf([event], WORDING).title;

describe('the title of a message about a run', () => {
  test.each<[string, Parameters<typeof sampleEvent>[1], string]>([
    ['run.failed', {}, 'invoices failed at 60 % after 6 s'],
    ['run.completed', { run: { progress: 100 } }, 'invoices completed after 6 s'],
    ['run.stopped', {}, 'invoices was stopped at 60 % after 6 s'],
    ['run.awaiting_human_feedback', {}, 'invoices waits for a human'],
    [
      'run.awaiting_human_feedback',
      { data: { reminder: 1, waited_ms: 3_600_000 } },
      'invoices has waited for a human for 1 h',
    ],
    ['run.resumed', { data: { waited_ms: 90_000 } }, 'invoices goes on after waiting 1 min 30 s'],
    [
      'run.stalled',
      { data: { lasted_ms: 5_400_000 } },
      'invoices is stalled at 60 % for 1 h 30 min',
    ],
    ['run.restarted', { run: { attempt: 2 } }, 'invoices runs again, attempt 2'],
    ['run.progress', {}, 'invoices is at 60 %'],
    ['run.progress', { run: { progress: null } }, 'invoices is under way'],
    ['run.gone', { run: null }, 'invoices is gone: Noxus does not know the run any more'],
    [
      'run.status_unknown',
      { run: { status: 'paused' } },
      'invoices has a status that runwatch does not know: paused',
    ],
    ['watch.unreachable', {}, 'invoices cannot be read from Noxus'],
  ])('%s with %j reads "%s"', (type, sample, title) => {
    expect(titleOf(sampleEvent(type, sample))).toBe(title);
  });

  test('a message names the run where its workflow has no name', () => {
    const workflow = { ...INVOICES, name: null };
    const event = sampleEvent('run.failed', { workflow, run: { started_at: null } });
    expect(titleOf(event)).toBe('run 0b1c2d3e failed at 60 %');
    expect(noticeOf([event]).facts).toContainEqual(['Workflow', INVOICES.id]);
  });

  test('a long name leaves room for what happened within 80 characters', () => {
    const workflow = { ...INVOICES, name: 'x'.repeat(300) };
    expect(titleOf(sampleEvent('run.failed', { workflow })).slice(0, 80)).toContain(' failed at');
  });
});

test('a message says where the run stood', () => {
  const nodes = {
    executed: 7,
    remaining: 5,
    running: [],
    failed: ['n7', 'n8'],
    names: { n7: 'Extract invoice' },
  };
  expect(noticeOf([sampleEvent('run.failed', { data: { nodes } })]).lines).toEqual([
    'Failed at Extract invoice, n8, 7 of 12 nodes done',
  ]);
});

test.each(['__proto__', 'constructor', 'toString'])(
  'a message names a node whose id is %s by that id, and so a label',
  (id) => {
    const nodes = { executed: 7, remaining: 5, running: [], failed: [id], names: { n7: 'other' } };
    expect(noticeOf([sampleEvent('run.failed', { data: { nodes } })]).lines).toEqual([
      `Failed at ${id}, 7 of 12 nodes done`,
    ]);
    const labels = Object.fromEntries([[id, 'billing']]);
    const { facts } = noticeOf([sampleAlert('alert.firing', { alert: { labels } })]);
    expect(facts).toContainEqual([id, 'billing']);
  },
);

test.each(['__proto__', 'constructor', 'toString'])(
  'an owner called %s is no user whom a message could call',
  (owner) => {
    const notice = noticeOf([sampleAlert('alert.firing', { alert: { owner } })]);
    expect(calledOwner({ ...notice, owner, callsOwner: true }, { '@ana': 'U1' })).toBeNull();
  },
);

test('a message of a run gives run, workflow, source, metadata and both links', () => {
  const { facts, links, tone } = noticeOf([sampleEvent('run.failed')]);
  expect(Object.fromEntries(facts)).toEqual({
    Run: '0b1c2d3e-4f50-4617-8293-000000000001',
    Workflow: `invoices · ${INVOICES.id}`,
    Source: 'default',
    Metadata: 'team: billing',
  });
  expect(links.map(({ label }) => label)).toEqual(['Open run', 'Open in runwatch']);
  expect(tone).toBe('bad');
});

test('a message without addresses has no links', () => {
  const event = sampleEvent('run.failed', { data: { run_url: null, watch_url: 'javascript:x' } });
  expect(noticeOf([event]).links).toEqual([]);
});

describe('a message about several events', () => {
  test('several events of one workflow become one sentence, five runs and a count', () => {
    const failure = (number: number) => sampleEvent('run.failed', { number });
    const rest = [2, 3, 4, 5, 6, 7].map(failure);
    const same: [SentEvent, ...SentEvent[]] = [failure(1), ...rest];
    const notice = noticeOf(same);
    expect(notice.title).toBe('7 runs of invoices failed');
    expect(notice.runs).toHaveLength(5);
    expect(notice.runs[0]).toEqual({
      text: 'invoices failed at 60 % after 6 s (0b1c2d3e)',
      url: expect.stringContaining('https://app.noxus.example/runs/'),
    });
    expect(notice.unlisted).toEqual({
      count: 2,
      url: 'https://runwatch.example.com/runs?status=failed',
    });
    expect(notice.eventIds).toHaveLength(7);
  });

  test('several events of more than one workflow are counted by workflow, the most first', () => {
    const notice = noticeOf(sampleFailures(300));
    expect(notice.title).toBe('300 runs of 2 workflows failed');
    expect(notice.lines).toEqual(['invoices: 200 · monthly report: 100']);
    expect(notice.unlisted.count).toBe(295);
  });
});

const MISSING = { summary: 'No run.completed of invoices for 26h' };
const LATE = { run_id: 'r', name: 'invoices', status: 'running' };

describe('a message about an alert', () => {
  test.each<[string, Parameters<typeof sampleAlert>[1], string]>([
    ['alert.firing', {}, '12 runs of invoices failed (failed-runs)'],
    ['alert.updated', {}, 'Now 12 runs of invoices failed in 30 s (failed-runs)'],
    [
      'alert.updated',
      { data: { repeat: true } },
      'Still firing after 30 s: 12 runs of invoices failed (failed-runs)',
    ],
    [
      'alert.firing',
      { data: { escalation: { step: 1, after: '30m' } } },
      'Not acknowledged after 30m: 12 runs of invoices failed (failed-runs)',
    ],
    [
      'alert.acknowledged',
      { alert: { acknowledged: { by: 'Ana' } } },
      'Ana acknowledged: 12 runs of invoices failed (failed-runs)',
    ],
    [
      'alert.resolved',
      { alert: { resolved_at: '2026-01-01T12:12:06.000Z' } },
      'Resolved after 12 min: 12 runs of invoices failed (failed-runs)',
    ],
    [
      'alert.resolved',
      { alert: { resolved_at: '2026-01-01T12:12:06.000Z', resolved_by: { by: 'Ana' } } },
      'Resolved by Ana after 12 min: 12 runs of invoices failed (failed-runs)',
    ],
    [
      'alert.firing',
      { alert: { rule: 'invoices-missing', runs: [], count: 1, annotations: MISSING } },
      'No run.completed of invoices for 26h (invoices-missing)',
    ],
    [
      'alert.firing',
      { alert: { rule: 'down', runs: [], count: 1, annotations: {} } },
      'down (workflow 3f0c6f0e)',
    ],
    [
      'alert.firing',
      { alert: { rule: 'late', count: 2, runs: [LATE, LATE] } },
      '2 runs of invoices still run (late)',
    ],
    [
      'alert.firing',
      { alert: { rule: 'late', count: 1, runs: [LATE] } },
      '1 run of invoices still runs (late)',
    ],
  ])('%s with %j reads "%s"', (type, sample, title) => {
    expect(titleOf(sampleAlert(type, sample))).toBe(title);
  });

  test('a message about an alert that a user ended has the comment', () => {
    const alert = { resolved_by: { by: 'Ana', comment: 'the provider is up again' } };
    const { lines } = noticeOf([sampleAlert('alert.resolved', { alert })]);
    expect(lines).toContain('the provider is up again');
  });

  test('a message about an alert lists its runs and says how many more there are, and where', () => {
    const { runs, unlisted, links, owner, tone } = noticeOf([sampleAlert('alert.firing')]);
    expect(runs[0]?.text).toBe('invoices · failed · 0b1c2d3e');
    expect(unlisted).toEqual({ count: 7, url: 'https://runwatch.example.com/alerts/alr_7f3a' });
    expect(links.map(({ label }) => label)).toEqual(['Runbook', 'Open in runwatch']);
    expect([owner, tone]).toEqual(['@ana', 'bad']);
  });

  test('a message about an alert lists ten runs at most, and counts all others', () => {
    const alert = { count: 60, runs: Array.from({ length: 50 }, () => LATE) };
    const { runs, unlisted } = noticeOf([sampleAlert('alert.firing', { alert })]);
    expect([runs.length, unlisted.count]).toEqual([10, 50]);
  });

  test('the owner of an alert is called when it fires, and only named when it is over', () => {
    const called = ['firing', 'updated', 'acknowledged', 'resolved'].map(
      (kind) => noticeOf([sampleAlert(`alert.${kind}`)]).callsOwner,
    );
    expect(called).toEqual([true, true, false, false]);
  });

  test('a message about a run names the owner of its workflow, where something is wrong', () => {
    const owners = ['run.failed', 'run.awaiting_human_feedback', 'run.completed'].map(
      (type) => noticeOf([sampleEvent(type)], WORDING).owner,
    );
    expect(owners).toEqual(['@ana', '@ana', null]);
    const ofTwo = noticeOf(sampleFailures(5), WORDING);
    expect(ofTwo.owner).toBeNull();
  });

  test('a digest counts what happened, and says that it was held back', () => {
    const digest = {
      since: '2026-01-01T00:00:00.000Z',
      until: '2026-01-02T00:00:00.000Z',
      reason: 'muted',
      alerts: [
        {
          labels: { source: 'eu', workflow_id: INVOICES.id },
          state: 'resolved',
          count: 3,
          name: 'invoices',
        },
      ],
      by_type: { 'run.completed': 214, 'run.failed': 3 },
    };
    const notice = noticeOf([sampleAlert('alert.firing', { data: { digest } })]);
    expect(notice.title).toBe('failed-runs: 214 completed, 3 failed in 1 d');
    expect(notice.lines).toEqual(['This was held back while muted.']);
    expect(notice.runs[0]?.text).toBe('invoices, source eu: 3 events, resolved');
  });
});

test('a message has no blank names, values and lines, of whatever labels and texts it is made', () => {
  const labels = {
    source: 'default',
    workflow_id: '',
    'metadata.env': ' \u{85}',
    'metadata. ': 'x',
  };
  const annotations = { description: ' \n' };
  const alert = { labels, annotations, owner: ' ', runs: [], count: 1 };
  const { title, facts, lines, owner } = noticeOf([sampleAlert('alert.firing', { alert })]);
  expect(Object.fromEntries(facts)).toEqual({
    Rule: 'failed-runs',
    Severity: 'error',
    Source: 'default',
  });
  expect([title, lines, owner]).toEqual(['failed-runs', [], null]);
});

test('a message names the run where the name of its workflow is blank', () => {
  const blank = sampleEvent('run.failed', { workflow: { ...INVOICES, name: ' \t' } });
  expect(titleOf(blank)).toBe('run 0b1c2d3e failed at 60 % after 6 s');
  expect(noticeOf([blank, blank]).title).toBe('2 runs of workflow 3f0c6f0e failed');
});

test('a message about runwatch itself says what happened and what would help', () => {
  const data = {
    endpoint: 'ops',
    error: { code: 'status', message: 'answered 500' },
    failures: 10,
    help: 'Its deliveries wait.',
  };
  const notice = noticeOf([sampleSystemEvent('endpoint.failing', data)]);
  expect(notice.title).toBe('Notifications to ops fail and wait');
  expect(notice.lines).toEqual(['answered 500', 'Its deliveries wait.']);
  expect(notice.facts).toEqual([['Failures', '10']]);
});

test.each([
  ['source.unauthorized', 'Noxus refuses the API key of source default', 'gh refuses the API key'],
  [
    'source.throttled',
    'Noxus asks for fewer requests from source default',
    'gh asks for fewer requests',
  ],
  ['source.unreachable', 'Noxus does not answer for source default', 'gh does not answer'],
  ['source.recovered', 'Noxus answers again for source default', 'gh answers again'],
  ['source.inconsistent', 'Noxus contradicts itself for source default', 'gh contradicts itself'],
  ['source.consistent', 'Noxus is consistent again for source default', 'gh is consistent again'],
])('%s reads "%s", and "%s" of a source whose label is its name', (type, ofNoxus, ofOther) => {
  expect(titleOf(sampleSystemEvent(type, { source: 'default' }))).toBe(ofNoxus);
  expect(titleOf(sampleSystemEvent(type, { source: 'gh' }))).toBe(ofOther);
});

test('several runs without a workflow are counted without one', () => {
  const event = sampleEvent('run.failed', {
    workflow: { id: '', name: null },
    run: { workflow_id: null },
  });
  expect(noticeOf([event, event]).title).toBe('2 runs failed');
  const notice = noticeOf([event, event, sampleEvent('run.failed')]);
  expect(notice.lines).toEqual(['without a workflow: 2 · invoices: 1']);
});

test('a message about an event of an unknown type names the type', () => {
  expect(titleOf(sampleSystemEvent('something.new', {}))).toBe('something.new');
  expect(titleOf(sampleEvent('run.new'))).toBe('invoices: run.new');
});

test('a message about an alert that is about no run lists none, and does not say how many more', () => {
  const alert = { count: 1, runs: [], annotations: MISSING };
  const { runs, unlisted } = noticeOf([sampleAlert('alert.firing', { alert })]);
  expect([runs, unlisted.count]).toEqual([[], 0]);
});

describe('text of messages', () => {
  test.each([
    ['a\nb', 10, 'a b'],
    ['abcdef', 5, 'abcd…'],
    ['🚀🚀🚀', 4, '🚀…'],
  ])('%j in %i characters is %j', (text, most, shown) => {
    expect(oneLine(text, most)).toBe(shown);
  });

  test('a notice shortens a UUID to its first part', () => {
    expect(shortId(INVOICES.id)).toBe('3f0c6f0e');
    expect(shortId('nightly')).toBe('nightly');
  });
});

test('a link in Markdown goes to the whole address, also where that has brackets', () => {
  const link = markdownLink('Open run', 'https://app.example/runs/a_(b)?q=(c)');
  expect(link).toBe('[Open run](https://app.example/runs/a_%28b%29?q=%28c%29)');
});

describe('a message about a batch', () => {
  test.each([
    [0, 'Batch nightly has ended: 40 of 40 runs completed', 'good', 0],
    [2, 'Batch nightly has ended: 38 of 40 runs completed, 2 failed', 'bad', 0],
    [39, 'Batch nightly has ended: 1 of 40 runs completed, 39 failed', 'bad', 29],
  ])(
    'a batch that ended with %i failures says so, and how many of them it does not list',
    (failures, title, tone, unlisted) => {
      const notice = noticeOf([sampleBatch('batch.completed', { failures })], WORDING);
      expect(notice).toMatchObject({ title, tone, unlisted: { count: unlisted } });
      expect(notice.runs).toHaveLength(failures - unlisted);
    },
  );

  test('a batch of which more has failed than may says how many of how many', () => {
    const event = sampleBatch('batch.failed', { failures: 4 });
    expect(noticeOf([event], WORDING)).toMatchObject({
      title: 'Batch nightly: 4 of 40 runs failed, more than 3',
      tone: 'bad',
      facts: [
        ['Runs', '36 completed, 4 failed'],
        ['Since its beginning', '2 h 5 min'],
      ],
    });
  });

  test('a batch names its failed runs by workflow and id, with a link to each and to its page', () => {
    const event = sampleBatch('batch.completed', { failures: 11 });
    const { runs, links, unlisted } = noticeOf([event], WORDING);
    const [first] = event.data.failed_runs ?? [];
    expect(runs[0]).toEqual({ text: 'invoices · 0b1c2d3e', url: first?.run_url });
    expect(links).toEqual([
      { label: 'Open in runwatch', url: 'https://runwatch.example.com/batches/bat_7f3a' },
    ]);
    expect(unlisted).toEqual({
      count: 1,
      url: 'https://runwatch.example.com/batches/bat_7f3a?status=failed',
    });
  });

  test('a failed run of a batch without a page at its source leads to its page of the dashboard', () => {
    const { failed_runs: runs = [] } = sampleBatch('batch.failed', { failures: 1 }).data;
    const data = { failed_runs: runs.map((run) => ({ ...run, run_url: null, status: 'gone' })) };
    const notice = noticeOf([sampleBatch('batch.failed', { failures: 1, data })], WORDING);
    expect(notice.runs).toEqual([{ text: 'invoices · gone · 0b1c2d3e', url: runs[0]?.watch_url }]);
  });

  test('a batch that was not closed says so', () => {
    const event = sampleBatch('batch.completed', { failures: 0, data: { reason: 'idle' } });
    expect(noticeOf([event], WORDING).lines).toEqual([
      'It was not closed: no run was active for an hour',
    ]);
  });
});
