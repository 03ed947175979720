import pc from 'picocolors';
import { describe, expect, test } from '@jest/globals';
import { EVENT_TYPES } from '../../src/core/event/event.ts';
import { KNOWN_STATUSES } from '../../src/core/run/snapshot.ts';
import { arrivalLine, Scoreboard, webhookProblems } from '../../src/demo/scoreboard.ts';
import {
  SCENARIO,
  SOURCES,
  workflowOf,
  type DemoRun,
  type ScenarioRun,
} from '../../src/demo/scenario.ts';
import { computeFigures, summaryLines, problemsOf } from '../../src/demo/report.ts';
import { render } from '../../src/demo/line.ts';
import type { EndpointView, EventView, WatchView } from '../../src/client/types.ts';
import type { ReceivedWebhook } from '../../src/simulator/receiver.ts';
import { sampleEvent, sampleRun } from '../support/api-samples.ts';
import { completeScript } from '../../src/simulator/script.ts';

const START = Date.parse('2026-01-01T00:00:00.000Z');
const PLAIN = pc.createColors(false);

function demoRun(change: Partial<ScenarioRun> = {}): DemoRun {
  const role: ScenarioRun = {
    name: 'completes',
    plot: { steps: [{ after_ms: 1_000, status: 'completed', progress: 100 }] },
    expected: ['run.completed'],
    end: 'finished',
    ...change,
  };
  const context = { now: START, speed: 1, newId: () => role.name, workflowId: 'w' };
  const script = completeScript(role.plot, context);
  return { ...role, registeredAt: START, script, followed: [] };
}

function event(
  runId: string,
  type: string,
  given: { sequence?: number; status?: string; finishedAfterMs?: number | null } = {},
): EventView {
  const { sequence = 1, status = 'completed', finishedAfterMs = 1_000 } = given;
  const finishedAt = finishedAfterMs === null ? null : new Date(START + finishedAfterMs);
  const run = { id: runId, status, progress: 100, finished_at: finishedAt?.toISOString() ?? null };
  const detectedAt = new Date(START).toISOString();
  const sent = sampleEvent(`evt-${runId}-${sequence}`, {
    run_id: runId,
    run: sampleRun(run),
    sequence,
    detected_at: detectedAt,
  });
  return { ...sent, type, timestamp: detectedAt };
}

function webhook(sent: EventView, afterMs: number, problem: string | null = null): ReceivedWebhook {
  return {
    id: sent.id,
    type: sent.type,
    receivedAt: START + afterMs,
    verified: problem === null,
    problem,
    headers: {},
    body: JSON.stringify(sent),
  };
}

function boardWith(runs: DemoRun[], webhooks: ReceivedWebhook[] = []): Scoreboard {
  const board = new Scoreboard();
  board.expect(runs);
  for (const one of webhooks) board.note(one);
  return board;
}

describe('scenario of the demo', () => {
  test('each run of the demo has its own name, which fits the table', () => {
    expect(new Set(SCENARIO.map(({ name }) => name)).size).toBe(SCENARIO.length);
    for (const { name } of SCENARIO) expect(name.length).toBeLessThanOrEqual(22);
  });

  test('the demo covers each status, as an end or as a wait', () => {
    const lasts = SCENARIO.map(({ plot, followUps }) => {
      return followUps?.at(-1)?.status ?? plot.steps?.findLast(({ status }) => status)?.status;
    });
    expect(new Set(lasts.map((status) => status ?? 'queued'))).toEqual(new Set(KNOWN_STATUSES));
  });

  test('the demo yields each default event, except those about a source that does not answer or counts attempts', () => {
    const received = new Set(SCENARIO.flatMap(({ expected }) => expected));
    expect(EVENT_TYPES.filter((type) => !received.has(type))).toEqual([
      'run.started',
      'run.progress',
      'run.resumed',
      // A run of Noxus has one attempt.
      'run.restarted',
      'watch.unreachable',
      'watch.recovered',
    ]);
  });

  test('the demo has runs of a source with event streams, and of one without', () => {
    const sources = SCENARIO.map((run) => workflowOf(run).source);
    expect(new Set(sources)).toEqual(new Set(SOURCES));
  });

  test('the demo ends within a quarter of a minute', () => {
    const ends = SCENARIO.filter(
      ({ end, plot }) => end === 'finished' && plot.age_ms === undefined,
    );
    for (const { plot, followUps } of ends) {
      const lastMs = followUps?.at(-1)?.afterMs ?? plot.steps?.at(-1)?.after_ms;
      expect(lastMs).toBeLessThan(14_000);
    }
  });
});

