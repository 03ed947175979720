import type { EventType } from '../core/event/event.ts';
import type { WatchState } from '../core/watch/watch.ts';
import type { Plot, RunScript } from '../simulator/script.ts';

/**
 * A change behind those of the plot. It waits until the state before it is noticed, however slow the
 * machine is.
 */
interface FollowUp {
  /** The earliest time, ms after registration. */
  afterMs: number;
  /** How many webhooks of the run must have arrived; absent, its watch must show the state before. */
  webhooks?: number;
  status: string;
  progress: number;
}

/** One run of the scenario: what it does, and which events it must yield. */
export interface ScenarioRun {
  /** Completes "a run that"; at most 22 characters, and unique. */
  name: string;
  plot: Plot;
  followUps?: readonly FollowUp[];
  /** Every event that the receiver must get, in order, each once. */
  expected: readonly EventType[];
  /** The watch's final state. */
  end: WatchState;
  /** Default `invoices`. */
  workflow?: WorkflowName;
  /** Set to an id that Noxus rejects. */
  id?: string;
  /** Set where the watch expires, ms. */
  timeoutMs?: number;
  /** True where the receiver rejects the first webhook. */
  rejectedOnce?: boolean;
  /** Why the event of its end comes later than usual; at most 30 characters. */
  obstacle?: string;
}

/** A run of the scenario that Noxus plays. */
export interface DemoRun extends ScenarioRun {
  script: RunScript;
  /** Milliseconds since the epoch. */
  registeredAt: number;
  /** The follow-ups that were made, and when, milliseconds since the epoch. */
  followed: { status: string; at: number }[];
}

/** `default` is a Noxus with event streams, `onprem` one without. */
export const SOURCES = ['default', 'onprem'] as const;
export type SourceName = (typeof SOURCES)[number];

type WorkflowName = 'invoices' | 'letters' | 'reports';

export const WORKFLOWS: Readonly<Record<WorkflowName, { id: string; source: SourceName }>> = {
  invoices: { id: '7d3e0000-0000-4000-8000-000000000001', source: 'default' },
  letters: { id: '7d3e0000-0000-4000-8000-000000000002', source: 'onprem' },
  // Without other runs, from which runwatch would learn how long this state usually lasts.
  reports: { id: '7d3e0000-0000-4000-8000-000000000003', source: 'default' },
};

export function workflowOf({ workflow = 'invoices' }: ScenarioRun) {
  return WORKFLOWS[workflow];
}

/**
 * After this long in one state a run counts as stalled, ms. A run that stalls does so for more than three
 * times as long: its state begins with the first read that sees it, and a second one must find it too long.
 * Other states are shorter.
 */
export const STALL_AFTER_MS = 3_000;

/** The pause of the source `default`: ms after registration, and its length. */
export const PAUSE = { atMs: 1_500, forMs: 2_000 };

const start = { after_ms: 500, status: 'running', progress: 0 };
const AWAITING = 'awaiting_human_feedback';

/**
 * Every way in which a run can end or wait, and every obstacle to its detection. A state that a poll
 * must see lasts until then.
 */
