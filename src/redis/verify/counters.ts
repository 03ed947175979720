import type { Redis } from 'ioredis';
import { workflowName, parseWorkflowName } from '../../core/cadence/phase.ts';
import { DELIVERY_STATES } from '../../core/delivery/delivery.ts';
import { sum } from '../../core/arrays.ts';
import { activeCount } from '../../core/watch/run-figures.ts';
import type { Watch } from '../../core/watch/watch.ts';
import { registeredIndex, runsIndex } from '../indexes.ts';
import { countField, parseCountField, type Keys } from '../keys.ts';
import { COUNTED } from '../lua/numbers.ts';
import { script } from '../script.ts';
import type { Held } from './held.ts';
import type { Problems } from './problems.ts';
import type { ReadRecord } from './records.ts';

/**
 * A counter, and how many numbers are in an index, and in another, its further key, if there is one. Both of one
 * moment.
 */
const COUNT_BOTH = script(
  'rwCountBoth',
  {
    keys: ['counters', 'index'],
    args: ['field'],
    reply: ([counter, counted]: [number, number]) => ({ counter, counted }),
  },
  `
${COUNTED}
return {tonumber(redis.call('HGET', keys.counters, args.field) or 0), counted(keys.index, KEYS[further])}
`,
);

/** A field of a hash of counters, and the indexes that it counts. */
interface Counter {
  counters: string;
  field: string;
  indexes: [index: string, other?: string];
}

/** What counters count, as far as records name it, and how much of it there is. */
export class Counters {
  private readonly receivers = new Set<string>();
  private readonly sources = new Set<string>();
  private readonly tokens = new Set<string>();
  private readonly runs = new Set<string>();
  private readonly packed = { watches: 0, bytes: 0 };

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  take({ watch, receivers, packedBytes }: ReadRecord): void {
    for (const receiver of receivers) this.receivers.add(receiver);
    if (packedBytes !== undefined) {
      this.packed.watches += 1;
      this.packed.bytes += packedBytes;
    }
    if (watch !== undefined) this.takeWatch(watch);
  }

  private takeWatch(watch: Watch): void {
    this.sources.add(watch.source);
    for (const token of watch.registeredBy) this.tokens.add(token);
    const count = activeCount(watch);
    if (count === null) return;
    const { workflowId, status } = count;
    this.runs.add(`${workflowName({ source: watch.source, workflowId })} ${status}`);
  }

  /** Compares all counters with what the records that were read have in indexes; what differs, by a script. */
  async compare(held: Held, problems: Problems): Promise<void> {
    for (const counter of await this.all()) await this.compareOne(counter, held, problems);
    await this.compareSum(problems);
  }

  /** How many watches are packed, and the bytes of their records, by the counters. */
  async packedCount(): Promise<string> {
    const held = await this.redis.hmget(this.keys.packed, 'watches', 'bytes');
    return held.map((count) => Number(count ?? 0)).join(' ');
  }

  /** @param before {@link packedCount} before the records were read: what moved meanwhile cannot be compared */
  async comparePacked(before: string, problems: Problems): Promise<void> {
    const { watches, bytes } = this.packed;
    const counted = await this.packedCount();
    if (counted !== before || counted === `${watches} ${bytes}`) return;
    const [watchesCounted = '', bytesCounted = ''] = counted.split(' ');
    const says = `says ${watchesCounted} watches with ${bytesCounted} bytes`;
    problems.note('miscounted', 'packed', `packed ${says}, there are ${watches} with ${bytes}`);
  }

  private async all(): Promise<Counter[]> {
    const { redis, keys } = this;
    const [sources, tokens, runs, ledger] = await Promise.all([
      redis.hkeys(keys.watchSources),
      redis.hkeys(keys.watchesOfTokens),
      redis.hkeys(keys.activeRuns),
      redis.hkeys(keys.deliveryCounts),
    ]);
    const counted = ledger.filter((field) => field !== 'planned');
    const endpoints = [
      ...this.receivers,
      ...counted.map((field) => parseCountField(field).endpoint),
    ];
    return [
      ...both(this.sources, sources).map((field): Counter => ({
        counters: keys.watchSources,
        field,
        indexes: [keys.watches('source', field)],
      })),
      ...both(this.tokens, tokens).map((field): Counter => ({
        counters: keys.watchesOfTokens,
        field,
        indexes: [registeredIndex(keys, field)],
      })),
      ...both(this.runs, runs).map((field): Counter => ({
        counters: keys.activeRuns,
        field,
        indexes: this.indexesOfRuns(field),
      })),
      ...[...new Set(endpoints)].flatMap((endpoint) =>
        DELIVERY_STATES.map((state): Counter => ({
          counters: keys.deliveryCounts,
          field: countField({ state, endpoint }),
          indexes: [keys.deliveries('state', state), keys.deliveries('endpoint', endpoint)],
        })),
      ),
    ];
  }

  private indexesOfRuns(field: string): [string, string] {
    const space = field.lastIndexOf(' ');
    const { source, workflowId } = parseWorkflowName(field.slice(0, space));
    const { keys } = this;
    return [runsIndex(keys, source, field.slice(space + 1)), keys.watches('workflow', workflowId)];
  }

  private async compareOne(
    { counters, field, indexes: [index, other] }: Counter,
    held: Held,
    problems: Problems,
  ): Promise<void> {
    const { redis, keys } = this;
    const found = Number((await redis.hget(counters, field)) ?? 0);
    if (found === held.count(index, other)) return;
    const further = other === undefined ? [] : [other];
    const { counter, counted } = await COUNT_BOTH.run(
      redis,
      { counters, index },
      { field },
      { further },
    );
    if (counter === counted) return;
    const kind = counters.slice(keys.queuePrefix.length + 1);
    problems.note(
      'miscounted',
      kind,
      `${kind} says ${counter} for "${field}", there are ${counted}`,
    );
  }

  /** One read of all: the sum is written with its parts. */
  private async compareSum(problems: Problems): Promise<void> {
    const { planned = '0', ...byField } = await this.redis.hgetall(this.keys.deliveryCounts);
    const total = sum(Object.values(byField).map(Number));
    if (Number(planned) === total) return;
    const example = `ledger says ${planned} were planned, its states add up to ${total}`;
    problems.note('miscounted', 'ledger', example);
  }
}

function both(known: ReadonlySet<string>, found: readonly string[]): string[] {
  return [...new Set([...known, ...found])];
}