describe('expected webhooks of the demo', () => {
  test("the demo's webhooks are in order when each event came once", () => {
    const one = demoRun();
    const sent = webhook(event('completes', 'run.completed'), 1_200);
    expect(webhookProblems(boardWith([one], [sent]))).toEqual([]);
  });

  test.each([
    ['nothing came', [], 'should have given run.completed, but gave nothing'],
    [
      'something else came',
      [webhook(event('completes', 'run.failed'), 1_200)],
      'should have given run.completed, but gave run.failed',
    ],
    [
      'it came twice',
      [
        webhook(event('completes', 'run.completed'), 1),
        webhook(event('completes', 'run.completed'), 2),
      ],
      'gave an event twice',
    ],
    [
      'the order is wrong',
      [
        webhook(event('completes', 'run.completed', { sequence: 2 }), 1),
        webhook(event('completes', 'run.completed', { sequence: 1 }), 2),
      ],
      'gave events out of order',
    ],
    [
      'its signature is wrong',
      [webhook(event('completes', 'run.completed'), 1, 'No matching signature found')],
      'could not be verified: No matching signature found',
    ],
    [
      'it is about another run',
      [webhook(event('completes', 'run.completed'), 1), webhook(event('other', 'run.failed'), 2)],
      'about no run of this demo',
    ],
  ])("the demo's webhooks are out of order when %s", (_what, webhooks, sentence) => {
    expect(webhookProblems(boardWith([demoRun()], webhooks)).join('\n')).toContain(sentence);
  });

  test('a demo webhook may be rejected once where the script says so', () => {
    const one = demoRun({ rejectedOnce: true });
    const board = boardWith([one]);
    const sent = event('completes', 'run.completed');
    expect(board.note(webhook(sent, 1_100))).toMatchObject({ status: 503, attempt: 1 });
    expect(board.note(webhook(sent, 2_100))).toMatchObject({
      status: 204,
      attempt: 2,
      lateMs: 1_100,
    });
    expect(webhookProblems(board)).toEqual([]);
  });

  test('a demo webhook with a body that is not an event is not verified', () => {
    const board = boardWith([demoRun()]);
    const nonsense = {
      ...webhook(event('completes', 'run.completed'), 1, 'bad'),
      body: 'nonsense',
    };
    expect(board.note(nonsense)).toMatchObject({ status: 401, event: null, demoRun: null });
  });
});

describe('notification delay in the demo', () => {
  test("the demo's delay counts from each entry into a status", () => {
    const AWAITING = 'awaiting_human_feedback';
    const steps = [
      { after_ms: 1_000, status: AWAITING },
      { after_ms: 2_000, status: 'running' },
      { after_ms: 3_000, status: AWAITING },
    ];
    const board = boardWith([demoRun({ plot: { steps } })]);
    const awaiting = { status: AWAITING, finishedAfterMs: null };
    const entry = (sequence: number) =>
      event('completes', 'run.awaiting_human_feedback', { sequence, ...awaiting });
    expect(board.note(webhook(entry(1), 1_200)).lateMs).toBe(200);
    expect(board.note(webhook(entry(2), 3_700)).lateMs).toBe(700);
  });

  test("the demo's delay never counts from before the registration", () => {
    const board = boardWith([demoRun()]);
    const early = event('completes', 'run.completed', { finishedAfterMs: -3_600_000 });
    expect(board.note(webhook(early, 90)).lateMs).toBe(90);
  });

  test("the demo's line about a webhook contains the delay", () => {
    const arrival = boardWith([demoRun()]).note(
      webhook(event('completes', 'run.completed'), 1_450),
    );
    const line = arrivalLine(arrival, START);
    expect(render(line, PLAIN)).toBe(
      ' 1.4 s  ✔ run.completed               completes              450 ms later',
    );
  });

  test("the demo's line about a stalled run contains how long it stayed in one state", () => {
    const stalled = event('completes', 'run.stalled', { status: 'running', finishedAfterMs: null });
    const sent = { ...stalled, data: { ...stalled.data, lasted_ms: 5_120 } };
    const arrival = boardWith([demoRun()]).note(webhook(sent, 6_000));
    expect(arrival.lateMs).toBeNull();
    expect(render(arrivalLine(arrival, START), PLAIN)).toContain('5.1 s in one state');
  });
});

const NO_DELIVERIES = { pending: 0, delivered: 0, dead: 0, parked: 0, skipped: 0, superseded: 0 };

