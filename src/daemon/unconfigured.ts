import { type Config, pollPolicy } from '../config/schema.ts';
import { PER_WATCH } from '../core/delivery/receiver.ts';
import {
  createObserveUnconfigured,
  type ObserveUnconfiguredDependencies,
} from '../poll/observe-run.ts';
import type { DeliveryStore } from '../redis/stores/delivery-store.ts';
import type { SourceNamesStore } from '../redis/stores/source-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Endpoints } from '../deliver/endpoints.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';

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

interface UnconfiguredDependencies extends Omit<
  ObserveUnconfiguredDependencies,
  'policy' | 'wants'
> {
  config: Config;
  endpoints: Endpoints;
  deliveries: Pick<DeliveryStore, 'counts'>;
  sourceNames: SourceNamesStore;
  log: Logger;
}

/** Finds sources and endpoints that were renamed or removed but are still in the store. */
export interface Unconfigured {
  /** Reads the store now. Throws what the stores throw. */
  find(): Promise<Remnants>;
  start(): void;
  stop(): Promise<void>;
}

export function createUnconfigured(deps: UnconfiguredDependencies): Unconfigured {
  const { config, endpoints, log, now, sourceNames } = deps;
  const configured = Object.keys(config.sources);
  const observe = createObserveUnconfigured({
    ...deps,
    policy: pollPolicy(config),
    wants: endpoints.wants,
  });
  let warned = '';
  let periodic: Periodic | null = null;

  async function remnantsOf(seen: ReadonlyMap<string, number>): Promise<Remnants> {
    const [sources, waiting] = await Promise.all([
      remnantSources(sourceNames, seen, configured),
      remnantEndpoints(deps),
    ]);
    return { sources, endpoints: waiting };
  }

  async function check(): Promise<void> {
    await sourceNames.note(configured, now());
    const seen = await sourceNames.all();
    const remnants = await remnantsOf(seen);
    const lines = describeRemnants(remnants);
    // Once for each name, not for each count.
    const names = [...remnants.sources, ...remnants.endpoints].map(({ name }) => name).join();
    if (names !== warned && lines.length > 0)
      log.warn(remnants, `unconfigured: ${lines.join('; ')}`);
    warned = names;
    for (const { name } of remnants.sources) {
      if (now() - (seen.get(name) ?? 0) >= FORGOTTEN_AFTER_MS) await observe(name);
    }
  }

  return {
    find: async () => remnantsOf(await sourceNames.all()),
    start() {
      const onError = faultLog(log, 'unconfigured');
      periodic = startPeriodic(check, { everyMs: EVERY_MS, onError });
    },
    async stop() {
      await periodic?.stop();
    },
  };
}

async function remnantSources(
  store: SourceNamesStore,
  seen: ReadonlyMap<string, number>,
  configured: readonly string[],
): Promise<Remnant[]> {
  const remnants: Remnant[] = [];
  for (const name of seen.keys()) {
    if (configured.includes(name)) continue;
    const count = await store.countActive(name);
    if (count > 0) remnants.push({ name, count });
  }
  return remnants;
}

async function remnantEndpoints({
  deliveries,
  endpoints,
}: UnconfiguredDependencies): Promise<Remnant[]> {
  const { byEndpoint } = await deliveries.counts();
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
