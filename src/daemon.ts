import { hostname } from 'node:os';
import type { Config } from './config/schema.ts';
import { sectionHashes } from './config/sections.ts';
import { RunwatchError } from './core/errors.ts';
import { Alerting } from './alert/alerting.ts';
import { Batches } from './batches/batches.ts';
import { DataDirectoryGuard } from './daemon/data-directory-guard.ts';
import { Janitor } from './daemon/janitor.ts';
import type { Opened } from './daemon/open.ts';
import { Poller } from './source/poller.ts';
import { Processes } from './daemon/processes.ts';
import { Reload, replaceEntries, type Reloadable } from './daemon/reload.ts';
import { memoryLimit } from './daemon/redis.ts';
import { StoreConditions } from './daemon/store-conditions.ts';
import { StoreGuard } from './daemon/store-guard.ts';
import { StoreRepair } from './daemon/store-repair.ts';
import { SystemEvents } from './daemon/system-events.ts';
import { backlogNotices } from './watches/backlog-notices.ts';
import { Deliverer } from './deliver/deliverer.ts';
import { retryEndpoint } from './deliver/endpoint-control.ts';
import { allEndpoints } from './deliver/endpoints.ts';
import { Unconfigured } from './watches/unconfigured.ts';
import { faultLog } from './fault-log.ts';
import { createTokens, type Tokens } from './http/tokens.ts';
import type { Lifecycle } from './lifecycle.ts';
import { startPeriodic } from './periodic.ts';
import { Process, type SystemEvent, type WriteWithEvent } from './process.ts';
import type { EmbeddedRedis } from './redis/embedded/server.ts';

/** How long the stop waits for the receiver of traces, ms. */
const FLUSH_MS = 2_000;

/** How often a source is asked whether it answers, while that is not known, ms. */
const GREET_EVERY_MS = 10_000;

/**
 * The process with all its parts, in the order in which they are built. Parts take the daemon as their
 * `Process`, and do nothing before `start`, which also says in which order they stop.
 */
export class Daemon extends Process {
  readonly systemEvents: SystemEvents;
  readonly storeGuard: StoreGuard;
  readonly storeRepair: StoreRepair;
  readonly storeConditions: StoreConditions;
  readonly dataDirectory: DataDirectoryGuard;
  /** This process among those on the store. */
  readonly processes: Processes;
  readonly deliverer: Deliverer;
  readonly poller: Poller;
  readonly alerting: Alerting;
  readonly batches: Batches;
  readonly unconfigured: Unconfigured;
  readonly janitor: Janitor;
  readonly tokens: Tokens;
  readonly reload: Reload;

  /** @param sendsNothing whether this process sends and deletes nothing, and only observes and shows */
  constructor(
    opened: Opened,
    ownServer: EmbeddedRedis | null,
    readonly sendsNothing = false,
  ) {
    super(opened);
    const { config, stores } = this;
    this.systemEvents = new SystemEvents(this);
    this.storeGuard = new StoreGuard(this, this.systemEvents, opened);
    stores.eventBell.heed((events, epoch) => this.storeGuard.saw({ epoch, events }));
    this.watchNotes.heed((watches, epoch) => this.storeGuard.saw({ epoch, watches }));
    this.storeRepair = new StoreRepair(this, this.storeGuard, opened.knownWatches);
    const info = {
      host: hostname(),
      pid: process.pid,
      version: this.version,
      form: stores.forms.newest,
      startedAt: this.now(),
      sections: sectionHashes(config),
    };
    this.processes = new Processes(this, info, this.storeGuard);
    this.storeConditions = new StoreConditions(this, this.processes);
    this.dataDirectory = new DataDirectoryGuard(this, this.storeGuard, ownServer);
    const { systemEvents } = this;
    this.deliverer = new Deliverer(this, systemEvents, this.storeRepair);
    this.deliverer.listen();
    stores.watches.noticeBacklogs(backlogNotices(this, systemEvents));
    this.poller = new Poller(this);
    this.alerting = new Alerting(this, this.poller, this.processes);
    this.batches = new Batches(this);
    this.unconfigured = new Unconfigured(this);
    this.janitor = new Janitor(this);
    this.tokens = createTokens(config.auth.tokens);
    this.reload = openReload(this, ownServer);
  }

  raise(event: SystemEvent, write?: WriteWithEvent): Promise<void> {
    return write === undefined
      ? this.systemEvents.raise(event)
      : this.systemEvents.raiseWith(event, write);
  }

  dispatch(pools: string[]): void {
    this.deliverer.dispatch(pools);
  }

  epoch(): string {
    return this.storeGuard.epoch();
  }

