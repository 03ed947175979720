import type { SourceConfig } from '../config/schema.ts';
import { loadSourceAuthorities } from '../config/tls-files.ts';
import { createEventStreams, type EventStreams } from '../noxus/stream.ts';
import { createHints, type Hints } from '../feed/stream-feed.ts';
import { faultLog } from './faults.ts';
import type { Source, SourceDependencies } from './source.ts';

interface HintsContext extends Pick<Source, 'budget' | 'schedule' | 'guard'> {
  source: SourceConfig;
}

export interface SourceHints extends Hints, Pick<EventStreams, 'useApiKey'> {}

/** The hints of a source; null where they are off, which opens no stream. */
export function openHints(
  deps: SourceDependencies,
  name: string,
  { source, budget, schedule, guard }: HintsContext,
): SourceHints | null {
  const { polling } = deps.config;
  if (polling.hints === 'off') return null;
  const streams = createEventStreams({
    now: deps.now,
    baseUrl: source.base_url,
    apiKey: source.api_key,
    timeoutMs: source.timeout,
    silenceMs: polling.hint_silence,
    maxSockets: polling.hint_streams,
    ca: loadSourceAuthorities(name, source),
    proxy: source.proxy,
    userAgent: deps.userAgent,
    onRequest: (request) => deps.metrics.request(name, request),
  });
  const hints = createHints({
    source: name,
    process: deps.processId,
    limit: polling.hint_streams,
    store: deps.hints,
    streams,
    watches: deps.watches,
    claim: () => budget.claim(),
    expedite: (runId) => schedule.expedite([runId]),
    pause: (asked) => guard.note({ kind: 'rate_limited', ...asked }, deps.now()),
    onEnd: (watch, end) =>
      deps.log.debug({ source: name, run_id: watch.runId, end: end.kind }, 'hint stream ended'),
    onError: faultLog(deps.log, 'hints', { source: name }),
    now: deps.now,
  });
  return { ...hints, useApiKey: (apiKey) => streams.useApiKey(apiKey) };
}
