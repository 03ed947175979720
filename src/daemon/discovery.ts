import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { ALL_WORKFLOWS, type Config } from '../config/schema.ts';
import { isoTime } from '../core/event/event.ts';
import type { ListOutcome, ListQuestion, RunList } from '../core/feed/run-list.ts';
import { createDiscoverRuns, type DiscoveryLog } from '../poll/discover-runs.ts';
import { createWatchDiscovered } from '../poll/watch-discovered.ts';
import type { DiscoveryStore } from '../redis/stores/discovery-store.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Endpoints } from './endpoints.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';
import type { Poller } from './poller.ts';
import { registerDefaults } from './settings.ts';
import type { Source } from './source.ts';
import type { SystemEvents } from './system-events.ts';

/** How often a process looks whether it is time to read a list, ms. */
const LOOK_EVERY_MS = 500;

/** How long a page waits for leave at a time, and between two requests for it, ms. */
const LEAVE = { withinMs: 2_000, everyMs: 50 };

/** What a page may take besides the request itself: waiting for leave, and writing watches, ms. */
const TURN_SLACK_MS = 5_000;

interface DiscoveryDependencies {
  config: Config;
  discoveries: DiscoveryStore;
  watches: WatchStore;
  endpoints: Endpoints;
  poller: Poller;
  systemEvents: Pick<SystemEvents, 'raise'>;
  metrics: Metrics;
  log: Logger;
  now: () => number;
}

/** The part of the daemon that finds runs which nobody registers. */
export interface Discovery {
  /** Why lists cannot be read, a line for each; null where nothing is to be discovered. */
  troubles(): Promise<string[] | null>;
  start(): void;
  stop(): Promise<void>;
}

export function createDiscovery(deps: DiscoveryDependencies): Discovery {
  const stopping = new AbortController();
  const readers = listsOf(deps.config).flatMap((list) => {
    const source = deps.poller.sourceOf(list.source);
    return source === undefined
      ? []
      : [{ list, read: reader(deps, list, source, stopping.signal) }];
  });
  const lists = readers.map(({ list }) => list);
  let running: Periodic[] = [];

  return {
    async troubles() {
      if (lists.length === 0) return null;
      const found = await deps.discoveries.troubles(lists);
      return lists.flatMap((list, at) => {
        const trouble = found[at] ?? null;
        return trouble === null ? [] : [`${nameOf(list)}: ${trouble.message}`];
      });
    },
    start() {
      running = readers.map(({ list, read }) =>
        startPeriodic(read, {
          everyMs: LOOK_EVERY_MS,
          onError: faultLog(deps.log, 'discovery', fieldsOf(list)),
        }),
      );
    },
    async stop() {
      stopping.abort();
      await Promise.all(running.map((one) => one.stop()));
    },
  };
}

function listsOf({ sources }: Config): RunList[] {
  return Object.entries(sources).flatMap(([source, { discover }]) =>
    (discover?.workflows ?? []).map((id) => ({
      source,
      workflowId: id === ALL_WORKFLOWS ? null : id,
    })),
  );
}

function reader(
  deps: DiscoveryDependencies,
  list: RunList,
  source: Source,
  signal: AbortSignal,
): () => Promise<void> {
  const { config, discoveries, endpoints, poller, now } = deps;
  const { timeout = 0, discover } = config.sources[list.source] ?? {};
  return createDiscoverRuns({
    list,
    readPage: (question) => readPage(source, question, signal),
    store: discoveries,
    closedUntil: async () => (await source.guard.read()).state?.closed?.probeAt ?? null,
    watch: createWatchDiscovered({
      ...deps,
      scheduleOf: poller.scheduleOf,
      subscriptions: endpoints.defaults.map((endpoint) => ({ kind: 'endpoint', endpoint })),
      defaults: registerDefaults(config),
    }),
    everyMs: discover?.every ?? 0,
    turnMs: timeout + TURN_SLACK_MS,
    isStopping: () => signal.aborted,
    log: discoveryLog(deps),
    newToken: randomUUID,
    now,
  });
}

/** Reads a page within the source's budget; null when there was no leave in time, or it was given up. */
async function readPage(
  source: Source,
  question: ListQuestion,
  signal: AbortSignal,
): Promise<ListOutcome | null> {
  for (let waited = 0; waited < LEAVE.withinMs && !signal.aborted; waited += LEAVE.everyMs) {
    const permit = await source.budget.claim(source.probeMs);
    if (permit !== null) {
      const reading = source.reader.readPage(question, { signal }).finally(() => permit.settle());
      return reading.catch((error: unknown) => {
        if (signal.aborted) return null;
        throw error;
      });
    }
    await delay(LEAVE.everyMs);
  }
  return null;
}

function discoveryLog({ log, metrics, systemEvents, now }: DiscoveryDependencies): DiscoveryLog {
  return {
    discovered(list, runs) {
      metrics.discovered(list.source, runs);
      log.info({ ...fieldsOf(list), runs }, 'discovered');
    },
    unavailable: (list, message) =>
      systemEvents.raise({
        type: 'discovery.unavailable',
        level: 'warn',
        data: { ...fieldsOf(list), since: isoTime(now()), message },
      }),
    recovered: (list) =>
      systemEvents.raise({ type: 'discovery.recovered', level: 'info', data: fieldsOf(list) }),
  };
}

function fieldsOf({ source, workflowId }: RunList) {
  return { source, workflow_id: workflowId };
}

function nameOf({ source, workflowId }: RunList): string {
  return workflowId === null ? source : `${source}, workflow ${workflowId}`;
}
