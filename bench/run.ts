import { mkdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { PROFILES, type Profile } from '../src/core/watch/watch.ts';
import { benchApi } from './api.ts';
import { benchAttack } from './attack.ts';
import { BAD_DAY_CELLS, benchBadDays } from './bad-days.ts';
import { benchBatches } from './batches.ts';
import { benchLists } from './lists.ts';
import { benchBrowser } from './browser.ts';
import { benchBudget, BUDGET_CELLS } from './budget.ts';
import { benchCapacity } from './capacity.ts';
import { benchDeliver } from './deliver.ts';
import { benchFailover } from './failover.ts';
import { benchFrozen } from './frozen.ts';
import { benchGrowth } from './growth.ts';
import { benchHa } from './ha.ts';
import { benchHostile } from './hostile.ts';
import { benchIsolation } from './isolation.ts';
import { benchLatency } from './latency.ts';
import { benchLive } from './live.ts';
import { benchMemory } from './memory.ts';
import { benchMigrate } from './migrate.ts';
import { benchPlaces } from './places.ts';
import { benchPoll } from './poll.ts';
import { benchReplay } from './replay.ts';
import { benchRolling } from './rolling.ts';
import { benchRules } from './rules.ts';
import { benchTakeover } from './takeover.ts';
import { benchTenants } from './tenants.ts';
import { isMet, machine, table, type BenchResult, type Figure } from './support/figures.ts';
import { benchIdle } from './idle.ts';
import { benchShapes, CELL_NAMES } from './shapes.ts';
import { benchSkew } from './skew.ts';
import { benchSlots, SLOT_CELLS } from './slots.ts';
import { benchSoak } from './soak.ts';
import { benchStreams, STREAM_CELLS } from './streams.ts';
import { benchUpgrade } from './upgrade.ts';
import { benchVerify } from './verify.ts';
import { benchWatches } from './watches.ts';
import { benchYear } from './year.ts';

/** Benches with only targets to check, so they are always checked. */
const ALWAYS_CHECKED: ReadonlySet<string> = new Set(['replay', 'year', 'ha']);

const USAGE = `usage: npm run bench -- <name> [options]
names: rules, capacity, poll, idle, browser, latency, takeover, frozen, skew, failover, ha, rolling, lists, budget, slots, watches, batches, api, memory, growth, deliver,
       store, verify, migrate, upgrade, places, shapes, streams,
       isolation, hostile, attack, tenants, bad-days, soak, year, live, replay
  --json               one JSON document instead of a table
  --check              exit code 1 when a target is missed; replay, year and ha always do that
  --profile <dir>      write CPU profiles of the daemon there
poll:
  --rounds <n>         rounds of either side (5)
  --seconds <n>        length of a round (3)
  --watches <n>        runs that are polled (1000)
  --concurrency <n>    polls at once (64)
capacity:
  --seconds <n>        length of each step (5)
idle:
  --seconds <n>        how long nothing is done (60)
browser (needs Chromium):
  --seconds <n>        how long each side is measured (20)
latency:
  --seconds <n>        how long events come (20)
takeover:
  --runs <n>           runs that are being read (40)
  --rounds <n>         rounds of either signal (5)
skew:
  --seconds <n>        how long each setting of the clocks lasts (10)
failover:
  --rounds <n>         losses (10)
  --seed <n>           of when they come (1)
frozen:
  --rounds <n>         faults of either kind, 11 s each (10)
lists:
  --runs <n>           runs of one workflow (100)
  --within <n>         when the last of them ends, seconds (40)
budget (with runs or workflows, that cell by a built daemon, and nothing is judged):
  --seed <n>           of how long runs take (1)
  --runs <n>           runs (2000)
  --workflows <n>      workflows that they are spread over (1)
  --cells <names>      by comma, of ${BUDGET_CELLS.join(', ')} (all)
rules:
  --rules <n>          rules (1000)
  --groups <n>         groups of each that have an alert (100)
  --events <n>         events that are timed (500)
watches:
  --count <n>          watches (100000)
  --connections <n>    batches at once (4)
batches:
  --rounds <n>         pairs of rounds, with a batch and without (40)
api:
  --count <n>          watches in the store (100000)
memory:
  --count <n>          settled runs in the store (300000)
growth:
  --count <n>          settled runs in the larger of two stores (4000)
deliver:
  --endpoints <n>      endpoints, each a receiver of its own (100)
  --rounds <n>         rounds of raw loop, backlog and steady pace (5)
  --seconds <n>        length of each of the three (3)
store (memory, api, poll and deliver in turn, with what each does by default):
  --count <n>          watches in the store (300000)
verify (the verbs of a built daemon; a second store has a third of the runs):
  --count <n>          settled runs in the store (300000)
migrate (to the form that the tests have; a second store has a tenth of the runs):
  --count <n>          runs in the store (100000)
upgrade (to the same form; a second store has a tenth of the runs):
  --count <n>          settled runs in the store (100000)
  --rate <n>           runs that begin each second (20)
bad-days:
  --cells <names>      by comma, of ${BAD_DAY_CELLS.join(', ')} (all)
shapes:
  --cells <names>      by comma, of ${CELL_NAMES.join(', ')} (all)
slots:
  --cells <names>      by comma, of ${SLOT_CELLS.join(', ')} (all)
streams:
  --cells <names>      by comma, of ${STREAM_CELLS.join(', ')} (all)
isolation:
  --endpoints <n>      endpoints, of which one hangs, or 30 (100)
  --rounds <n>         rounds of none, one, and 30 hanging (5)
  --seconds <n>        length of each of the three (3)
  --rate <n>           deliveries a second to the healthy ones together (200)
  --queued <n>         deliveries queued at those that hang (10000)
hostile:
  --deliveries <n>     deliveries to each of the receivers (12)
soak:
  --minutes <n>        how long runs begin and processes are killed (2)
  --rate <n>           runs that begin each second, at most 50 (3)
  --seed <n>           of everything that is left to chance (1)
year:
  --minutes <n>        how long runs begin, end and are forgotten at least (3)
ha:
  --rounds <n>         primaries killed, of Sentinels and of a cluster each (5)
rolling:
  --rate <n>           runs that begin each second (20)
  --seconds <n>        how long none is replaced (20)
  --from <commit>      the version that is replaced (this one, under another number)
live:
  --runs <n>           runs that are watched (400)
  --seconds <n>        how long runs begin (150)
  --seed <n>           of the runs (1)
  --trace <file>       where the runs are written, as replay reads them
replay (with any of the last four, only that comparison, and nothing is judged):
  --seed <n>           of everything that is left to chance (1)
  --runs <n>           runs of each of seven kinds of workflow (1500)
  --profile <name>     urgent, normal or frugal
  --budget <n>         requests a second that all runs share
  --lists              ours a second time, runs of one workflow polled by their list
  --trace <file>       runs as JSON lines, times in seconds:
                       {"workflow":"a","created":0,"started":2.5,"finished":61.0,
                        "status":"completed","progress":[[10.2,25],[30.0,50]]}`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    lists: { type: 'boolean', default: false },
    profile: { type: 'string' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    watches: { type: 'string', default: '1000' },
    concurrency: { type: 'string', default: '64' },
    runs: { type: 'string' },
    within: { type: 'string', default: '40' },
    workflows: { type: 'string' },
    rules: { type: 'string', default: '1000' },
    groups: { type: 'string', default: '100' },
    events: { type: 'string', default: '500' },
    count: { type: 'string' },
    connections: { type: 'string', default: '4' },
    endpoints: { type: 'string', default: '100' },
    rate: { type: 'string' },
    deliveries: { type: 'string', default: '12' },
    minutes: { type: 'string' },
    cells: { type: 'string' },
    seed: { type: 'string', default: '1' },
    queued: { type: 'string', default: '10000' },
    budget: { type: 'string' },
    trace: { type: 'string' },
    from: { type: 'string' },
  },
});

