import type { StoreRepair } from '../daemon/store-repair.ts';
import type { SystemEvents } from '../daemon/system-events.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Process } from '../process.ts';
import { Attempts } from './attempts.ts';
import { Claims, COMPARED_AT_ONCE } from './claims.ts';
import { createEgressGuard, type EgressGuard } from './egress/egress-guard.ts';
import { Agents } from './http-post.ts';
import { Permits } from './permits.ts';
import { Relay } from './relay.ts';
import { Replay } from './replay.ts';
import { Routes } from './routes.ts';
import { EndpointSecrets } from './secrets/endpoint-secrets.ts';
import { PoolSlots } from './slots.ts';

/** How often requested ranges are checked for: a process may die while it redelivers one, ms. */
const REPLAY_EVERY_MS = 10_000;

/** How often outstanding deliveries are compared with where they stand, ms. */
const COMPARE_EVERY_MS = 10_000;

/** Attempts that use the processor at a time, without those that wait for their receivers. */
const BUSY_ATTEMPTS = 64;

/**
 * All that decides when a delivery is sent, and sends it. Its parts reach one another through it, and do
 * nothing before it is started:
 * - `relay` claims due deliveries of a receiver, whenever one is due, a claim is answered or an attempt ends;
 * - `claims` are the deliveries that this process may attempt, and the proof of that;
 * - `slots` say how many at a time a receiver gets, `permits` how many this process works on;
 * - `attempts` send one by `routes`, over the connections of `agents`, signed by `secrets`, and write what
 *   becomes of it. By which rule it is sent again stands in `core/delivery/retry.ts`;
 * - `replay` makes deliveries due that users want sent.
 */
export class Deliverer {
  /** Judges the webhooks that come with watches. */
  readonly egressGuard: EgressGuard;
  readonly agents: Agents;
  readonly secrets: EndpointSecrets;
  readonly routes: Routes;
  readonly slots: PoolSlots;
  readonly permits = new Permits(BUSY_ATTEMPTS);
  readonly claims: Claims;
  readonly attempts: Attempts;
  readonly relay: Relay;
  readonly replay: Replay;
  private readonly onError: (error: unknown) => void;
  private isStarted = false;
  private readonly stopReplaying = new AbortController();
  private replaying: Periodic | null = null;
  private comparing: Periodic | null = null;
  /** Where the comparison goes on; undefined begins with the oldest delivery. */
  private comparedFrom: string | undefined;

  constructor(
    readonly process: Process,
    readonly systemEvents: Pick<SystemEvents, 'plan'>,
    private readonly storeRepair: Pick<StoreRepair, 'owe'>,
  ) {
    const { config, names } = process;
    this.onError = faultLog(process.log, 'deliver');
    this.egressGuard = createEgressGuard({
      allow: config.egress.allow,
      requireHttps: config.egress.require_https,
      isProxied: config.egress.proxy !== undefined,
      resolve: names.ofReceiver,
    });
    this.agents = new Agents(process, this.egressGuard);
    this.secrets = new EndpointSecrets(process);
    this.routes = new Routes(this);
    this.slots = new PoolSlots(process.id);
    this.claims = new Claims(this);
    this.attempts = new Attempts(this);
    this.relay = new Relay(this);
    this.replay = new Replay(this);
  }

  isRunning(): boolean {
    return this.isStarted;
  }

  /** Deliveries of these pools have become due. */
  readonly dispatch = (pools: readonly string[]): void => {
    if (this.isStarted) this.relay.dispatch(pools);
  };

  /** Sweeps the due index now. */
  sweep(): void {
    if (this.isStarted) this.relay.sweep().catch(this.onError);
  }

  /** Compares outstanding deliveries with where they stand now. */
  compare(): void {
    this.comparing?.trigger();
  }

  /** Starts to redeliver requested ranges. */
  replayRanges(): void {
    this.replaying?.trigger();
  }

  /**
   * Whether this process can attempt deliveries of the pool now: its configuration has the endpoint, and
   * its log takes lines. The relay claims and attempts nothing for others.
   */
  serves(pool: string): boolean {
    const { endpoints, eventLog } = this.process;
    return endpoints.knows(pool) && !(endpoints.isLog(pool) && eventLog.trouble() !== null);
  }

  /** Runs an action after so many ms, unless the returned function cancels it. */
  later(ms: number, action: () => void): () => void {
    const timer = setTimeout(action, ms).unref();
    return () => clearTimeout(timer);
  }

  /** Listens for what is due and for the log, from before the start: it counts lines that the log drops. */
  listen(): void {
    const { stores, eventLog, metrics } = this.process;
    stores.dueBell.listen(this.dispatch);
    eventLog.listen({ writable: () => this.sweep(), dropped: () => metrics.logLineDropped() });
  }

  start(): void {
    const { onError } = this;
    this.isStarted = true;
    this.sweep();
    const { signal } = this.stopReplaying;
    this.replaying = startPeriodic(() => this.replay.replayRequested(signal), {
      everyMs: REPLAY_EVERY_MS,
      onError,
    });
    this.comparing = startPeriodic(() => this.compareSome(), {
      everyMs: COMPARE_EVERY_MS,
      onError,
    });
  }

  /**
   * @param options.force does not wait for running attempts: no result can be written while Redis is away
   * @param options.elapsedMs for how long the process has been stopping
   */
  async stop({ force, elapsedMs }: { force: boolean; elapsedMs: number }): Promise<void> {
    this.isStarted = false;
    this.stopReplaying.abort();
    await Promise.all([this.replaying?.stop(), this.comparing?.stop()]);
    const closed = this.relay.close(elapsedMs);
    if (!force) await closed;
    this.attempts.stop();
  }

  /** Compares some outstanding deliveries with where they stand; the next call goes on. */
  private async compareSome(): Promise<void> {
    const { log, stores } = this.process;
    const compared = await stores.outbox.compare(this.comparedFrom, COMPARED_AT_ONCE);
    const { placed, lost, pools, next } = compared;
    this.comparedFrom = next ?? undefined;
    this.dispatch(pools);
    if (placed > 0)
      log.warn({ deliveries: placed }, 'deliveries that were not due when they should be');
    if (lost === 0) return;
    log.error({ deliveries: lost }, 'deliveries without a record');
    this.storeRepair.owe();
  }
}
