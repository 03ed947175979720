import type { Config } from '../config/schema.ts';
import { groupBy } from '../core/arrays.ts';
import type { Random } from '../core/backoff.ts';
import type { Delivery } from '../core/delivery/delivery.ts';
import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import { isOldNotice } from '../core/watch/reminder.ts';
import { createPermits } from '../deliver/attempt.ts';
import { createDeliverEvent, outlasting } from '../deliver/deliver.ts';
import type { EndpointEvents } from '../deliver/endpoint-events.ts';
import { Relay } from '../deliver/relay.ts';
import { createReplay, type Replay } from '../deliver/replay.ts';
import { createClaimTokens, type ClaimTokens, createPoolSlots } from '../deliver/slots.ts';
import type { DueBell } from '../redis/channels.ts';
import { tokensOf, type ClaimStore, type ClaimedMember } from '../redis/leases.ts';
import type { DeliveryStore } from '../redis/stores/delivery-store.ts';
import type { EndpointStore } from '../redis/stores/endpoint-store.ts';
import type { OutboxStore } from '../redis/stores/outbox-store.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import { logDelivery, type EventLog, type Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { DEFAULT_RETRY_MS, type Endpoints } from './endpoints.ts';
import { faultLog } from '../fault-log.ts';
import type { HostShortages } from './host-shortages.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Processes, ClaimedWork } from './processes.ts';
import type { StoreRepair } from './store-repair.ts';
import type { Routes } from './delivery-routes.ts';
import type { Tracing } from './tracing.ts';

/** How often requested ranges are checked for: a process may die while it redelivers one, ms. */
const REPLAY_EVERY_MS = 10_000;

/** How often outstanding deliveries are compared with where they stand, and how many at a time, ms. */
const COMPARE_EVERY_MS = 10_000;
const COMPARED_AT_ONCE = 2_000;

/** Attempts that use the processor at a time, without those that wait for their receivers. */
const BUSY_ATTEMPTS = 64;

interface DelivererDependencies {
  config: Config;
  endpoints: Endpoints;
  routeOf: Routes;
  watches: WatchStore;
  deliveries: DeliveryStore;
  outbox: OutboxStore;
  endpointStates: EndpointStore;
  deliveryClaims: ClaimStore;
  dueBell: DueBell;
  processes: Processes;
  storeRepair: Pick<StoreRepair, 'owe'>;
  hostShortages: Pick<HostShortages, 'note'>;
  systemEvents: Pick<EndpointEvents, 'plan'>;
  metrics: Metrics;
  tracing: Pick<Tracing, 'traceAttempt' | 'delivered'>;
  eventLog: Pick<EventLog, 'trouble' | 'listen'>;
  now: () => number;
  /** Makes the tokens of this process. */
  newToken: () => string;
  random: Random;
  log: Logger;
}

/** The delivery half of the daemon. */
export interface Deliverer {
  /** Deliveries of these pools have become due. */
  dispatch: (pools: string[]) => void;
  replay: Replay;
  isRunning(): boolean;
  /** Sweeps the due index now. */
  sweep(): void;
  /** Compares outstanding deliveries with where they stand now. */
  compare(): void;
  /** Starts to redeliver requested ranges. */
  replayRanges(): void;
  start(): void;
  /**
   * @param options.force does not wait for running attempts: no result can be written while Redis is away
   * @param options.elapsedMs for how long the process has been stopping
   */
  stop(options: { force: boolean; elapsedMs: number }): Promise<void>;
}

export function createDeliverer(deps: DelivererDependencies): Deliverer {
  const { log, metrics, deliveries, outbox, endpoints, now } = deps;
  const onError = faultLog(log, 'deliver');
  const stopping = new AbortController();
  const tokens = createClaimTokens(tokensOf(deps.processes.id));
  const relay = openRelay(deps, { tokens, stopping });
  let isRunning = false;
  const dispatch = (pools: string[]) => {
    if (isRunning) relay.dispatch(pools);
  };
  const sweep = () => {
    if (isRunning) relay.sweep().catch(onError);
  };
  const { limitsOf } = endpoints;
  const replay = createReplay({
    deliveries,
    outbox,
    limitsOf,
    dispatch,
    newToken: deps.newToken,
    now,
  });
  const stopReplaying = new AbortController();
  let replaying: Periodic | null = null;
  let comparing: Periodic | null = null;
  const compare = comparison(deps, dispatch);
  deps.dueBell.listen(dispatch);
  deps.eventLog.listen({ writable: sweep, dropped: () => metrics.logLineDropped() });
  deps.processes.add({
    ...claimedDeliveries({ ...deps, limitsOf }, { tokens, id: deps.processes.id }),
    resume: () => relay.resume(),
  });

  return {
    dispatch,
    replay,
    isRunning: () => isRunning,
    sweep,
    compare: () => comparing?.trigger(),
    replayRanges: () => replaying?.trigger(),
    start() {
      isRunning = true;
      sweep();
      replaying = startPeriodic(() => replay.replayRequested(stopReplaying.signal), {
        everyMs: REPLAY_EVERY_MS,
        onError,
      });
      comparing = startPeriodic(compare, { everyMs: COMPARE_EVERY_MS, onError });
    },
    async stop({ force, elapsedMs }) {
      isRunning = false;
      stopReplaying.abort();
      await Promise.all([replaying?.stop(), comparing?.stop()]);
      const closed = relay.close(elapsedMs);
      if (!force) await closed;
      stopping.abort();
    },
  };
}