export const SCENARIO: readonly ScenarioRun[] = [
  {
    name: 'completes',
    plot: { steps: [start, { after_ms: 9_200, status: 'completed', progress: 100 }] },
    expected: ['run.completed'],
    end: 'finished',
  },
  {
    name: 'fails',
    plot: { steps: [start, { after_ms: 7_400, status: 'failed', progress: 60 }] },
    expected: ['run.failed'],
    end: 'finished',
  },
  {
    name: 'is stopped',
    plot: { steps: [start, { after_ms: 6_300, status: 'stopped', progress: 35 }] },
    expected: ['run.stopped'],
    end: 'finished',
  },
  {
    name: 'waits for a human',
    plot: { steps: [start, { after_ms: 5_800, status: AWAITING, progress: 70 }] },
    expected: ['run.awaiting_human_feedback'],
    end: 'active',
  },
  {
    name: 'waits twice',
    plot: {
      steps: [start, { after_ms: 4_500, status: AWAITING, progress: 30 }],
    },
    followUps: [
      // A wait that is over before its webhook has none.
      { afterMs: 7_700, webhooks: 1, status: 'running', progress: 35 },
      { afterMs: 10_000, status: AWAITING, progress: 80 },
      { afterMs: 13_000, webhooks: 2, status: 'completed', progress: 100 },
    ],
    expected: ['run.awaiting_human_feedback', 'run.awaiting_human_feedback', 'run.completed'],
    end: 'finished',
  },
  {
    name: 'completes, polled',
    plot: ended(8_800),
    expected: ['run.completed'],
    end: 'finished',
    workflow: 'letters',
  },
  {
    name: 'fails, polled',
    plot: { steps: [start, { after_ms: 7_000, status: 'failed', progress: 55 }] },
    expected: ['run.failed'],
    end: 'finished',
    workflow: 'letters',
  },
  {
    name: 'waits, polled',
    plot: { steps: [start, { after_ms: 5_200, status: AWAITING, progress: 50 }] },
    expected: ['run.awaiting_human_feedback'],
    end: 'active',
    workflow: 'letters',
  },
  {
    name: 'stalls at 40 %',
    plot: {
      steps: [start, { after_ms: 2_000, status: 'running', progress: 40 }],
    },
    followUps: [{ afterMs: 12_000, webhooks: 1, status: 'completed', progress: 100 }],
    expected: ['run.stalled', 'run.recovered', 'run.completed'],
    end: 'finished',
    workflow: 'reports',
  },
  {
    name: 'has an unknown status',
    plot: {
      steps: [start, { after_ms: 4_900, status: 'hibernating', progress: 45 }],
    },
    followUps: [{ afterMs: 7_300, status: 'completed', progress: 100 }],
    expected: ['run.status_unknown', 'run.completed'],
    end: 'finished',
    workflow: 'letters',
  },
  {
    name: 'is deleted',
    plot: { steps: [start, { after_ms: 20_000, progress: 100 }], deleted_after_ms: 5_300 },
    expected: ['run.gone'],
    end: 'gone',
  },
  {
    name: 'has a rejected id',
    plot: { rejected: true },
    expected: ['run.gone'],
    end: 'gone',
    id: 'not-a-uuid',
  },
  {
    name: 'ended an hour ago',
    plot: { ...ended(60_000), age_ms: 3_660_000 },
    expected: ['run.completed'],
    end: 'finished',
  },
  {
    name: 'answers 500 at first',
    plot: { ...ended(10_400), faults: [{ kind: 'status', status: 500, count: 3 }] },
    expected: ['run.completed'],
    end: 'finished',
    workflow: 'letters',
  },
  {
    name: 'ends behind a 429',
    plot: ended(PAUSE.atMs + 900),
    expected: ['run.completed'],
    end: 'finished',
    obstacle: 'Noxus asked for a pause',
  },
  {
    name: 'meets a deaf receiver',
    plot: ended(8_200),
    expected: ['run.completed'],
    end: 'finished',
    rejectedOnce: true,
    obstacle: 'the receiver failed at first',
  },
  {
    name: 'sticks at 99 %',
    plot: { steps: [start, { after_ms: 7_800, progress: 99 }] },
    expected: ['watch.expired'],
    end: 'expired',
    timeoutMs: 9_000,
  },
  { name: 'remains queued', plot: {}, expected: ['run.stalled'], end: 'active' },
];

function ended(afterMs: number): Plot {
  return { steps: [start, { after_ms: afterMs, status: 'completed', progress: 100 }] };
}

/** The number of webhooks that have to be delivered. */
export function countExpected(runs: readonly ScenarioRun[]): number {
  return runs.reduce((sum, { expected }) => sum + expected.length, 0);
}
