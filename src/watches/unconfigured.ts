import { pollPolicy } from '../config/schema.ts';
import { nothingLearned } from '../core/cadence/hazard.ts';
import { NO_LOAD } from '../core/cadence/load.ts';
import { planDeliveries, planNotice } from '../core/delivery/delivery.ts';
import { PER_WATCH } from '../core/delivery/receiver.ts';
import { releasedByEnd } from '../core/watch/attempt.ts';
import { observe } from '../core/watch/observe.ts';
import type { WatchKey } from '../core/watch/watch.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Process } from '../process.ts';

/** How often remnants are searched for; a user has to act on them anyway, ms. */
const EVERY_MS = 30_000;

/** A source that no daemon has noted for this long is configured nowhere, ms. */
const FORGOTTEN_AFTER_MS = 3 * EVERY_MS;

/** A source or endpoint that is no longer configured but still in the store. */
interface Remnant {
  name: string;
  /** Active watches of a source; waiting deliveries of an endpoint. */
  count: number;
}

export interface Remnants {
  sources: Remnant[];
  endpoints: Remnant[];
}

/** Finds sources and endpoints that were renamed or removed but are still in the store. */
export class Unconfigured {
  private warned = '';
  private periodic: Periodic | null = null;

  constructor(private readonly process: Process) {}

  /** Reads the store now. Throws what the stores throw. */
  async find(): Promise<Remnants> {
    return remnantsOf(this.process, await this.process.stores.sourceNames.all());
  }

  start(): void {
    const onError = faultLog(this.process.log, 'unconfigured');
    this.periodic = startPeriodic(() => this.check(), { everyMs: EVERY_MS, onError });
  }

  async stop(): Promise<void> {
    await this.periodic?.stop();
  }

  private async check(): Promise<void> {
    const { config, stores, log, now } = this.process;
    await stores.sourceNames.note(Object.keys(config.sources), now());
    const seen = await stores.sourceNames.all();
    const remnants = await remnantsOf(this.process, seen);
    const lines = describeRemnants(remnants);
    // Once for each name, not for each count.
    const names = [...remnants.sources, ...remnants.endpoints].map(({ name }) => name).join();
    if (names !== this.warned && lines.length > 0) {
      log.warn(remnants, `unconfigured: ${lines.join('; ')}`);
    }
    this.warned = names;
    for (const { name } of remnants.sources) {
      if (now() - (seen.get(name) ?? 0) >= FORGOTTEN_AFTER_MS) {
        await observeUnconfigured(this.process, name);
      }
    }
  }
}

async function remnantsOf(process: Process, seen: ReadonlyMap<string, number>): Promise<Remnants> {
  const [sources, endpoints] = await Promise.all([
    remnantSources(process, seen),
    remnantEndpoints(process),
  ]);
  return { sources, endpoints };
}

async function remnantSources(
  { config, stores }: Process,
  seen: ReadonlyMap<string, number>,
): Promise<Remnant[]> {
  const remnants: Remnant[] = [];
  for (const name of seen.keys()) {
    if (Object.hasOwn(config.sources, name)) continue;
    const count = await stores.sourceNames.countActive(name);
    if (count > 0) remnants.push({ name, count });
  }
  return remnants;
}

async function remnantEndpoints({ stores, endpoints }: Process): Promise<Remnant[]> {
  const { byEndpoint } = await stores.deliveries.counts();
  return [...byEndpoint].flatMap(([name, counts]) => {
    if (endpoints.names.includes(name) || name === PER_WATCH) return [];
    const count = counts.pending + counts.parked;
    return count > 0 ? [{ name, count }] : [];
  });
}

/** A sentence for each, with the remedy. */
export function describeRemnants({ sources, endpoints }: Remnants): string[] {
  return [
    ...sources.map(
      ({ name, count }) =>
        `no source named ${name} is configured any more, and ${count === 1 ? '1 active watch is' : `${count} active watches are`} not polled: configure it, or unwatch them`,
    ),
    ...endpoints.map(
      ({ name, count }) =>
        `no endpoint named ${name} is configured any more, and ${count === 1 ? '1 delivery waits' : `${count} deliveries wait`} for it: configure it, or send them elsewhere (runwatch redeliver --endpoint ${name} --to …)`,
    ),
  ];
}

/** The number of watches read at a time. */
const CHUNK = 200;

/**
 * The use case for watches of a source that is not configured any more. Without polls, it makes them
 * unreachable and expires them. It goes once through the source's active watches.
 */
export async function observeUnconfigured(process: Process, source: string): Promise<void> {
  const { stores, now } = process;
  let cursor: string | undefined;
  do {
    const page = await stores.watches.list(
      { state: ['active'], sources: [source] },
      { limit: CHUNK, cursor },
    );
    for (const watch of page.items) {
      if (!watch.unreachable || now() >= watch.timeoutAt) await observeOne(process, watch);
    }
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
}

async function observeOne(process: Process, key: WatchKey): Promise<void> {
  const { config, stores, endpoints, tracing } = process;
  const before = await stores.watches.get(key);
  if (before === null || before.watch.state !== 'active') return;
  const now = process.now();
  const message = `no source named ${key.source} is configured any more`;
  const { watch, events } = observe(
    before.watch,
    { kind: 'unavailable', message },
    // As if the source had just answered, so that only this watch is in doubt.
    {
      label: key.source,
      now,
      beganAt: now,
      answeredAt: now,
      policy: pollPolicy(config),
      wants: endpoints.wants,
      linksOf: process.linksOf,
      newMark: process.newMark,
      random: process.random,
      ...UNPOLLED,
    },
  );
  const isNews = events.length > 0 || watch.state !== 'active';
  if (!isNews && before.watch.trouble !== null) return;
  const { polls, pollHistory, lastPolledAt } = before.watch;
  const after = { ...watch, polls, pollHistory, lastPolledAt };
  const wanted = { wants: endpoints.wants, now };
  const deliveries = [
    ...planNotice(after, releasedByEnd(before.watch, after), wanted),
    ...planDeliveries(after, events, after.subscriptions, wanted),
  ];
  const ended = after.state === 'active' ? {} : { schedule: { does: 'leave' as const } };
  const due = await stores.watches.commit({ before, after, events, deliveries, ...ended });
  if (due === null) return;
  process.dispatch(due);
  tracing.trace({ before: before.watch, after });
}

const UNPOLLED = {
  statistics: nothingLearned,
  load: NO_LOAD,
  lagMs: 0,
  mode: 'single' as const,
  isStreamed: false,
  nodes: null,
  openSince: null,
  closedFor: null,
  isConsistent: true,
};
