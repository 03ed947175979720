import type { Redis } from 'ioredis';
import { watchId, type WatchKey } from '../../core/watch/watch.ts';
import { replies } from '../connection.ts';
import type { Keys } from '../keys.ts';
import { RUN_IDS, runIdOf, runIdsOf, wholePart } from '../run-ids.ts';
import { script } from '../script.ts';
import type { DeliveryStore } from './delivery-store.ts';
import type { EventStore } from './event-store.ts';
import { IDENTITY_LENGTH, readIdentity } from './watch-record.ts';

/** Ids of runs that are examined, of all sources together: the newest of them come first. */
const MOST_EXAMINED = 100;

/** Events and deliveries are found among the newest 5,000. */
const PAGE_SIZE = 200;
const MOST_PAGES = 25;

/** What can be found by a part of its id. */
type LookupKind = 'run' | 'event' | 'delivery';

interface Found {
  kind: LookupKind;
  id: string;
  source?: string;
}

export interface LookupRequest {
  kind: LookupKind;
  /** How the id begins; of a run also how the last part of its id begins. */
  prefix: string;
  limit: number;
  /** Of runs; absent for all. */
  sources?: readonly string[] | undefined;
}

interface LookupResult {
  found: Found[];
  /** There are, or may be, others that begin so. */
  more: boolean;
  /** Of runs: the sources that were looked through. */
  sources: readonly string[];
}

interface LookupStoreOptions {
  redis: Redis;
  keys: Keys;
  events: Pick<EventStore, 'newest' | 'body'>;
  deliveries: Pick<DeliveryStore, 'created' | 'get'>;
}

/**
 * Finds the first members that begin with a text. Its further keys are of each source the beginnings of its blocks,
 * its further arguments how the keys of the blocks begin. Returns a list of members for each source.
 */
const FIND_RUN_IDS = script(
  'rwFindRunIds',
  {
    keys: [],
    args: ['text', 'mostOfSource'],
    reply: (found: string[][]) => found,
  },
  `
${RUN_IDS}
local text, most = args.text, tonumber(args.mostOfSource)
-- No letter of an id comes after this one.
local last = '(' .. text .. '\\127'

local function find(ids)
  local found = {}
  local blocks = redis.call('ZRANGEBYLEX', ids.blocks, '(' .. text, last, 'LIMIT', 0, most)
  table.insert(blocks, 1, blockOf(ids, text))
  for _, first in ipairs(blocks) do
    local left = most - #found
    if left == 0 then break end
    for _, member in ipairs(redis.call('ZRANGEBYLEX', ids.block .. first, '[' .. text, last, 'LIMIT', 0, left)) do
      found[#found + 1] = member
    end
  end
  return found
end

local reply = {}
for at, blocks in ipairs(KEYS) do reply[at] = find({blocks = blocks, block = ARGV[rest + at - 1]}) end
return reply
`,
);

/** Finds ids by how they begin. Errors of the connection pass through. */
export class LookupStore {
  readonly #options: LookupStoreOptions;

  constructor(options: LookupStoreOptions) {
    this.#options = options;
  }

  /** An equal id alone; else runs with an equal last part alone; else those that begin so, the newest first. */
  async find({ kind, prefix, limit, sources, ...rest }: LookupRequest): Promise<LookupResult> {
    rest satisfies Record<string, never>;
    switch (kind) {
      case 'run':
        return this.#runs(prefix, limit, sources);
      case 'event':
        return this.#events(prefix, limit);
      case 'delivery':
        return this.#deliveries(prefix, limit);
    }
  }