/** Compares the outstanding deliveries with where they stand, some at a time, again and again. */
function comparison(
  { outbox, storeRepair, log }: Pick<DelivererDependencies, 'outbox' | 'storeRepair' | 'log'>,
  dispatch: (pools: string[]) => void,
): () => Promise<void> {
  let from: string | undefined;
  return async function compare() {
    const { placed, lost, pools, next } = await outbox.compare(from, COMPARED_AT_ONCE);
    from = next ?? undefined;
    dispatch(pools);
    if (placed > 0)
      log.warn({ deliveries: placed }, 'deliveries that were not due when they should be');
    if (lost === 0) return;
    log.error({ deliveries: lost }, 'deliveries without a record');
    storeRepair.owe();
  };
}

function openRelay(
  deps: DelivererDependencies,
  { tokens, stopping }: { tokens: ClaimTokens; stopping: AbortController },
): Relay {
  const { config, log, outbox, endpoints, watches, metrics, random } = deps;
  const onError = faultLog(log, 'deliver');
  const slots = createPoolSlots(deps.processes.id);
  const attempts = new AbortController();
  const deliver = createDeliverEvent({
    outbox: {
      recordAttempt: outlasting((step) => outbox.recordAttempt(step), stopping.signal),
      withhold: outlasting((step) => outbox.withhold(step), stopping.signal),
      takeProbe: (...probe) => outbox.takeProbe(...probe),
    },
    endpoints: deps.endpointStates,
    limitsOf: endpoints.limitsOf,
    now: deps.now,
    isSurelyHeld: (claimedAt) => deps.processes.isSurelyHeld(claimedAt),
    stopping: attempts.signal,
    random,
    routeOf: deps.routeOf,
    traceAttempt: deps.tracing.traceAttempt,
    isOvertaken: (delivery) => isOvertaken(watches, delivery),
    withPermit: createPermits(BUSY_ATTEMPTS),
    slots,
    tokens,
    events: {
      plan: (event) => deps.systemEvents.plan(event),
      log: ({ type, data }) => log[type === 'endpoint.recovered' ? 'info' : 'error'](data, type),
    },
    defaultRetry: DEFAULT_RETRY_MS,
    report(report) {
      metrics.attempt(report);
      logDelivery(log, report);
      deps.tracing.delivered(report);
    },
  });
  return new Relay({
    outbox,
    limitsOf: endpoints.limitsOf,
    serves: (pool) =>
      endpoints.knows(pool) && !(endpoints.isLog(pool) && deps.eventLog.trouble() !== null),
    tokens,
    slots,
    deliver,
    capacity: config.delivery.concurrency,
    mayClaim: () => deps.processes.mayClaim(),
    later(ms, action) {
      const timer = setTimeout(action, ms).unref();
      return () => clearTimeout(timer);
    },
    abort: () => attempts.abort(),
    onExhausted: (error) => deps.hostShortages.note(error),
    onError,
  });
}

/** A notice of awaiting feedback is out of date once the run no longer waits at the same point. */
async function isOvertaken(watches: WatchStore, delivery: Delivery): Promise<boolean> {
  if (delivery.eventType !== 'run.awaiting_human_feedback') return false;
  const stored = await watches.get(delivery);
  return stored !== null && isOldNotice(stored.watch, delivery.eventId);
}

interface ClaimedDeliveriesDependencies {
  deliveries: DeliveryStore;
  outbox: OutboxStore;
  deliveryClaims: ClaimStore;
  limitsOf: (pool: string) => EndpointLimits;
}

/** The most pools that get new due times. */
const POOLS_MOVED = 100_000;

/** Deliveries as claimed work: those of a dead process become due at once. */
export function claimedDeliveries(
  deps: ClaimedDeliveriesDependencies,
  own: { id: string; tokens: ClaimTokens },
) {
  const { deliveries, outbox, deliveryClaims, limitsOf } = deps;

  async function release(held: readonly ClaimedMember[]): Promise<void> {
    const found = await deliveries.getMany(held.map(({ member }) => member));
    const byPool = groupBy(held, (_, at) => poolOf(found[at]?.delivery.endpoint ?? ''));
    // Side by side: claims of many pools cost one round trip.
    const releases = [...byPool].map(([pool, claims]) => {
      const released = claims.map(({ member: id, token }) => ({ id, token }));
      return outbox.release({ pool, limits: limitsOf(pool) }, released);
    });
    await Promise.all(releases);
  }

  return {
    async takeOver(process) {
      await outbox.replayLease.endOf(process);
      for await (const held of deliveryClaims.heldBy(process)) await release(held);
    },
    async tend() {
      for await (const held of deliveryClaims.heldBy(own.id)) {
        const lost = held.filter(({ token }) => !own.tokens.isHeld(token));
        if (lost.length > 0) await release(lost);
      }
    },
    async moveBack(step) {
      for (const { pool } of await outbox.duePools(POOLS_MOVED)) {
        await outbox.moveBack({ pool, limits: limitsOf(pool) }, step);
      }
      // A due time within the step was written while the clock was ahead, or is one of after the step.
      let from: string | undefined;
      do from = (await outbox.compare(from, COMPARED_AT_ONCE)).next ?? undefined;
      while (from !== undefined);
    },
  } satisfies ClaimedWork;
}
