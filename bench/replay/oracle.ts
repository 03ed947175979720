import type { Follower, Policy } from './policy.ts';
import type { TracedRun } from './workload.ts';

/** No policy here polls a run more often than this, s. */
const LEAST_S = 1;

/** No run gets so old, s. */
const OLDEST_S = 1e6;

/** Ages at which an oracle by age may poll: a grid, and as many at which known runs end. */
const AGE_RATIO = 1.02;
const ENDS = 700;

/** Each known duration stands for those around it, so that few long runs do not decide alone. */
const AROUND = [0.88, 0.91, 0.94, 0.97, 1, 1.03, 1.06, 1.09, 1.12];

/** Ages at which runs made progress count as one within this ratio, for so many known runs. */
const PACE_RATIO = 1.05;
const MOST_ALIKE = 400;

/** When to poll a run of this age next, both in s. */
type Plan = (ageS: number) => number;

/**
 * Polls as if the true durations of each workflow were known, at the least cost of requests and delay.
 * No policy that goes by age alone can do better.
 * @param known other runs of the same workflows
 * @param priceS seconds of delay that one request is worth
 */
export function ageOracle(known: readonly TracedRun[], priceS: number): Policy {
  const workflows = groupBy(known, ({ workflow }) => workflow);
  const plans = new Map(
    [...workflows].map(([name, runs]) => [name, planByDuration(runs.map(durationOf), priceS)]),
  );
  return oracle('oracle by age', ({ workflow, created }, now) =>
    plans.get(workflow)!(now - created),
  );
}

/**
 * Beside its age knows when a run made its last progress, and plans by how long known runs of its
 * workflow lasted from there on at the same pace. It does not foresee that it will see more.
 */
export function progressOracle(known: readonly TracedRun[], priceS: number): Policy {
  const workflows = groupBy(known, ({ workflow }) => workflow);
  const plans = new Map<string, Plan>();
  return oracle('oracle by progress', (run, now) => {
    const steps = run.progress.filter(([at]) => at <= now).length;
    const reachedS = Math.max(LEAST_S, ageAt(run, steps));
    const bucket = steps === 0 ? 0 : Math.round(Math.log(reachedS) / Math.log(PACE_RATIO));
    const key = `${run.workflow} ${steps} ${bucket}`;
    const plan =
      plans.get(key) ??
      planByDuration(
        durationsFrom(workflows.get(run.workflow)!, steps, PACE_RATIO ** bucket),
        priceS,
      );
    plans.set(key, plan);
    return plan(now - run.created);
  });
}

/** The age at which a run made so many steps of progress, s. */
function ageAt({ created, progress }: TracedRun, steps: number): number {
  return steps === 0 ? 0 : progress[steps - 1]![0] - created;
}

/** How long known runs lasted that made so many steps, at the pace of one that made them by this age. */
function durationsFrom(runs: readonly TracedRun[], steps: number, reachedS: number): number[] {
  if (steps === 0) return runs.map(durationOf);
  return runs
    .filter(({ progress }) => progress.length >= steps)
    .slice(0, MOST_ALIKE)
    .map((run) => (durationOf(run) * reachedS) / ageAt(run, steps));
}

/** @param nextAge the age at which to poll a run next that goes on now, s */
function oracle(name: string, nextAge: (run: TracedRun, now: number) => number): Policy {
  return {
    name,
    follow: (): Follower => ({
      look({ run, now, fails }) {
        if (!fails && now >= run.finished) return { nextAt: null, updates: 0 };
        const nextAt = run.created + nextAge(run, now);
        return { nextAt: Math.max(now + LEAST_S, nextAt), updates: 0 };
      },
      deadline: (dueAt) => dueAt,
    }),
  };
}

const durationOf = ({ created, finished }: TracedRun) => finished - created;

/** From the last age backwards: the cost from each age on, and the age at which to poll next. */
function planByDuration(known: readonly number[], priceS: number): Plan {
  const durations = known
    .flatMap((duration) => AROUND.map((factor) => duration * factor))
    .toSorted((a, b) => a - b);
  const ages = agesOf(durations);
  const ended = endedBy(ages, durations);
  const cost = ages.map(() => 0);
  const next = ages.map(() => OLDEST_S);
  for (let from = ages.length - 2; from >= 0; from -= 1) {
    const before = ended[from]!;
    let least = Infinity;
    for (let to = from + 1; to < ages.length; to += 1) {
      const [age, after] = [ages[to]!, ended[to]!];
      if (age < ages[from]! + LEAST_S) continue;
      const delays = (after.count - before.count) * age - (after.sum - before.sum);
      const total = (durations.length - before.count) * priceS + delays + cost[to]!;
      if (total < least) [least, next[from]] = [total, age];
      // Delays only grow from here on.
      if (delays > least) break;
    }
    cost[from] = least === Infinity ? 0 : least;
  }
  return (ageS) => next[placeOf(ages, ageS)]!;
}

/** A grid of ages, and those at which runs end. */
function agesOf(sorted: readonly number[]): number[] {
  const ends = Array.from(
    { length: ENDS },
    (_, at) => sorted[Math.floor((at * sorted.length) / ENDS)]!,
  );
  return [0, ...ends, ...grid(AGE_RATIO)].sort((a, b) => a - b);
}

function grid(ratio: number): number[] {
  const count = Math.ceil(Math.log(OLDEST_S / LEAST_S) / Math.log(ratio));
  return Array.from({ length: count }, (_, at) => LEAST_S * ratio ** at);
}

/** For each age, how many runs have ended by then, and the sum of their durations. */
function endedBy(ages: readonly number[], sorted: readonly number[]) {
  let [count, sum] = [0, 0];
  return ages.map((age) => {
    for (; count < sorted.length && sorted[count]! <= age; count += 1) sum += sorted[count]!;
    return { count, sum };
  });
}

/** The last of these ages that a run has reached. */
function placeOf(ages: readonly number[], ageS: number): number {
  let [low, high] = [0, ages.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ages[middle]! <= ageS + 1e-6) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

export function groupBy<Item, Key>(
  items: readonly Item[],
  keyOf: (item: Item) => Key,
): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