const [name = ''] = positionals;
const profileDir = name === 'replay' ? null : (values.profile ?? null);
if (profileDir !== null) await mkdir(profileDir, { recursive: true });

const benches = {
  places: benchPlaces,
  shapes: () => benchShapes(knownCells(values.cells, CELL_NAMES)),
  slots: () => benchSlots(knownCells(values.cells, SLOT_CELLS)),
  streams: () => benchStreams(values.cells?.split(',')),
  poll,
  capacity: () =>
    benchCapacity({ seconds: given('seconds', { usual: 5, least: 2, most: 60 }), profileDir }),
  budget: () =>
    benchBudget({
      seed: bounded('seed', 1_000_000),
      cells: knownCells(values.cells, BUDGET_CELLS),
      runs: values.runs === undefined ? undefined : bounded('runs', 20_000),
      workflows: values.workflows === undefined ? undefined : bounded('workflows', 20_000),
    }),
  lists: () =>
    benchLists({
      runs: given('runs', { usual: 100, least: 2, most: 1_000 }),
      seconds: bounded('within', 600, 4),
      profileDir,
    }),
  rules: () =>
    benchRules({
      rules: bounded('rules', 1_000),
      groups: bounded('groups', 100),
      events: bounded('events', 100_000),
    }),
  watches: () =>
    benchWatches({
      count: given('count', { usual: 100_000, least: 1, most: 250_000 }),
      connections: bounded('connections', 64),
      profileDir,
    }),
  batches: () => benchBatches({ rounds: rounds(40) }),
  api: () => api(100_000),
  memory,
  growth: () =>
    benchGrowth({ count: given('count', { usual: 4_000, least: 1_000, most: 1_000_000 }) }),
  deliver,
  store,
  verify: () =>
    benchVerify({ count: given('count', { usual: 300_000, least: 3_000, most: 1_000_000 }) }),
  migrate: () =>
    benchMigrate({ count: given('count', { usual: 100_000, least: 10_000, most: 300_000 }) }),
  upgrade: () =>
    benchUpgrade({
      count: given('count', { usual: 100_000, least: 1_000, most: 300_000 }),
      rate: given('rate', { usual: 20, least: 1, most: 200 }),
    }),
  isolation: () =>
    benchIsolation({
      endpoints: bounded('endpoints', 1_000, 31),
      rounds: rounds(5),
      seconds: given('seconds', { usual: 3, least: 1, most: 60 }),
      rate: given('rate', { usual: 200, least: 1, most: 10_000 }),
      queued: bounded('queued', 100_000),
      profileDir,
    }),
  'bad-days': () => benchBadDays(knownCells(values.cells, BAD_DAY_CELLS)),
  attack: () => benchAttack({ profileDir }),
  tenants: () => benchTenants({ rounds: rounds(5), profileDir }),
  hostile: () => benchHostile({ deliveries: bounded('deliveries', 1_000), profileDir }),
  browser: () => benchBrowser({ seconds: given('seconds', { usual: 20, least: 5, most: 120 }) }),
  idle: () => benchIdle({ seconds: given('seconds', { usual: 60, least: 10, most: 600 }) }),
  takeover: () =>
    benchTakeover({
      runs: given('runs', { usual: 40, least: 2, most: 60 }),
      rounds: rounds(5),
    }),
  failover: () => benchFailover({ rounds: rounds(10), seed: bounded('seed', 1_000_000) }),
  latency: () => benchLatency({ seconds: given('seconds', { usual: 20, least: 2, most: 600 }) }),
  skew: () => benchSkew({ seconds: given('seconds', { usual: 10, least: 4, most: 60 }) }),
  frozen: () => benchFrozen({ rounds: rounds(10) }),
  soak: () =>
    benchSoak({
      minutes: given('minutes', { usual: 2, least: 1, most: 600 }),
      rate: given('rate', { usual: 3, least: 1, most: 50 }),
      seed: bounded('seed', 1_000_000),
    }),
  year: () => benchYear({ minutes: given('minutes', { usual: 3, least: 1, most: 600 }) }),
  ha: () => benchHa({ rounds: rounds(5) }),
  rolling: () =>
    benchRolling({
      rate: given('rate', { usual: 20, least: 1, most: 200 }),
      seconds: given('seconds', { usual: 20, least: 5, most: 600 }),
      from: values.from,
    }),
  replay: () =>
    benchReplay({
      seed: bounded('seed', 1_000_000),
      runs: given('runs', { usual: 1_500, least: 100, most: 10_000 }),
      profile: watchProfile(values.profile),
      budgetPerS: values.budget === undefined ? undefined : positive('budget', values.budget),
      lists: values.lists,
      trace: values.trace,
    }),
  live: () =>
    benchLive({
      runs: given('runs', { usual: 400, least: 1, most: 5_000 }),
      seconds: given('seconds', { usual: 150, least: 1, most: 1_800 }),
      seed: bounded('seed', 1_000_000),
      traceFile: values.trace ?? null,
    }),
};

