import type { Plot } from './script-schema.ts';

interface Story {
  /** What the run will do, for people. */
  summary: string;
  plot: Plot;
}

const start = { after_ms: 1_000, status: 'running', progress: 0 };

/** Ready-made runs that cover every outcome, each over within a quarter of a minute. */
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

/** The plot of a ready-made run; with an id and the like it is a script. */
export function story(name: StoryName): Plot {
  return STORIES[name].plot;
}
