import { isoTime } from '../core/event/event.ts';
import {
  answerAboutList,
  answerAboutRun,
  type ClosedSource,
  type SourceChange,
} from '../core/source/throttle.ts';
import { CONSISTENT_MESSAGE, inconsistentMessage } from '../core/source/consistency.ts';
import type { NoxusClient } from '../noxus/client.ts';
import { SourceAgreement, type AgreementChange } from '../poll/source-agreement.ts';
import { SourceThrottle } from '../poll/source-throttle.ts';
import type { SourceLimiter } from '../poll/source-limiter.ts';
import type { ConsistencyStore } from '../redis/stores/consistency-store.ts';
import type { SourceStore } from '../redis/stores/source-store.ts';
import type { Config } from '../config/schema.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { SystemEvents } from './system-events.ts';

/** Reads runs and lists of a source. */
export type SourceReader = Pick<
  NoxusClient,
  'readRun' | 'readPage' | 'readWorkflows' | 'readDefinition'
>;

interface ThrottleDependencies {
  config: Pick<Config, 'polling'>;
  sources: SourceStore;
  systemEvents: Pick<SystemEvents, 'raise'>;
  now: () => number;
  log: Logger;
}

interface ThrottledSource {
  access: string;
  /** The number of watches at the last count. */
  active: () => number;
  /** Counts the watches. */
  countWatches: () => Promise<number>;
  onOpen: () => Promise<void>;
}

/** Judges the answers of one source, and raises system events about it. */
export function openThrottle(
  { config, sources, systemEvents, now, log }: ThrottleDependencies,
  source: string,
  { access, active, countWatches, onOpen }: ThrottledSource,
): SourceThrottle {
  return new SourceThrottle({
    source,
    access,
    store: sources,
    policy: {
      unauthorizedProbeMs: config.polling.unauthorized_probe,
      unreachableAfterMs: config.polling.unreachable_after,
    },
    active,
    raise: async (change) => {
      await systemEvents.raise(eventOf(source, change, await countWatches()));
    },
    log: {
      paused: (closed) => logPause(log, source, closed),
      authorized: () => log.info({ source }, 'source.authorized'),
    },
    onOpen,
    now,
  });
}

/** The remedy in each event. */
const HELP: Record<SourceChange['type'], string> = {
  'source.unauthorized': 'set a key that may read runs as the api_key of the source',
  'source.throttled': 'lower rate_limit of the source; `runwatch sources resume` lifts the pause',
  'source.unreachable': 'check whether Noxus answers at base_url; nothing needs to be done here',
  'source.recovered': 'nothing: all runs are polled again',
};

function eventOf(source: string, news: SourceChange, watches: number) {
  const { type, since, message, until, at } = news;
  return {
    type,
    level: type === 'source.recovered' ? ('info' as const) : ('error' as const),
    data: {
      source,
      message,
      since: isoTime(since),
      lasted_ms: Math.max(0, Math.round(at - since)),
      next_try_at: until === null ? null : isoTime(until),
      watches,
      help: HELP[type],
    },
  };
}

interface AgreementDependencies {
  consistencies: ConsistencyStore;
  systemEvents: Pick<SystemEvents, 'raiseWith'>;
  metrics: Pick<Metrics, 'contradicted'>;
  now: () => number;
}

/** Judges how far the polls of one source's runs agree, and raises system events about it. */
export function openAgreement(
  { consistencies: store, systemEvents, metrics, now }: AgreementDependencies,
  source: string,
  countWatches: () => Promise<number>,
): SourceAgreement {
  return new SourceAgreement({
    source,
    store,
    async raise(change, write) {
      const event = agreementEvent(source, change, { watches: await countWatches(), now: now() });
      let isWritten = false;
      await systemEvents.raiseWith(event, async (planned) => {
        const pools = await store.put(write, planned);
        isWritten = pools !== null;
        return pools;
      });
      return isWritten;
    },
    onContradiction: () => metrics.contradicted(source),
    now,
  });
}

/** The data of both events; the remedy is outside runwatch. */
const AGREEMENT = {
  'source.inconsistent': {
    level: 'warn',
    help: 'look for a replica or cache of Noxus that lags; until polls agree again, leaving a wait is notified up to half a minute later',
  },
  'source.consistent': { level: 'info', help: 'nothing: changes are notified as usual again' },
} as const;

function agreementEvent(
  source: string,
  { type, found, since }: AgreementChange,
  { watches, now }: { watches: number; now: number },
) {
  const { level, help } = AGREEMENT[type];
  const message = type === 'source.consistent' ? CONSISTENT_MESSAGE : inconsistentMessage(found);
  return {
    type,
    level,
    data: {
      source,
      message,
      since: isoTime(since),
      lasted_ms: Math.max(0, Math.round(now - since)),
      watches,
      help,
    },
  };
}

function logPause(log: Logger, source: string, { message, at, probeAt }: ClosedSource): void {
  const until = isoTime(probeAt);
  log.warn({ source, message, pause_ms: Math.round(probeAt - at), until }, 'source.paused');
}

/**
 * A reader that reports every answer to the throttle. Names of workflows are an extra: of these answers, only
 * one that asks for a pause says anything about the source.
 */
export function reportingReader(
  client: SourceReader,
  throttle: Pick<SourceThrottle, 'asks' | 'note'>,
): SourceReader {
  return {
    async readRun(runId, options) {
      const asked = throttle.asks();
      const outcome = await client.readRun(runId, options);
      await throttle.note(answerAboutRun(outcome, runId), asked);
      return outcome;
    },
    async readPage(question, options) {
      const asked = throttle.asks();
      const outcome = await client.readPage(question, options);
      await throttle.note(answerAboutList(outcome), asked);
      return outcome;
    },
    async readWorkflows(question) {
      const asked = throttle.asks();
      const outcome = await client.readWorkflows(question);
      if (outcome.kind === 'rate_limited') await throttle.note(outcome, asked);
      return outcome;
    },
    async readDefinition(workflowId) {
      const asked = throttle.asks();
      const outcome = await client.readDefinition(workflowId);
      if (outcome.kind === 'rate_limited') await throttle.note(outcome, asked);
      return outcome;
    },
  };
}

export type ListAsker = ReturnType<typeof listAsker>;

/** The least time between two list requests that only test whether the source answers, ms. */
const ASK_EVERY_MS = 5_000;

/** Requests the list of a source to test whether it answers. */
export function listAsker({
  reader,
  limiter,
  now,
  onError,
}: {
  reader: SourceReader;
  limiter: Pick<SourceLimiter, 'claim'>;
  now: () => number;
  onError: (error: unknown) => void;
}) {
  let notBefore = 0;
  const read = () => reader.readPage({ workflowId: null, page: 1, size: 1 });
  const ask = async () => {
    const permit = await limiter.claim();
    if (permit === null) return;
    await read();
    permit.settle();
  };
  return {
    /** Requests it within the rate limit, at most every 5 s. */
    askList(): void {
      if (now() < notBefore) return;
      notBefore = now() + ASK_EVERY_MS;
      ask().catch(onError);
    },
    /** Requests it with the caller's permit. */
    probeList: async () => void (await read()),
  };
}