if (!isBench(name)) {
  console.error(USAGE);
  process.exit(2);
}
const context = machine();
const result = await benches[name]();
if (values.json) {
  console.log(
    JSON.stringify(
      { bench: name, machine: context, figures: result.figures, details: result.details },
      null,
      2,
    ),
  );
} else {
  console.log(`${name} on ${Object.values(context).join(', ')} (load)`);
  if (result.text !== undefined) console.log(result.text);
  if (result.figures.length > 0) console.log(table(result.figures));
}
if ((values.check || ALWAYS_CHECKED.has(name)) && !result.figures.every(isMet))
  process.exitCode = 1;

function poll(): Promise<BenchResult> {
  return benchPoll({
    rounds: rounds(5),
    seconds: given('seconds', { usual: 3, least: 1, most: 60 }),
    watches: bounded('watches', 100_000),
    concurrency: bounded('concurrency', 1_000),
    profileDir,
  });
}

function api(usual: number): Promise<BenchResult> {
  return benchApi({ count: given('count', { usual, least: 2_000, most: 300_000 }), profileDir });
}

function memory(): Promise<BenchResult> {
  return benchMemory({ count: given('count', { usual: 300_000, least: 1_000, most: 1_000_000 }) });
}

function deliver(): Promise<BenchResult> {
  return benchDeliver({
    endpoints: bounded('endpoints', 1_000),
    rounds: rounds(5),
    seconds: given('seconds', { usual: 3, least: 1, most: 60 }),
    profileDir,
  });
}

