import { Redis } from 'ioredis';
import { pino } from 'pino';
import { configSchema } from '../../src/config/schema.ts';
import { isOfRun, type RunwatchEvent } from '../../src/core/event/event.ts';
import { nothingLearned } from '../../src/core/cadence/hazard.ts';
import { Endpoints } from '../../src/deliver/endpoints.ts';
import { Poller } from '../../src/source/poller.ts';
import { registerWatches } from '../../src/watches/register.ts';
import { newProcessId } from '../../src/redis/leases.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { Names } from '../../src/names.ts';
import { testProcess } from './daemon.ts';
import { dumpRedis } from './dump-redis.ts';
import { testRedis } from './redis.ts';
import { closeConnection, openStores } from './stores.ts';

export const SOURCE = 'default';

interface RigOptions {
  /** The `polling` section of the configuration. */
  polling?: Record<string, unknown>;
  /** The endpoints; by default a log with the default events. */
  endpoints?: Record<string, unknown>;
  /** The source's rate limit; by default practically none. */
  rateLimit?: { requests: number; per: string };
  /** Number of processes that poll. */
  pollers?: number;
}

/** The watching part of daemons, on the suite's Redis and a simulator. */
export interface PollRig {
  simulator: Simulator;
  stores: ReturnType<typeof openStores>;
  /** All log lines. */
  log: () => Record<string, unknown>[];
  metrics: () => Promise<string>;
  /** Registers runs, with all endpoints. */
  watch(runIds: readonly string[]): Promise<void>;
  events(): Promise<RunwatchEvent[]>;
  pollNow(runId: string): Promise<void>;
  /** Gives the source another rate limit, as a reload does. */
  limitTo(requestsPerS: number): void;
  /** Everything that Redis keeps of this rig, as one text. */
  dump(): Promise<string>;
  stop(): Promise<void>;
}

export async function startPollRig(options: RigOptions = {}): Promise<PollRig> {
  const simulator = await startSimulator();
  const place = testRedis();
  const stores = openStores(place);
  const config = configSchema.parse({
    data_dir: '/nowhere',
    sources: {
      [SOURCE]: {
        base_url: simulator.url,
        api_key: simulator.apiKey,
        rate_limit: options.rateLimit ?? { requests: 10_000, per: '1s' },
      },
    },
    // Streams would count as requests.
    polling: { hints: 'off', ...options.polling },
    endpoints: options.endpoints,
  });
  const endpoints = new Endpoints(config);
  const lines: Record<string, unknown>[] = [];
  const take = (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>);
  const log = pino({ level: 'debug' }, { write: take });
  const metrics = createMetrics('1.2.3', async () => ({
    watches: {},
    runs: [],
    deliveries: {},
    planned: 0,
    alerts: [],
    tables: 0,
    memory: null,
  }));
  const opened: Redis[] = [];
  const open = () => {
    const commands = new Redis(place.url);
    const blocking = new Redis(place.url, { maxRetriesPerRequest: null });
    const connections = { commands, blocking };
    opened.push(commands, blocking);
    const process = testProcess({
      stores,
      config,
      metrics,
      log,
      connections,
      id: newProcessId(),
      names: new Names(),
      statistics: { lookup: nothingLearned, learn: () => undefined },
      raise: async ({ type, level, data }, write = async () => []) => {
        if ((await write(null)) !== null) log[level](data, type);
      },
    });
    return new Poller(process);
  };
  const pollers = Array.from({ length: options.pollers ?? 1 }, open);
  for (const poller of pollers) poller.start();
  const [first] = pollers as [Poller, ...Poller[]];
  return {
    simulator,
    stores,
    log: () => lines,
    metrics: () => metrics.render(),
    async watch(runIds) {
      const subscriptions = endpoints.names.map((endpoint) => ({
        kind: 'endpoint' as const,
        endpoint,
      }));
      await registerWatches(
        first,
        runIds.map((runId) => ({ source: SOURCE, runId, subscriptions })),
      );
    },
    async pollNow(runId) {
      await first.sourceOf(SOURCE)?.schedule.expedite([runId]);
    },
    limitTo(requestsPerS) {
      const source = config.sources[SOURCE];
      if (source === undefined) throw new Error(`no source ${SOURCE}`);
      const rate_limit = { requests: requestsPerS, per: 1_000 };
      for (const poller of pollers) poller.reconfigure({ [SOURCE]: { ...source, rate_limit } });
    },
    async dump() {
      return JSON.stringify(await dumpRedis(place.url, place.prefix));
    },
    async events() {
      const { items } = await stores.events.list({}, { limit: 1_000 });
      return items.map(({ event }) => event).filter(isOfRun);
    },
    async stop() {
      await Promise.all(pollers.map((one) => one.stop({ force: false, withinMs: 5_000 })));
      await Promise.all([...opened.map(closeConnection), stores.close()]);
      await simulator.close();
    },
  };
}
