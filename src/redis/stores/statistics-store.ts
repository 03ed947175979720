import type { Redis } from 'ioredis';
import {
  BINS,
  DECAY,
  exposureOf,
  type Statistics,
  type WorkflowStatistics,
  type Polled,
} from '../../core/cadence/hazard.ts';
import {
  type Dwell,
  parseWorkflowName,
  workflowName,
  type WorkflowKey,
  watchedRun,
} from '../../core/cadence/phase.ts';
import type { Page } from '../../core/page.ts';
import type { WatchChange } from '../watch-change.ts';
import { openCursor } from '../cursor.ts';
import type { Keys, PlanKeys } from '../keys.ts';
import { script } from '../script.ts';

/**
 * Most tables that are kept, about a kilobyte each: two for each of 10,000 states, how long it lasts
 * and how long the next transition takes from its beginning on. Beyond that, the workflows that were used
 * longest ago are forgotten; of a workflow that has too many, nothing is learned of new states.
 */
export const TABLE_LIMITS = { ofAll: 20_000, ofOne: 100 };

/** Most workflows of which something is known, also those without known states. */
export const MOST_WORKFLOWS = 20_000;

/** Most workflows that one change forgets. */
const MOST_FORGOTTEN = 20;

/**
 * Adds samples to what is known of their workflow. What a sample adds to which bin has been worked out
 * already: here it is only decayed and added, as `learn` of `core/cadence/hazard.ts` does. Where there are
 * too many tables or workflows then, those that were used longest ago are forgotten.
 *
 * A table is a packed string of doubles: samples, endings by bin, seconds at risk by bin. So is what was
 * polled: runs, requests, seconds of delay.
 */
export const LEARN = `
local function addSample(plan, key, sample)
  local size = 1 + 2 * plan.bins
  local format = '<' .. string.rep('d', size)
  local packed = redis.call('HGET', key, sample.field) or string.rep('\\0', 8 * size)
  local numbers = {struct.unpack(format, packed)}
  if sample.endedIn then
    for place = 2, size do numbers[place] = numbers[place] * plan.decay end
    local ending = 2 + sample.endedIn
    numbers[1], numbers[ending] = numbers[1] + 1, numbers[ending] + 1
  end
  local before = 1 + plan.bins + sample.firstBin
  for place, seconds in ipairs(sample.seconds) do
    numbers[before + place] = numbers[before + place] + seconds
  end
  redis.call('HSET', key, sample.field, struct.pack(format, unpack(numbers, 1, size)))
end

local function addPolled(plan, key)
  local packed = redis.call('HGET', key, 'polled') or string.rep('\\0', 24)
  local runs, requests, delay = struct.unpack('<ddd', packed)
  redis.call('HSET', key, 'polled', struct.pack('<ddd',
    runs * plan.decay + 1,
    requests * plan.decay + plan.polled.requests,
    delay * plan.decay + plan.polled.delayS))
end

local function makesRoom(plan, key, sample)
  if not sample.isCounted or redis.call('HEXISTS', key, sample.field) == 1 then return true end
  if tonumber(redis.call('HGET', key, 'tables') or 0) >= plan.mostOfOne then return false end
  redis.call('HINCRBY', key, 'tables', 1)
  redis.call('INCR', plan.count)
  return true
end

local function forget(plan, name)
  local ofSource = plan.bySource .. string.match(name, '^[^/]*')
  for _, order in ipairs({plan.used, plan.workflows, ofSource}) do
    redis.call('ZREM', order, name)
  end
  local tables = redis.pcall('HGET', plan.hashes .. name, 'tables')
  redis.call('DECRBY', plan.count, tonumber(tables) or 0)
  redis.call('DEL', plan.hashes .. name)
end

-- So many at a time, so that no change takes long; the next one goes on.
local function forgetOldest(plan, key)
  for _ = 1, plan.mostForgotten do
    local isOver = tonumber(redis.call('GET', plan.count) or 0) > plan.mostOfAll
    if not isOver and redis.call('ZCARD', plan.used) <= plan.mostWorkflows then return end
    local oldest = redis.call('ZRANGE', plan.used, 0, 0)[1]
    if oldest == plan.name then
      return redis.call('SET', plan.count, redis.call('HGET', key, 'tables'))
    end
    forget(plan, oldest)
  end
end

local function addAll(plan)
  local name, key = plan.name, plan.hash
  local now = redis.call('INCR', plan.clock)
  redis.call('ZADD', plan.used, now, name)
  redis.call('ZADD', plan.workflows, 'NX', now, name)
  redis.call('ZADD', plan.ofSource, 'NX', now, name)
  for _, sample in ipairs(plan.samples) do
    if makesRoom(plan, key, sample) then addSample(plan, key, sample) end
  end
  if plan.polled then addPolled(plan, key) end
  -- Begun anew, it has a version that no reader can have: the clock counts each write of all.
  redis.call('HSETNX', key, 'version', now - 1)
  redis.call('HINCRBY', key, 'version', 1)
  forgetOldest(plan, key)
end

-- What was learned is worth less than the change that it comes with: where it cannot be added to,
-- it begins anew.
local function learn(plan)
  if not pcall(addAll, plan) then pcall(forget, plan, plan.name) end
end
`;

