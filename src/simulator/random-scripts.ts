import type { Random } from '../core/backoff.ts';
import type { Plot, ScriptInput } from './script-schema.ts';
import { randomId, randomInteger, seededRandom } from './seeded-random.ts';

interface RandomScriptsOptions {
  count: number;
  /** The same seed always gives the same runs, ids included. */
  seed: number;
  /** Every run has ended by then, ms after it was created. */
  within_ms: number;
  /** A run waits for a human at least this long, so that polling can see it; default a tenth of `within_ms`. */
  min_pause_ms?: number | undefined;
}

type Steps = NonNullable<Plot['steps']>;

/**
 * Runs that end at random times: 6 in 10 completed, 3 failed, 1 stopped. A third of them waits for a
 * human on the way, once or twice.
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
  // A pause and the stretch of running after it take as long; what does not fit is left out.
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