  /** Starts the parts. They stop in the opposite order. */
  start(lifecycle: Lifecycle): void {
    const { connections, processes, poller, deliverer, unconfigured, statistics, alerting } = this;
    lifecycle.onStop('tracing', (withinMs) => this.tracing.stop(Math.min(FLUSH_MS, withinMs / 2)));
    // Before Redis is closed: it restores what the close would lose.
    this.dataDirectory.start();
    lifecycle.onStop('data directory', () => this.dataDirectory.stop());
    if (!this.sendsNothing) this.janitor.start();
    lifecycle.onStop('janitor', () => this.janitor.stop());
    lifecycle.onStop('webhook connections', () => deliverer.agents.close());
    // Running work cannot end while Redis is away: other processes take it over.
    const mustForce = () => connections.state().kind !== 'ok';
    // First to start and last to stop: only a process with a heartbeat claims work.
    processes.add(deliverer.claims);
    processes.add(alerting);
    processes.add(poller.work);
    processes.start((why) => this.leave(why, lifecycle));
    lifecycle.onStop('process', () => processes.stop(mustForce()));
    if (!this.sendsNothing) unconfigured.start();
    lifecycle.onStop('unconfigured', () => unconfigured.stop());
    statistics.start();
    lifecycle.onStop('learning', () => statistics.stop());
    if (!this.sendsNothing) deliverer.start();
    const elapsedMs = stopwatch(lifecycle.stopping);
    lifecycle.onStop('deliverer', () => {
      return deliverer.stop({ force: mustForce(), elapsedMs: elapsedMs() });
    });
    alerting.start();
    lifecycle.onStop('alerting', () => alerting.stop({ force: mustForce() }));
    this.batches.start();
    lifecycle.onStop('batches', () => this.batches.stop());
    poller.start();
    lifecycle.onStop('poller', (withinMs) => poller.stop({ force: mustForce(), withinMs }));
    const greeting = startPeriodic(() => poller.greet(), {
      everyMs: GREET_EVERY_MS,
      onError: faultLog(this.log, 'greeting'),
    });
    lifecycle.onStop('greeting', () => greeting.stop());
    this.guardStore(lifecycle);
    connections.onUsable(() => void this.repair().catch(faultLog(this.log, 'repair')));
  }

  /** After the workers: it may find that watches are missing from the schedule. */
  private guardStore(lifecycle: Lifecycle): void {
    const { storeGuard, storeRepair, storeConditions, poller } = this;
    storeGuard.start(() => {
      storeRepair.owe();
      poller.survey();
      this.stores.eventBell.wakeAll();
    });
    lifecycle.onStop('store guard', () => storeGuard.stop());
    storeRepair.start(() => {
      poller.survey();
      this.deliverer.compare();
    });
    lifecycle.onStop('store repair', () => storeRepair.stop());
    storeConditions.start();
    lifecycle.onStop('store conditions', () => storeConditions.stop());
  }

  /** Ends the process, which writes nothing any more: records have a form that it would misread. */
  private leave(why: string, lifecycle: Lifecycle): void {
    void this.connections.close();
    const message = `this process stops, since the records were migrated meanwhile: ${why}`;
    lifecycle.fail(new RunwatchError(message, { code: 'schema_unknown' }));
  }

  /** Repairs what was lost or not done while Redis was away. */
  private async repair(): Promise<void> {
    if (!(await this.processes.mayWork())) return;
    this.processes.tend();
    this.storeGuard.check();
    this.storeRepair.check();
    this.poller.survey();
    this.deliverer.sweep();
    this.deliverer.compare();
    this.alerting.restart();
    this.batches.wake();
  }
}

/** What takes new settings, in the order in which it does so. */
function openReload(daemon: Daemon, ownServer: EmbeddedRedis | null): Reload {
  const { config, log, endpoints, deliverer, poller, alerting, tokens } = daemon;
  const onError = faultLog(log, 'reload');
  const retry = async (name: string) => {
    await retryEndpoint(daemon, name);
    daemon.dispatch([name]);
  };
  const parts: Reloadable[] = [
    {
      settings: ['endpoints', 'delivery.per_endpoint'],
      prepare(next) {
        const replaceRoutes = deliverer.routes.prepare(allEndpoints(next));
        return () => {
          endpoints.replace(next);
          // What waited for the receiver to be mended is tried at once: the cause may have been here.
          for (const name of replaceRoutes()) void retry(name).catch(onError);
          // What waited for a slot, or for the pace, may have more room now.
          daemon.dispatch(endpoints.names);
        };
      },
    },
    {
      settings: ['sources.*.api_key', 'sources.*.headers', 'sources.*.rate_limit'],
      prepare: (next) => () => poller.reconfigure(next.sources),
    },
    {
      settings: ['rules', 'time_intervals', 'inhibit_rules'],
      prepare: (next) => () => {
        daemon.alertRules.replace(next);
        alerting.restart();
      },
    },
    {
      settings: ['workflows'],
      prepare: (next) => () => replaceEntries(config.workflows, next.workflows),
    },
    {
      settings: ['auth.tokens'],
      prepare(next) {
        refuseToOpen(tokens, next);
        return () => tokens.replace(next.auth.tokens);
      },
    },
    {
      settings: ['log.level'],
      prepare: (next) => () => void (log.level = next.log.level),
    },
    {
      settings: ['redis.maxmemory'],
      prepare: (next) => () => {
        if (ownServer === null) return;
        ownServer.limitMemory(memoryLimit(next, log)).catch(onError);
      },
    },
  ];
  return new Reload(daemon, parts, (inForce) =>
    daemon.processes.reconfigured(sectionHashes(inForce)),
  );
}

/** Returns a function that says how many ms ago the process began to stop. */
function stopwatch(stopping: AbortSignal): () => number {
  let stoppingSince = Infinity;
  stopping.addEventListener('abort', () => (stoppingSince = performance.now()), { once: true });
  return () => Math.max(0, performance.now() - stoppingSince);
}

/** Without tokens the API is open to this machine, which a slip in a file must not bring about. */
function refuseToOpen(tokens: Tokens, next: Config): void {
  if (!tokens.areNeeded() || next.auth.tokens.length > 0) return;
  const message =
    'it has no token any more, which would give every user of this machine all rights; restart the daemon to run it without';
  throw new RunwatchError(message, { code: 'last_token' });
}