/**
 * Reads what is known of a workflow, which may count as using it. Returns the fields and values of the hash: none
 * where nothing is known; null where the reader has that version.
 */
const READ_STATISTICS = script(
  'rwReadStatistics',
  {
    keys: ['statistics', 'used', 'clock'],
    args: ['version', 'user'],
    isBytes: true,
    reply: (hash: Buffer[] | null) => hash,
  },
  `
local version = redis.call('HGET', keys.statistics, 'version')
if not version then return {} end
if version == args.version then return false end
if args.user ~= '' then redis.call('ZADD', keys.used, redis.call('INCR', keys.clock), args.user) end
return redis.call('HGETALL', keys.statistics)
`,
);

/** What was learned of how long states last. Errors of the connection pass through. */
export class StatisticsStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /**
   * Reads workflows in one round trip.
   * @param wanted with the version that the reader has, if any
   * @param options.isUse whether reading what has changed counts as use
   * @returns in order; null where nothing is known, `unchanged` where the reader has it
   */
  async read(
    wanted: readonly (WorkflowKey & { version?: number | null })[],
    { isUse }: { isUse: boolean },
  ): Promise<(WorkflowStatistics | null | 'unchanged')[]> {
    const { statistics, workflowsUsed, workflowClock } = this.keys;
    const found = await Promise.all(
      wanted.map((workflow) => {
        const name = workflowName(workflow);
        return READ_STATISTICS.run(
          this.redis,
          { statistics: statistics(name), used: workflowsUsed, clock: workflowClock },
          { version: workflow.version ?? '', user: isUse ? name : '' },
        );
      }),
    );
    return found.map((reply, at) => {
      const { source, workflowId } = wanted[at] ?? { source: '', workflowId: '' };
      return reply === null ? 'unchanged' : readStatistics({ source, workflowId }, reply);
    });
  }

  /** The workflows that were used last. */
  async lastUsed(limit: number): Promise<WorkflowKey[]> {
    const names = await this.redis.zrevrange(this.keys.workflowsUsed, 0, limit - 1);
    return names.map(parseWorkflowName);
  }

  /**
   * The time now, which counts the uses of all workflows, and the names of those that were used after
   * another time. It is below that where the store was lost meanwhile.
   */
  async usedSince(time: number): Promise<{ time: number; names: string[] }> {
    const { workflowsUsed, workflowClock } = this.keys;
    const now = Number((await this.redis.get(workflowClock)) ?? 0);
    // With nothing learned, which is asked all day, one command is enough.
    if (now === time) return { time, names: [] };
    // Those that are used meanwhile are among them already, and the next time again.
    return { time: now, names: await this.redis.zrangebyscore(workflowsUsed, `(${time}`, '+inf') };
  }

  /** Workflows of which something is known, the latest to become so first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(
    filter: { source?: string | undefined },
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<Page<WorkflowKey>> {
    const { workflows, workflowClock } = this.keys;
    const { from, cursorAt } = await openCursor(this.redis, this.keys, workflowClock, cursor);
    const index = filter.source === undefined ? workflows() : workflows('source', filter.source);
    const flat = await this.redis.zrevrangebyscore(
      index,
      from === undefined ? '+inf' : `(${from}`,
      '-inf',
      'WITHSCORES',
      'LIMIT',
      0,
      limit + 1,
    );
    const isLast = flat.length <= 2 * limit;
    const names = flat.filter((_, at) => at % 2 === 0).slice(0, limit);
    const last = flat[2 * limit - 1] ?? '0';
    return {
      items: names.map(parseWorkflowName),
      nextCursor: isLast ? null : cursorAt(last),
    };
  }

  /** How many tables of states are kept. */
  async countTables(): Promise<number> {
    return Number((await this.redis.get(this.keys.tablesKnown)) ?? 0);
  }
}

