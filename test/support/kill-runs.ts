import type { Random } from '../../src/core/backoff.ts';
import { randomScripts } from '../../src/simulator/stories.ts';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { randomId, randomInteger, seededRandom } from '../../src/simulator/seeded-random.ts';

/** A run of the kill test. */
export interface KillTestRun {
  id: string;
  script: ScriptInput;
  /** How often the run waits for a human until the test, notified of it, lets it go on. */
  waits: 0 | 1 | 2;
  /** The event of its end. */
  end: string;
}

/** How long scripts run that end by themselves. */
const WITHIN_MS = 16_000;

/** One run in this many reports progress, for some long queues; more would drown the rest. */
const WITH_PROGRESS = 20;

/**
 * The 200 runs of a kill test, in the order of registration. Most end by themselves during the
 * kills, a third of those after a short wait for a human. Some wait until the test reacts; some
 * ended before they were registered.
 */
export function killTestRuns(seed: number): KillTestRun[] {
  const random = seededRandom(seed + 2_000);
  const scripted = randomScripts({ count: 130, seed, within_ms: WITHIN_MS, min_pause_ms: 1_500 });
  const over = randomScripts({ count: 20, seed: seed + 1_000, within_ms: 5_000 });
  const roles = [
    ...scripted.map((script, at) => runOf(at % WITH_PROGRESS === 0 ? script : silent(script))),
    ...over.map((script) => runOf({ ...script, age_ms: 60_000 })),
    ...Array.from({ length: 50 }, (_, at) => waitingRun(random, at % 3 === 0 ? 2 : 1)),
  ];
  return shuffled(roles, random);
}

function runOf(script: ScriptInput): KillTestRun {
  const steps = script.steps ?? [];
  return {
    id: script.id ?? '',
    script,
    waits: 0,
    end: `run.${steps.at(-1)?.status}`,
  };
}

/** Waits for a human until the test completes it, once notified. */
function waitingRun(random: Random, waits: 1 | 2): KillTestRun {
  const id = randomId(random);
  const waitsFrom = randomInteger(random, 500, WITHIN_MS - 4_000);
  const steps = [
    { after_ms: randomInteger(random, 0, 400), status: 'running' },
    { after_ms: waitsFrom, status: 'awaiting_human_feedback' },
  ];
  return { id, script: { id, steps }, waits, end: 'run.completed' };
}

/** Without progress, but at waits for a human: each has one of its own, by which an event says which it is about. */
function silent({ steps = [], ...script }: ScriptInput): ScriptInput {
  let waits = 0;
  return {
    ...script,
    steps: steps.map(({ after_ms, status }) => {
      const isWait = status === 'awaiting_human_feedback';
      if (isWait) waits += 1;
      return { after_ms, ...(status && { status }), ...(isWait && { progress: waits }) };
    }),
  };
}

function shuffled<Item>(items: Item[], random: Random): Item[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