describe('figures of the demo', () => {
  const endpoint = (counts: Partial<EndpointView['counts']>): EndpointView => ({
    name: 'receiver',
    type: 'webhook',
    url: null,
    events: ['run.completed', 'run.failed', 'run.stopped', 'run.gone'],
    default: false,
    counts: { ...NO_DELIVERIES, ...counts },
    oldest_pending_at: null,
    health: {
      state: 'active',
      reason: null,
      failing_since: null,
      next_probe_at: null,
      throttled_until: null,
    },
  });
  const watch = { state: 'finished', run: null } as WatchView;

  const log = {
    total: 9,
    maxInFlightPerRun: 1,
    run: () => ({ count: 3, times: [], inFlight: 0, maxInFlight: 1 }),
  };

  function figuresOf(board: Scoreboard, events: EventView[], counts: Record<string, number>) {
    return computeFigures({
      board,
      events,
      watches: new Map([['completes', { ...watch, ...finished(7_000) }]]),
      endpoint: endpoint(counts),
      requests: { default: log, onprem: log },
      requestsInPause: 0,
      now: START + 20_000,
    });
  }

  function finished(afterMs: number): Partial<WatchView> {
    const run = { status: 'completed', finished_at: new Date(START + afterMs).toISOString() };
    return { run, registered_at: new Date(START).toISOString() } as Partial<WatchView>;
  }

  test("the demo's figures compare with polling at once and then every five seconds", () => {
    const board = boardWith([demoRun()]);
    expect(figuresOf(board, [], {}).fixed).toEqual({
      readsPerRun: 3,
      meanDelayMs: 2_500,
      maxDelayMs: 5_000,
    });
  });

  test("the demo's figures give the delay by source, and apart from it what held events up", () => {
    const runs = [
      demoRun(),
      demoRun({ name: 'paused', obstacle: 'a pause' }),
      demoRun({ name: 'c' }),
      demoRun({ name: 'polled', workflow: 'letters' }),
    ];
    const board = boardWith(runs, [
      webhook(event('completes', 'run.completed'), 1_300),
      webhook(event('c', 'run.completed'), 1_500),
      webhook(event('paused', 'run.completed'), 3_000),
      webhook(event('polled', 'run.completed'), 2_200),
      webhook(event('polled', 'run.progress'), 9_000),
    ]);
    const figures = figuresOf(board, [], {});
    expect(figures.delays).toEqual({
      default: { webhooks: 2, medianMs: 300, maxMs: 500, readsPerRun: 3 },
      onprem: { webhooks: 1, medianMs: 1_200, maxMs: 1_200, readsPerRun: 3 },
    });
    expect(figures.obstructed).toEqual([{ obstacle: 'a pause', lateMs: 2_000 }]);
  });

  test("the demo's figures leave out runs that ended before they were registered", () => {
    const early = event('completes', 'run.completed', { finishedAfterMs: -5_000 });
    const old = demoRun({ plot: { age_ms: 6_000, steps: [] } });
    const { delays } = figuresOf(boardWith([old], [webhook(early, 80)]), [], {});
    expect(delays).toEqual({ default: null, onprem: null });
  });

  test("the demo's figures report deliveries that do not add up", () => {
    const sent = event('completes', 'run.completed');
    const board = boardWith([demoRun()], [webhook(sent, 1_200)]);
    const events = [event('completes', 'run.progress'), sent];
    const good = figuresOf(board, events, { delivered: 1, pending: 0 });
    const bad = figuresOf(board, events, { delivered: 0, pending: 0 });
    const stuck = figuresOf(board, events, { delivered: 0, pending: 1 });
    const ending = { watches: new Map([['completes', watch]]), requestsInPause: 0 };
    const problems = (figures: typeof good) =>
      problemsOf(board, { ...ending, endpoint: endpoint({}) }, figures);
    expect(problems(good)).toEqual([]);
    expect(problems(bad).join()).toContain('1 webhooks were due');
    expect(problems(stuck).join()).toContain('1 deliveries are pending or dead');
  });

  test("the demo's figures report a watch that has not ended", () => {
    const board = boardWith([demoRun()], [webhook(event('completes', 'run.completed'), 1_200)]);
    const figures = figuresOf(board, [], {});
    const watches = new Map([['completes', { ...watch, state: 'active' as const }]]);
    const ending = { watches, endpoint: endpoint({}), requestsInPause: null };
    expect(problemsOf(board, ending, figures)).toEqual([
      'The watch of the run that completes is active, and not finished.',
    ]);
  });

  test.each(SCENARIO.flatMap(({ obstacle }) => (obstacle === undefined ? [] : [[obstacle]])))(
    "the demo's summary fits 80 columns, and so does %s",
    (obstacle) => {
      const sent = event('completes', 'run.completed');
      const board = boardWith([demoRun({ obstacle })], [webhook(sent, 9_999)]);
      const figures = figuresOf(board, [sent], { delivered: 1, pending: 0, dead: 0 });
      const lines = summaryLines(figures).map((line) => render(line, PLAIN));
      expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(80);
      const text = lines.join('\n');
      expect(text).toContain('1 events × 1 receiver = 1 delivered + 0 pending + 0 dead');
      expect(text).toContain(`since ${obstacle}`);
    },
  );
});
