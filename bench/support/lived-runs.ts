import type { Random } from '../../src/core/backoff.ts';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { randomId } from '../../src/simulator/seeded-random.ts';
import type { TracedRun } from '../replay/workload.ts';

/** A planned or finished run. */
export interface LivedRun extends TracedRun {
  id: string;
}

/** How long the runs of a workflow last, and how often it is one of these. */
interface Kind {
  share: number;
  /** Of the log-normal distribution, s as they would be unscaled. */
  medianS: number;
  sigma: number;
  /** Whether its progress moves evenly, or remains at 0 to the end. */
  tellsProgress: boolean;
}

const KINDS: [Kind, ...Kind[]] = [
  { share: 0.4, medianS: 30, sigma: 0.5, tellsProgress: false },
  { share: 0.35, medianS: 150, sigma: 0.4, tellsProgress: true },
  { share: 0.25, medianS: 300, sigma: 0.5, tellsProgress: false },
];

/** The share of runs that fail, at any time before their end. */
const FAILURES = 0.06;

/** Runs wait in their queue for up to this share of their length. */
const QUEUED_SHARE = 0.05;

interface PlanOptions {
  count: number;
  /** How long new runs begin, s. */
  withinS: number;
  /** How many times as fast as real ones they are. */
  speed: number;
  random: Random;
}

/** Runs that begin at random times, the earliest first; s from the beginning. */
export function planRuns({ count, withinS, speed, random }: PlanOptions): LivedRun[] {
  const workflows = KINDS.map(() => randomId(random));
  const runs = Array.from({ length: count }, () => {
    const at = pick(random());
    const kind = KINDS[at] ?? KINDS[0];
    const created = random() * withinS;
    return { workflow: workflows[at] ?? '', ...planRun(kind, { created, speed, random }) };
  });
  return runs.sort((a, b) => a.created - b.created);
}

function pick(roll: number): number {
  let sum = 0;
  return KINDS.findIndex(({ share }) => (sum += share) > roll);
}

function planRun(
  { medianS, sigma, tellsProgress }: Kind,
  { created, speed, random }: { created: number; speed: number; random: Random },
): Omit<LivedRun, 'workflow'> {
  const lengthS = (medianS * Math.exp(sigma * normal(random))) / speed;
  const started = created + lengthS * QUEUED_SHARE * random();
  const done = created + lengthS;
  const fails = random() < FAILURES;
  const finished = fails ? started + (done - started) * random() : done;
  const percents = tellsProgress ? Array.from({ length: 99 }, (_, at) => at + 1) : [];
  return {
    id: randomId(random),
    created,
    started,
    finished,
    status: fails ? 'failed' : 'completed',
    progress: percents
      .map((percent) => [started + ((done - started) * percent) / 100, percent] as const)
      .filter(([at]) => at < finished),
  };
}

/** Of the standard normal distribution. Source of the method: Box and Muller, 1958. */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** The run as the fake Noxus plays it; between its steps, progress moves evenly there. */
export function scriptOf(run: LivedRun): ScriptInput {
  const afterMs = (at: number) => Math.round((at - run.created) * 1_000);
  const [, percent = 0] = run.progress.at(-1) ?? [];
  return {
    id: run.id,
    workflow_id: run.workflow,
    private_bytes: 0,
    steps: [
      { after_ms: afterMs(run.started), status: 'running', progress: 0 },
      { after_ms: afterMs(run.finished), status: run.status, progress: percent },
    ],
  };
}

/** The run with its real beginning: all of its times move along. */
export function movedTo(run: LivedRun, created: number): LivedRun {
  const by = created - run.created;
  return {
    ...run,
    created,
    started: run.started + by,
    finished: run.finished + by,
    progress: run.progress.map(([at, percent]) => [at + by, percent] as const),
  };
}
