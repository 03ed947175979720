import type { Random } from '../core/backoff.ts';
import type { Plot, ScriptInput } from './script.ts';
import { randomId, randomInteger, seededRandom } from './seeded-random.ts';

interface Story {
  /** A description of the run for users. */
  summary: string;
  plot: Plot;
}

const start = { after_ms: 1_000, status: 'running', progress: 0 };

/** Ready-made runs for every outcome, each of at most 15 seconds. */
export const STORIES = {
  completes: {
    summary: 'runs and completes',
    plot: { steps: [start, { after_ms: 9_000, status: 'completed', progress: 100 }] },
  },
  fails: {
    summary: 'fails at 60 %',
    plot: { steps: [start, { after_ms: 7_000, status: 'failed', progress: 60 }] },
  },
  stops: {
    summary: 'is stopped at 35 %',
    plot: { steps: [start, { after_ms: 5_000, status: 'stopped', progress: 35 }] },
  },
  waits_then_completes: {
    summary: 'waits for a human, goes on, completes',
    plot: {
      steps: [
        start,
        { after_ms: 4_000, status: 'awaiting_human_feedback', progress: 40 },
        { after_ms: 8_000, status: 'running' },
        { after_ms: 12_000, status: 'completed', progress: 100 },
      ],
    },
  },
  waits_forever: {
    summary: 'waits for a human for ever',
    plot: { steps: [start, { after_ms: 5_000, status: 'awaiting_human_feedback', progress: 70 }] },
  },
  awaits_twice: {
    summary: 'waits for a human twice, then completes',
    plot: {
      steps: [
        start,
        { after_ms: 3_000, status: 'awaiting_human_feedback', progress: 30 },
        { after_ms: 6_000, status: 'running' },
        { after_ms: 8_000, status: 'awaiting_human_feedback', progress: 70 },
        { after_ms: 11_000, status: 'running' },
        { after_ms: 14_000, status: 'completed', progress: 100 },
      ],
    },
  },
  unknown_status: {
    summary: 'takes an unknown status, then completes',
    plot: {
      steps: [
        start,
        { after_ms: 4_000, status: 'hibernating', progress: 50 },
        { after_ms: 9_000, status: 'running' },
        { after_ms: 12_000, status: 'completed', progress: 100 },
      ],
    },
  },
  deleted: {
    summary: 'is deleted while it runs (404)',
    plot: { steps: [start, { after_ms: 60_000, progress: 100 }], deleted_after_ms: 5_000 },
  },
  rejected: {
    summary: 'has an id that Noxus rejects (422)',
    plot: { rejected: true },
  },
  appears_late: {
    summary: 'cannot be read at first (404), then completes',
    plot: {
      steps: [start, { after_ms: 10_000, status: 'completed', progress: 100 }],
      visible_after_ms: 2_000,
    },
  },
  flaky: {
    summary: 'answers five times with 500, then completes',
    plot: {
      steps: [start, { after_ms: 9_000, status: 'completed', progress: 100 }],
      faults: [{ kind: 'status', status: 500, count: 5 }],
    },
  },
  already_finished: {
    summary: 'was completed an hour ago',
    plot: {
      steps: [start, { after_ms: 60_000, status: 'completed', progress: 100 }],
      age_ms: 3_660_000,
    },
  },
  never_finishes: {
    summary: 'sits at 99 % for ever',
    plot: { steps: [start, { after_ms: 8_000, progress: 99 }] },
  },
  stalls: {
    summary: 'sits at 40 % for 9 s, goes on, completes',
    plot: {
      steps: [
        start,
        { after_ms: 2_000, status: 'running', progress: 40 },
        { after_ms: 11_000, status: 'running', progress: 40 },
        { after_ms: 14_000, status: 'completed', progress: 100 },
      ],
    },
  },
  jumps_to_completed: {
    summary: 'is completed without ever having been seen running',
    plot: { steps: [{ after_ms: 6_000, status: 'completed', progress: 100 }] },
  },
} satisfies Record<string, Story>;

export type StoryName = keyof typeof STORIES;

export const STORY_NAMES = Object.keys(STORIES) as [StoryName, ...StoryName[]];

/** The plot of a story, which becomes a script with an id and the like. */
export function story(name: StoryName): Plot {
  return STORIES[name].plot;
}

interface RandomScriptsOptions {
  count: number;
  /** The same seed always gives the same runs, ids included. */
  seed: number;
  /** Every run has ended by then, ms after it was created. */
  within_ms: number;
  /** The shortest wait for a human, ms; default a tenth of `within_ms`. */
  min_pause_ms?: number | undefined;
}

type Steps = NonNullable<Plot['steps']>;

/**
 * Runs that end at random times: 6 in 10 completed, 3 failed, 1 stopped. A third of them waits for a
 * human once or twice.
 */
export function randomScripts(options: RandomScriptsOptions): ScriptInput[] {
  const random = seededRandom(options.seed);
  const pauseMs = options.min_pause_ms ?? Math.round(options.within_ms / 10);
  return Array.from({ length: options.count }, () => ({
    id: randomId(random),
    steps: randomSteps(random, options.within_ms, pauseMs),
  }));
}

function randomSteps(random: Random, withinMs: number, pauseMs: number): Steps {
  const wanted = random() < 1 / 3 ? randomInteger(random, 1, 2) : 0;
  // Each pause is followed by work of the same length; pauses that do not fit are left out.
  const pauses = Math.min(wanted, Math.floor(withinMs / (pauseMs * 2 + 2)));
  const reserved = pauses * pauseMs * 2;
  const endMs = randomInteger(random, reserved + 1, Math.max(reserved + 1, withinMs));
  const startMs = randomInteger(random, 0, Math.floor((endMs - reserved) / 4));
  const end = randomEnd(random);
  const steps: Steps = [{ after_ms: startMs, status: 'running', progress: 0 }];
  const spare = endMs - startMs - reserved;
  for (let index = 1; index <= pauses; index += 1) {
    const atMs = startMs + Math.floor((spare * index) / (pauses + 1)) + (index - 1) * pauseMs * 2;
    const progress = Math.floor((end.progress * index) / (pauses + 1));
    steps.push({ after_ms: atMs, status: 'awaiting_human_feedback', progress });
    steps.push({ after_ms: atMs + pauseMs, status: 'running' });
  }
  return [...steps, { after_ms: endMs, ...end }];
}

function randomEnd(random: Random): { status: string; progress: number } {
  const roll = random();
  if (roll < 0.6) return { status: 'completed', progress: 100 };
  return { status: roll < 0.9 ? 'failed' : 'stopped', progress: randomInteger(random, 1, 99) };
}
