import { type SourceConfig, pollPolicy } from '../config/schema.ts';
import { loadSourceAuthorities } from '../config/tls-files.ts';
import { backstopMs } from '../core/feed/plan.ts';
import { isoTime } from '../core/event/event.ts';
import { latestReadAt } from '../core/feed/member.ts';
import { NodeNames } from '../feed/node-names.ts';
import { StreamFeed } from '../feed/stream-feed.ts';
import type { StreamSchedule } from '../feed/ports.ts';
import { createEventStreams } from '../noxus/event-stream.ts';
import { faultLog } from '../fault-log.ts';
import type { Source, SourceDependencies } from './source.ts';

interface StreamsContext extends Pick<Source, 'limiter' | 'schedule' | 'throttle' | 'reader'> {
  source: SourceConfig;
}

/** The event streams of a source; where they are off, it opens none. */
export function openStreams(
  deps: SourceDependencies,
  name: string,
  context: StreamsContext,
): StreamFeed {
  const { config, log, now } = deps;
  const { source, limiter, throttle, reader } = context;
  const { hints, hint_streams: most } = config.polling;
  const requestsPerMs = () => limiter.limit.requests / limiter.limit.perMs;
  const policy = pollPolicy(config);
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
      names: deps.names,
      userAgent: deps.userAgent,
      onRequest: (request) => deps.metrics.request(name, request),
    }),
    nodeNames: new NodeNames({
      source: name,
      store: deps.nodeNames,
      readDefinition: (workflowId) => reader.readDefinition(workflowId),
      usedShare: async () => (await deps.budgets.used(name)) / limiter.limit.requests,
      claimPermit: () => limiter.claim(),
      now,
    }),
    watches: deps.watches,
    schedule: streamSchedule(deps, name, context),
    claimPermit: () => limiter.claim(),
    requestsPerMs,
    backstopMs: () => backstopMs(limiter.active(), requestsPerMs()),
    latestReadAt: (watch) => latestReadAt(watch, { policy, statistics: deps.statistics.lookup }),
    active: () => limiter.active(),
    wants: (...one) => deps.endpoints.wants(...one),
    asks: () => throttle.asks(),
    pause: (wish, asked) => throttle.note({ kind: 'rate_limited', ...wish }, asked),
    onRefused: (untilAt) =>
      log.info({ source: name, until: isoTime(untilAt) }, 'streams.unavailable'),
    onEnd({ runId }, end) {
      if (end.kind === 'unsent') deps.hostShortages.note(end.error);
      log.debug({ source: name, run_id: runId, end: end.kind }, 'stream.ended');
    },
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
  { requests, now }: SourceDependencies,
  name: string,
  { schedule }: StreamsContext,
): StreamSchedule {
  return {
    expedite: (members) => schedule.expedite(members),
    enterFeed: (kind, members) => schedule.enterFeed(kind, members),
    release: (claim, until) => schedule.release(claim, until),
    entered: (count) => schedule.entered(count),
    countPrompt: () => requests.countDue(name, 'prompt', now()),
    countStreams: () => requests.countDue(name, 'stream', now()),
  };
}