  async #runs(
    prefix: string,
    limit: number,
    asked: readonly string[] | undefined,
  ): Promise<LookupResult> {
    const { redis, keys } = this.#options;
    const sources = asked ?? (await redis.hkeys(keys.watchSources));
    const { runs, isAll } = await this.#runsThatBegin(prefix, limit, sources);
    const numbers = await this.#numbersOf(runs);
    const kept = runs.flatMap((run, at) => {
      const number = numbers[at] ?? null;
      return number === null ? [] : [{ ...run, number }];
    });
    const equal = [kept.filter(isWhole('id')), kept.filter(isWhole('last part'))];
    const meant = equal.find((some) => some.length > 0);
    const newest = (meant ?? kept).sort((a, b) => b.number - a.number);
    return {
      found: newest.slice(0, limit).map(presentRun),
      more: newest.length > limit || (meant === undefined && !isAll),
      sources,
    };
  }

  /** Runs with an id that begins so, or a last part that does: some of each source. */
  async #runsThatBegin(
    prefix: string,
    limit: number,
    sources: readonly string[],
  ): Promise<{ runs: FoundRun[]; isAll: boolean }> {
    const { redis, keys } = this.#options;
    // The space between a last part and an id is of no id.
    if (/[^!-~]/.test(prefix)) return { runs: [], isAll: true };
    const most = Math.max(limit + 1, Math.ceil(MOST_EXAMINED / sources.length));
    const ids = sources.map((source) => runIdsOf(keys, source));
    const found = await FIND_RUN_IDS.run(
      redis,
      {},
      { text: prefix, mostOfSource: most },
      { further: ids.map(({ blocks }) => blocks), rest: ids.map(({ block }) => block) },
    );
    const runs = new Map<string, FoundRun>();
    for (const [at, members] of found.entries()) {
      for (const member of members) {
        const run = { source: sources[at] ?? '', runId: runIdOf(member) };
        const whole = wholePart(member, prefix) ?? runs.get(watchId(run))?.whole ?? null;
        runs.set(watchId(run), { ...run, whole });
      }
    }
    return {
      runs: [...runs.values()],
      isAll: found.every((members) => members.length < most),
    };
  }

  /** The numbers of watches in the order of registration; null where there is no record. */
  async #numbersOf(runs: readonly WatchKey[]): Promise<(number | null)[]> {
    const { redis, keys } = this.#options;
    const pipeline = redis.pipeline();
    for (const run of runs) pipeline.getrange(keys.watch(run), 0, IDENTITY_LENGTH - 1);
    const identities = await replies<string>(pipeline);
    return identities.map((identity) => (identity === '' ? null : readIdentity(identity).number));
  }

  async #events(prefix: string, limit: number): Promise<LookupResult> {
    const { events } = this.#options;
    if ((await events.body(prefix)) !== null) return onlyThis('event', prefix);
    return walk('event', { prefix, limit }, events.newest(PAGE_SIZE));
  }

  async #deliveries(prefix: string, limit: number): Promise<LookupResult> {
    const { deliveries } = this.#options;
    if ((await deliveries.get(prefix)) !== null) return onlyThis('delivery', prefix);
    return walk('delivery', { prefix, limit }, deliveries.created({}, PAGE_SIZE));
  }
}

/** A run of which a part begins with what was looked for, and the part that is all of it. */
interface FoundRun extends WatchKey {
  whole: 'id' | 'last part' | null;
}

function isWhole(part: 'id' | 'last part') {
  return ({ whole }: FoundRun) => whole === part;
}

function presentRun({ runId, source }: WatchKey): Found {
  return { kind: 'run', id: runId, source };
}

function onlyThis(kind: LookupKind, id: string): LookupResult {
  return { found: [{ kind, id }], more: false, sources: [] };
}

async function walk(
  kind: LookupKind,
  { prefix, limit }: { prefix: string; limit: number },
  newest: AsyncIterable<readonly { id: string }[]>,
): Promise<LookupResult> {
  const found: Found[] = [];
  let pages = 0;
  for await (const page of newest) {
    for (const { id } of page) {
      if (!id.startsWith(prefix)) continue;
      if (found.length === limit) return { found, more: true, sources: [] };
      found.push({ kind, id });
    }
    pages += 1;
    // What is older is not examined; one that was found here is as good as unique.
    if (pages === MOST_PAGES) break;
  }
  return { found, more: false, sources: [] };
}