/** What the script needs to know to learn from a change of a watch; null where there is nothing to. */
export function learningPlan({ keys, declare }: PlanKeys, change: WatchChange) {
  const { samples = [] } = change;
  const run = watchedRun(change);
  const workflow = run ?? samples[0];
  if (workflow === undefined) return null;
  return {
    name: workflowName(workflow),
    hash: declare(keys.statistics(workflowName(workflow))),
    hashes: keys.statistics(''),
    workflows: declare(keys.workflows()),
    ofSource: declare(keys.workflows('source', workflow.source)),
    bySource: keys.workflows('source', ''),
    used: declare(keys.workflowsUsed),
    clock: declare(keys.workflowClock),
    count: declare(keys.tablesKnown),
    mostOfAll: TABLE_LIMITS.ofAll,
    mostOfOne: TABLE_LIMITS.ofOne,
    mostWorkflows: MOST_WORKFLOWS,
    mostForgotten: MOST_FORGOTTEN,
    bins: BINS,
    decay: DECAY,
    samples: [
      ...samples.map((sample) => plannedSample(tableField(sample.state), sample)),
      ...(run === null ? [] : [plannedSample(DURATIONS, run.duration)]),
    ],
    ...(run?.polled && { polled: run.polled }),
  };
}

function plannedSample(field: string, sample: Dwell) {
  const { firstBin, seconds, endedIn } = exposureOf(sample);
  return {
    field,
    isCounted: isStateField(field),
    firstBin,
    seconds,
    ...(endedIn !== null && { endedIn }),
  };
}

/*
 * What was learned of a workflow is a hash: `version`, `tables` (how many there are of states),
 * `polled` and the tables. There is one for each state, one for all together and one for whole
 * runs. {@link LEARN} writes it.
 */

const BYTES = 8;
const STATE = 'state ';
const ALL = 'all';

/** The field that holds the table of how long whole runs last. */
const DURATIONS = 'durations';

/** The field that holds the table of a state, or by null that of all states together. */
function tableField(state: string | null): string {
  return state === null ? ALL : `${STATE}${state}`;
}

/** Whether a table is one of those that are counted and limited. */
function isStateField(field: string): boolean {
  return field.startsWith(STATE);
}

/** @param reply fields and values in turn, as Redis gives a hash; null where there is none */
function readStatistics(key: WorkflowKey, reply: Buffer[]): WorkflowStatistics | null {
  if (reply.length === 0) return null;
  const fields = new Map<string, Buffer>();
  for (let at = 0; at + 1 < reply.length; at += 2) {
    fields.set(String(reply[at]), reply[at + 1] ?? Buffer.alloc(0));
  }
  const table = (field: string) => {
    const packed = fields.get(field);
    return packed === undefined ? null : readTable(packed);
  };
  const all = table(ALL);
  const states = [...fields].flatMap(([field, packed]) =>
    isStateField(field) ? [[field.slice(STATE.length), readTable(packed)] as const] : [],
  );
  return {
    ...key,
    version: Number(String(fields.get('version'))),
    states: new Map<string | null, Statistics>(all === null ? states : [[null, all], ...states]),
    durations: table(DURATIONS),
    polled: readPolled(fields.get('polled')),
  };
}

/** Samples, endings by bin, seconds at risk by bin. */
function readTable(packed: Buffer): Statistics {
  const [runs = 0, ...bins] = readDoubles(packed);
  return { runs, endings: bins.slice(0, BINS), secondsAtRisk: bins.slice(BINS) };
}

function readPolled(packed: Buffer | undefined): Polled | null {
  if (packed === undefined) return null;
  const [runs = 0, requests = 0, delayS = 0] = readDoubles(packed);
  return { runs, requests, delayS };
}

/** Doubles as scripts pack them, the lowest byte first. */
function readDoubles(packed: Buffer): number[] {
  return Array.from({ length: packed.length / BYTES }, (_, at) => packed.readDoubleLE(at * BYTES));
}
