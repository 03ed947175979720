import { writeFile } from 'node:fs/promises';
import { seededRandom } from '../src/simulator/seeded-random.ts';
import { schedule } from './replay/baselines.ts';
import type { Policy } from './replay/policy.ts';
import { Replay } from './replay/replay.ts';
import { runwatch } from './replay/runwatch.ts';
import { summarize, type Seen, type Summary } from './replay/summary.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';
import { withContext } from './support/context.ts';
import { planRuns, type LivedRun } from './support/lived-runs.ts';
import { setUpLive, type LiveStage } from './support/live-stage.ts';
import { pollPlainly } from './support/plain-poller.ts';

/** Divides all times of runs and all intervals. */
const SPEED = 10;

const POLLING = { minIntervalMs: 1_000 / SPEED, maxIntervalMs: 60_000 / SPEED };

/** The alternatives to our policy: the fallback of the Noxus SDK, and careful scripts. */
const PLAIN = {
  'fixed 5 s (SDK fallback)': { firstS: 5 / SPEED, growth: 1, mostS: 5 / SPEED },
  'backoff 1 s × 1.5 to 60 s': { firstS: 1 / SPEED, growth: 1.5, mostS: 60 / SPEED },
};

const OURS = 'ours';

/** Our policy is partly random: its prediction is the mean of this many replays. */
const REPLAYS = 10;

/** How far the live figures may differ from the replay's. */
const AGREEMENT = 0.2;

interface LiveOptions {
  runs: number;
  /** How long new runs begin, s. */
  seconds: number;
  seed: number;
  /** File for the runs as they happened, in the format of the replay; null for none. */
  traceFile: string | null;
}

/**
 * Live polling, compared with a replay of the same runs. Runs of the fake Noxus begin at random,
 * ten times as fast as real ones, with intervals a tenth as long. The daemon watches each, and so
 * do a poller every 5 s and one that backs off from 1 s to 60 s. Delay counts from a run's end by
 * Noxus's time: for the daemon to the webhook, for the others to the answer. In the replay only
 * waiting takes time. Target: requests and delays of our policy are within 20 % of the replay's.
 */
export async function benchLive({ runs, seconds, seed, traceFile }: LiveOptions) {
  return withContext(async (context): Promise<BenchResult> => {
    const stage = await setUpLive(context, POLLING);
    const random = seededRandom(seed);
    const planned = planRuns({ count: runs, withinS: seconds, speed: SPEED, random });
    const sightings: Sighting[] = [];
    const lived = await stage.live(planned, async (run) => {
      sightings.push(...(await follow(stage, run)));
    });
    if (traceFile !== null) await writeFile(traceFile, traceOf(lived));
    const listed = listRequests(stage) / runs;
    const seenBy = (policy: string) =>
      sightings
        .filter((one) => one.policy === policy)
        // Sweeps are the daemon's, and their cost is shared by all runs.
        .map(({ seen }) => (policy === OURS ? withRequests(seen, listed) : seen));
    return resultOf(seenBy, lived);
  });
}

/** How a policy saw the end of a run. */
interface Sighting {
  policy: string;
  seen: Seen;
}

/** Polls a run beside the daemon until all have seen its end. */
async function follow({ noxus, told }: LiveStage, run: LivedRun): Promise<Sighting[]> {
  const { workflow, created } = run;
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
    seen: {
      workflow,
      created,
      requests: one.requests,
      delayS: (one.knownAt - finishedAt) / 1_000,
    },
  }));
}

/** Requests that did not read a single run. */
function listRequests({ noxus }: LiveStage): number {
  const { requests } = noxus;
  return requests.runIds.reduce((rest, id) => rest - requests.run(id).count, requests.total);
}

function withRequests(seen: Seen, more: number): Seen {
  return { ...seen, requests: seen.requests + more };
}

function traceOf(runs: LivedRun[]): string {
  return runs
    .map(({ workflow, created, started, finished, status, progress }) =>
      JSON.stringify({ workflow, created, started, finished, status, progress }),
    )
    .join('\n');
}

function resultOf(seenBy: (policy: string) => Seen[], lived: LivedRun[]): BenchResult {
  const policies = [OURS, ...Object.keys(PLAIN)];
  const compared = policies.map((policy) => ({
    policy,
    live: summarize(seenBy(policy)),
    replayed: predictionOf(policy, lived),
  }));
  return {
    figures: compared.flatMap(({ policy, live, replayed }) => figuresOf(policy, live, replayed)),
    details: { speed: SPEED, compared },
  };
}

function predictionOf(policy: string, lived: LivedRun[]): Summary {
  const plain = Object.entries(PLAIN).find(([name]) => name === policy)?.[1];
  const replays = Array.from({ length: plain === undefined ? REPLAYS : 1 }, (_, at) =>
    plain === undefined
      ? runwatch({ profile: 'normal', random: seededRandom(at), limits: POLLING })
      : schedule({ name: policy, ...plain, restarts: false }),
  );
  return summarize(replays.flatMap((one: Policy) => new Replay(one).run(lived).seen));
}

function figuresOf(policy: string, live: Summary, replayed: Summary): Figure[] {
  const pairs = [
    { what: 'requests per run', unit: '', of: ({ requestsPerRun }: Summary) => requestsPerRun },
    { what: 'mean delay', unit: 's', of: ({ mean }: Summary) => mean },
    { what: 'p50', unit: 's', of: ({ p50 }: Summary) => p50 },
    { what: 'p95', unit: 's', of: ({ p95 }: Summary) => p95 },
  ];
  return pairs.flatMap(({ what, unit, of }) => {
    const name = `${policy}: ${what}`;
    const said = `${unit} (${rounded(of(replayed))} by the replay)`.trimStart();
    const figure: Figure = { name, value: rounded(of(live)), unit: said };
    const apart = rounded(Math.abs(of(live) / of(replayed) - 1));
    const target = { atMost: AGREEMENT };
    return policy === OURS
      ? [figure, { name: `${name}, apart by`, value: apart, unit: '', target }]
      : [figure];
  });
}