/** All that the form of the store decides, on one machine. */
async function store(): Promise<BenchResult> {
  const parts = { memory, api: () => api(300_000), poll, deliver };
  const figures: Figure[] = [];
  const details: Record<string, unknown> = {};
  for (const [part, bench] of Object.entries(parts)) {
    const measured = await bench();
    figures.push(...measured.figures.map((one) => ({ ...one, name: `${part}: ${one.name}` })));
    details[part] = measured.details;
  }
  return { figures, details };
}

function isBench(text: string): text is keyof typeof benches {
  return Object.hasOwn(benches, text);
}

function watchProfile(text: string | undefined): Profile | undefined {
  const profile = PROFILES.find((one) => one === text);
  if (text === undefined || profile !== undefined) return profile;
  return misused(`--profile is one of ${PROFILES.join(', ')}`);
}

function knownCells(text: string | undefined, known: readonly string[]): string[] | undefined {
  const names = text?.split(',');
  const wrong = names?.find((one) => !known.includes(one));
  return wrong === undefined ? names : misused(`there is no cell named ${wrong}`);
}

function positive(option: string, text: string): number {
  const value = Number(text);
  return value > 0 && value < Infinity ? value : misused(`--${option} is a number above 0`);
}

function misused(message: string): never {
  console.error(`${message}\n${USAGE}`);
  process.exit(2);
}

/** An option with a different default for each benchmark. */
function given(
  option: 'rounds' | 'runs' | 'seconds' | 'rate' | 'minutes' | 'count',
  { usual, least, most }: { usual: number; least: number; most: number },
): number {
  return values[option] === undefined ? usual : bounded(option, most, least);
}

function rounds(usual: number): number {
  return given('rounds', { usual, least: 1, most: 100 });
}

function bounded(
  option: Exclude<
    keyof typeof values,
    'json' | 'check' | 'lists' | 'profile' | 'budget' | 'trace' | 'cells' | 'from'
  >,
  most: number,
  least = 1,
): number {
  const value = Number(values[option]);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  return misused(`--${option} is a whole number from ${least} to ${most}`);
}
