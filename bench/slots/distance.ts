import { setTimeout as delay } from 'node:timers/promises';
import { rounded, type Figure } from '../support/figures.ts';
import { withContext } from '../support/context.ts';
import { startStage, type SlotsStage } from './stage.ts';

const RUNS = 200;
const PER_S = 200;
const INTERVAL_MS = 1_000;

/** How far away Redis is, each way, and which share of what is due has to be polled. */
const DISTANCES: readonly { delayMs: number; atLeast: number }[] = [
  { delayMs: 10, atLeast: 0.9 },
  { delayMs: 50, atLeast: 0.75 },
  { delayMs: 150, atLeast: 0.5 },
];

/** Seconds from the registration on that are counted, and how many of these are the start. */
const SECONDS = 20;
const START_S = 4;

/** Polls of daemons whose Redis is far away, second by second. */
export function playDistance(): Promise<Figure[]> {
  return withContext(async (context) => {
    const stages: SlotsStage[] = [];
    for (const { delayMs } of DISTANCES) {
      const asked = { runs: RUNS, perS: PER_S, intervalMs: INTERVAL_MS, delayMs };
      stages.push(await startStage(context, asked));
    }
    const figures = await Promise.all(
      DISTANCES.map(async (distance, at) => figuresOf(distance, await play(stages[at]))),
    );
    return figures.flat();
  });
}

/** @returns the polls of each second after the start */
async function play(stage: SlotsStage | undefined): Promise<number[]> {
  if (stage === undefined) return [];
  await stage.register(RUNS);
  const counts = [await stage.noxus.countRequests()];
  for (let second = 1; second <= SECONDS; second += 1) {
    await delay(1_000);
    counts.push(await stage.noxus.countRequests());
  }
  return counts
    .slice(1)
    .map((count, at) => count - (counts[at] ?? 0))
    .slice(START_S);
}

function figuresOf(
  { delayMs, atLeast }: { delayMs: number; atLeast: number },
  polls: readonly number[],
): Figure[] {
  const share = polls.reduce((sum, count) => sum + count, 0) / polls.length / PER_S;
  const name = `Redis ${delayMs} ms away`;
  return [
    { name: `${name}: share of the polls`, value: rounded(share), unit: '', target: { atLeast } },
    {
      name: `${name}: fewest polls in a second`,
      value: Math.min(...polls),
      unit: '',
      target: { atLeast: 1 },
    },
  ];
}
