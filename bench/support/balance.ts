import { setTimeout as delay } from 'node:timers/promises';

const EVERY_MS = 1_000;

/** What was seen of the equation of deliveries: those by state add up to the planned ones. */
export interface BalanceSamples {
  /** Answers that told the whole. */
  balanced: number;
  /** Answers in which it did not hold, as they were. */
  unbalanced: string[];
  /** Seconds in which nobody could answer: the daemon, or Redis, had just been killed. */
  unanswered: number;
}

/** Asks one of the daemons each second, by the public metrics, until the signal says otherwise. */
export async function sampleBalance(
  urlOf: (sample: number) => string,
  signal: AbortSignal,
): Promise<BalanceSamples> {
  const samples: BalanceSamples = { balanced: 0, unbalanced: [], unanswered: 0 };
  for (let sample = 0; !signal.aborted; sample += 1) {
    const counts = await ask(() => urlOf(sample));
    if (counts === null) samples.unanswered += 1;
    else if (counts.planned === counts.sum) samples.balanced += 1;
    else samples.unbalanced.push(`${counts.sum} of ${counts.planned}`);
    await delay(EVERY_MS);
  }
  return samples;
}

/** Null where the daemon does not answer, or has no counts since Redis is away. */
async function ask(urlOf: () => string): Promise<{ planned: number; sum: number } | null> {
  try {
    const response = await fetch(`${urlOf()}/metrics`, { signal: AbortSignal.timeout(EVERY_MS) });
    const text = await response.text();
    const planned = /^runwatch_deliveries_planned (\d+)$/m.exec(text)?.[1];
    const states = [...text.matchAll(/^runwatch_deliveries\{state="\w+"\} (\d+)$/gm)];
    if (planned === undefined || states.length === 0) return null;
    return {
      planned: Number(planned),
      sum: states.reduce((sum, [, count]) => sum + Number(count), 0),
    };
  } catch {
    // Killed a moment ago, or not up yet: there is no answer that could be wrong.
    return null;
  }
}
