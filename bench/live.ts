import { writeFile } from 'node:fs/promises';
import { seededRandom } from '../src/simulator/seeded-random.ts';
import { percentile, rounded, type BenchResult, type Figure } from './support/figures.ts';
import { onGround } from './support/ground.ts';
import { planRuns, type LivedRun } from './support/lived-runs.ts';
import { setUpLive, type LiveStage } from './support/live-stage.ts';
import { pollPlainly } from './support/plain-poller.ts';

/** All times of runs are so many times as short as they would be, and so are all intervals. */
const SPEED = 10;

const POLLING = { minIntervalMs: 1_000 / SPEED, maxIntervalMs: 60_000 / SPEED };

/** What there is beside our policy: what the Noxus SDK does, and what careful scripts do. */
const PLAIN = {
  'fixed 5 s': { firstS: 5 / SPEED, growth: 1, mostS: 5 / SPEED },
  'backoff 1 s × 1.5 to 60 s': { firstS: 1 / SPEED, growth: 1.5, mostS: 60 / SPEED },
};

const OURS = 'ours';

interface LiveOptions {
  runs: number;
  /** How long runs begin, s. */
  seconds: number;
  seed: number;
  /** Where the runs as they were lived are written; null for nowhere. */
  traceFile: string | null;
}

/**
 * Polling as it is lived. Runs of the fake Noxus begin at random, ten times as fast as real ones, with
 * intervals that are ten times as short. Each is watched by the daemon, by a poller every 5 s, and by
 * one that backs off from 1 s to 60 s. Delay counts from when a run has finished by Noxus's account:
 * for the daemon until the webhook is there, for the others until they have the answer. The runs as
 * they were lived are written to a file, so that policies can be replayed on the very same ones.
 */
export async function benchLive({ runs, seconds, seed, traceFile }: LiveOptions) {
  return onGround(async (ground): Promise<BenchResult> => {
    const stage = await setUpLive(ground, POLLING);
    const random = seededRandom(seed);
    const planned = planRuns({ count: runs, withinS: seconds, speed: SPEED, random });
    const sightings: Sighting[] = [];
    const lived = await stage.live(planned, async (run) => {
      sightings.push(...(await follow(stage, run)));
    });
    if (traceFile !== null) await writeFile(traceFile, traceOf(lived));
    return resultOf(sightings, listRequests(stage) / runs);
  });
}

/** How a policy saw the end of a run. */
interface Sighting {
  policy: string;
  requests: number;
  /** From the end of the run until that was known, ms. */
  delayMs: number;
}

/** Polls a run beside the daemon until its end is known to all. */
async function follow({ noxus, told }: LiveStage, run: LivedRun): Promise<Sighting[]> {
  const polled = await Promise.all(
    Object.entries(PLAIN).map(async ([policy, { firstS, growth, mostS }]) => {
      const waitMs = (reads: number) => Math.min(firstS * growth ** (reads - 1), mostS) * 1_000;
      const { requests, knownAt } = await pollPlainly(noxus, run.id, waitMs);
      return { policy, requests, knownAt };
    }),
  );
  const { finishedAt, arrivedAt } = await told(run.id);
  const others = polled.reduce((sum, { requests }) => sum + requests, 0);
  const requests = noxus.requests.run(run.id).count - others;
  return [...polled, { policy: OURS, requests, knownAt: arrivedAt }].map((one) => ({
    policy: one.policy,
    requests: one.requests,
    delayMs: one.knownAt - finishedAt,
  }));
}

/** Requests that were for no single run. */
function listRequests({ noxus }: LiveStage): number {
  const { requests } = noxus;
  return requests.runIds.reduce((rest, id) => rest - requests.run(id).count, requests.total);
}

/** JSON lines; times in seconds, as short as they were. */
function traceOf(runs: LivedRun[]): string {
  return runs
    .map(({ workflow, created, started, finished, status, progress }) =>
      JSON.stringify({ workflow, created, started, finished, status, progress }),
    )
    .join('\n');
}

/** @param listed reads of many runs at once, which are the daemon's, for each run */
function resultOf(sightings: Sighting[], listed: number): BenchResult {
  const figures = [OURS, ...Object.keys(PLAIN)].flatMap((policy) =>
    figuresOf(
      sightings.filter((one) => one.policy === policy),
      { policy, listed: policy === OURS ? listed : 0 },
    ),
  );
  return { figures, details: { speed: SPEED } };
}

function figuresOf(
  sightings: Sighting[],
  { policy, listed }: { policy: string; listed: number },
): Figure[] {
  const delays = sightings.map(({ delayMs }) => delayMs);
  const mean = (values: number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;
  const figure = (what: string, value: number, unit: string) => ({
    name: `${policy}: ${what}`,
    value: rounded(value),
    unit,
  });
  return [
    figure('requests per run', mean(sightings.map(({ requests }) => requests)) + listed, ''),
    figure('mean delay', mean(delays), 'ms'),
    figure('p50', percentile(delays, 0.5), 'ms'),
    figure('p95', percentile(delays, 0.95), 'ms'),
  ];
}
