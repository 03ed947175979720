import type { SourceConfig } from '../config/schema.ts';
import { loadSourceAuthorities } from '../config/tls-files.ts';
import { backstopMs } from '../core/feed/plan.ts';
import { isoTime } from '../core/event/event.ts';
import { jitterAround } from '../core/backoff.ts';
import { StreamFeed } from '../feed/stream-feed.ts';
import type { StreamSchedule } from '../feed/ports.ts';
import { createEventStreams } from '../noxus/stream.ts';
import { faultLog } from './faults.ts';
import type { Source, SourceDependencies } from './source.ts';

/** Spread of reads that are moved, as a share. */
const SPREAD = 0.1;

interface StreamsContext extends Pick<Source, 'budget' | 'schedule' | 'guard'> {
  source: SourceConfig;
}

/** The event streams of a source; where they are off, it opens none. */
export function openStreams(
  deps: SourceDependencies,
  name: string,
  context: StreamsContext,
): StreamFeed {
  const { config, log, now } = deps;
  const { source, budget, guard } = context;
  const { hints, hint_streams: most } = config.polling;
  return new StreamFeed({
    source: name,
    process: deps.processId,
    most: hints === 'off' ? 0 : most,
    store: deps.streams,
    streams: createEventStreams({
      now,
      baseUrl: source.base_url,
      apiKey: source.api_key,
      timeoutMs: source.timeout,
      maxSockets: most,
      ca: loadSourceAuthorities(name, source),
      proxy: source.proxy,
      userAgent: deps.userAgent,
      onRequest: (request) => deps.metrics.request(name, request),
    }),
    watches: deps.watches,
    schedule: streamSchedule(deps, name, context),
    claimPermit: () => budget.claim(),
    get requestsPerMs() {
      return budget.limit.requests / budget.limit.perMs;
    },
    active: () => budget.active(),
    wants: (...one) => deps.endpoints.wants(...one),
    pause: (asked) => guard.note({ kind: 'rate_limited', ...asked }, now()),
    onRefused: (untilAt) =>
      log.info({ source: name, until: isoTime(untilAt) }, 'streams.unavailable'),
    onEnd: ({ runId }, end) =>
      log.debug({ source: name, run_id: runId, end: end.kind }, 'stream.ended'),
    onWrong: ({ runId }) => {
      log.debug({ source: name, run_id: runId }, 'stream.contradicted');
      deps.metrics.wrongHint(name);
    },
    onKnown: (kind, by) => deps.metrics.known({ source: name, kind, by }),
    onError: faultLog(log, 'streams', { source: name }),
    now,
    random: deps.random,
  });
}

/** The schedule of a source, as its streams see it. */
function streamSchedule(
  { requests, random, now }: SourceDependencies,
  name: string,
  { budget, schedule }: StreamsContext,
): StreamSchedule {
  return {
    expedite: (members) => schedule.expedite(members),
    enterFeed: (kind, members) => schedule.enterFeed(kind, members),
    release: (claim, until) => schedule.release(claim, until),
    countPrompt: () => requests.count(name, 'prompt'),
    countStreams: () => requests.count(name, 'stream'),
    async moveRead({ runId, cadence, maxDelayMs, timeoutAt }, isRelied) {
      const [from] = await requests.dueTimes(name, [runId]);
      if (from === null || from === undefined) return;
      const { requests: limit, perMs } = budget.limit;
      const longestMs = isRelied ? backstopMs(budget.active(), limit / perMs) : cadence.intervalMs;
      const delayMs = Math.min(jitterAround(longestMs, SPREAD, random), maxDelayMs ?? Infinity);
      const to = Math.min(now() + delayMs, timeoutAt);
      if (isRelied ? to > from : to < from) await schedule.defer([{ runId, from, to }]);
    },
  };
}
