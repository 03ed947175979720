import { randomInt } from 'node:crypto';
import { hostname, uptime } from 'node:os';
import type { Config } from '../config/schema.ts';
import { newName } from '../core/event-id.ts';
import { newProcessId } from '../redis/claims.ts';
import type { RedisConnections } from '../redis/connection.ts';
import type { Logger } from '../telemetry/logger.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { createClock, refuseSkew, type Clock, type DaemonClocks } from './clock.ts';
import { createEndpoints } from './endpoints.ts';
import { createProcesses, type Processes } from './processes.ts';
import { queueFactory } from './queues.ts';
import { createStores, type Stores } from './stores.ts';

export interface CommonOptions {
  config: Config;
  log: Logger;
  version: string;
  /** The clocks of this host, unless given. */
  clocks?: DaemonClocks;
}

const HOST_CLOCKS: DaemonClocks = {
  wall: Date.now,
  monotonic: () => performance.now(),
  uptime: () => uptime() * 1_000,
};

/**
 * What nearly every part of the daemon is built from.
 * Throws RunwatchError `clock_skewed` where that is to be refused.
 */
export async function openCommon(options: CommonOptions, connections: RedisConnections) {
  const { config, log, version } = options;
  const stores = createStores(connections, config.redis.prefix);
  const metrics = createMetrics(() => stores.count());
  const clock = await startClock(options, stores, metrics);
  const epoch = await stores.epochs.open(newName(randomInt));
  return {
    ...stores,
    stores,
    clock,
    processes: createOwnProcess(options, stores, clock),
    config,
    endpoints: createEndpoints(config),
    metrics,
    queueOf: queueFactory({
      prefix: stores.keys.queuePrefix,
      producer: connections.commands,
      consumer: connections.blocking,
      log,
    }),
    userAgent: `runwatch/${version}`,
    newMark: () => epoch + newName(randomInt),
    now: clock.now,
    random: Math.random,
    log,
  };
}

export type Common = Awaited<ReturnType<typeof openCommon>>;

async function startClock(
  { config, log, clocks = HOST_CLOCKS }: CommonOptions,
  stores: Stores,
  metrics: Metrics,
): Promise<Clock> {
  const report = (skewMs: number) => metrics.clockSkew(skewMs);
  const clock = createClock({ store: stores.clock, clocks, report, log });
  await clock.measure();
  if (config.redis.refuse_clock_skew) refuseSkew(clock.skewMs());
  return clock;
}

function createOwnProcess(
  { log, version }: CommonOptions,
  stores: Stores,
  clock: Clock,
): Processes {
  return createProcesses({
    id: newProcessId(),
    info: { host: hostname(), pid: process.pid, version, startedAt: clock.now() },
    store: stores.processes,
    clock,
    monotonic: () => performance.now(),
    log,
  });
}
