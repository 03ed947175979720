import type { Random } from '../../src/core/backoff.ts';
import { seededRandom } from '../../src/simulator/seeded-random.ts';

/** A run as it really went. Times in seconds of the virtual clock. */
export interface TracedRun {
  workflow: string;
  created: number;
  started: number;
  finished: number;
  status: 'completed' | 'failed' | 'stopped';
  /** Progress reports, per cent; ascending in time. */
  progress: readonly (readonly [at: number, percent: number])[];
}

/** One kind of workflow: how long its runs work, s. */
interface Kind {
  name: string;
  duration: (random: Random) => number;
  hasProgress: boolean;
}

const SIGMA = 0.5;

/** The seven kinds that the policy is judged by. */
const KINDS: Kind[] = [
  { name: '8 s', duration: logNormal(8, SIGMA), hasProgress: true },
  { name: '60 s', duration: logNormal(60, SIGMA), hasProgress: true },
  { name: '5 min', duration: logNormal(300, SIGMA), hasProgress: true },
  { name: '30 min', duration: logNormal(1_800, SIGMA), hasProgress: true },
  { name: '2 h', duration: logNormal(7_200, SIGMA), hasProgress: true },
  { name: 'bimodal', duration: twoModes(), hasProgress: true },
  { name: 'pareto', duration: pareto(10, 1.2), hasProgress: false },
];

/** Runs of a kind begin at random within this time per run, s: a week for 1,500. */
const SPREAD_S = 403;

/** Steps of a workflow; progress is how many of them are done. */
const STEPS = 8;

/** How much a step's share of the work differs from run to run. */
const STEP_SIGMA = 0.3;

/** Median time in the queue, s. */
const QUEUED_S = 1.5;

/** Early failures come within this share of the work. */
const EARLY = 0.3;

interface WorkloadOptions {
  seed: number;
  /** Runs of each kind. */
  runs: number;
  /** The factor of all durations. */
  scale?: number;
  progress?: 'honest' | 'misleading';
  /**
   * Time within which runs are created, s; by default long enough that few of a kind are active at
   * once.
   */
  withinS?: number;
}

/** Runs of all kinds, unordered. The same options give the same runs. */
export function workload({ seed, runs, scale = 1, ...rest }: WorkloadOptions): TracedRun[] {
  const withinS = rest.withinS ?? runs * SPREAD_S;
  return KINDS.flatMap((kind, at) => {
    const random = seededRandom(seed * 1_000 + at);
    const weights = Array.from({ length: STEPS }, () => 0.5 + random());
    // 5 to 8 per cent fail early, as many of each kind in every workload.
    const failing = 0.05 + (0.03 * at) / (KINDS.length - 1);
    return Array.from({ length: runs }, () => {
      const created = random() * withinS;
      const started = created + logNormal(QUEUED_S, SIGMA)(random) * Math.min(scale, 1);
      const worksS = kind.duration(random) * scale;
      const isFailing = random() < failing;
      const finished = started + worksS * (isFailing ? EARLY * random() : 1);
      const honest = stepsDone(weights, started, worksS, random);
      const told = rest.progress === 'misleading' ? misled(honest, finished, random) : honest;
      return {
        workflow: kind.name,
        created,
        started,
        finished,
        status: isFailing ? ('failed' as const) : ('completed' as const),
        progress: kind.hasProgress ? told.filter(([when]) => when < finished) : [],
      };
    });
  });
}

type Progress = [at: number, percent: number][];

/** Progress as most workflows have it: steps of very different lengths, which differ a little by run. */
function stepsDone(weights: number[], started: number, worksS: number, random: Random): Progress {
  const lengths = weights.map((weight) => weight * logNormal(1, STEP_SIGMA)(random));
  const all = lengths.reduce((sum, length) => sum + length, 0);
  let done = 0;
  return lengths.slice(0, -1).map((length, at) => {
    done += length;
    return [started + (worksS * done) / all, Math.round((100 * (at + 1)) / STEPS)];
  });
}

/** Useless or wrong progress: at 99 from early on, falling, or random. */
function misled(honest: Progress, finished: number, random: Random): Progress {
  const way = random();
  if (way < 1 / 3) return honest.map(([at]) => [at, 99]);
  if (way < 2 / 3) return honest.map(([at, percent]) => [at, 100 - percent]);
  return honest.map(([at]) => [Math.min(at, finished), Math.floor(random() * 101)]);
}

/** Source of the method: Box and Muller, 1958. */
function logNormal(median: number, sigma: number): (random: Random) => number {
  return (random) => {
    const angle = 2 * Math.PI * random();
    return median * Math.exp(sigma * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(angle));
  };
}

/** Six in ten are answered from a cache. */
function twoModes(): (random: Random) => number {
  const [fast, slow] = [logNormal(20, 0.3), logNormal(600, 0.3)];
  return (random) => (random() < 0.6 ? fast(random) : slow(random));
}

function pareto(least: number, alpha: number): (random: Random) => number {
  return (random) => least * (1 - random()) ** (-1 / alpha);
}
