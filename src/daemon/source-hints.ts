import type { SourceConfig } from '../config/schema.ts';
import { createEventStreams } from '../noxus/event-stream.ts';
import { createHints, type Hints } from '../poll/hints.ts';
import { faultLog } from './faults.ts';
import type { Source, SourceDependencies } from './source.ts';

interface HintsGround extends Pick<Source, 'budget' | 'schedule'> {
  source: SourceConfig;
}

/** The hints of a source; null where they are off, which opens no stream. */
export function openHints(
  deps: SourceDependencies,
  name: string,
  { source, budget, schedule }: HintsGround,
): Hints | null {
  const { polling } = deps.config;
  if (polling.hints === 'off') return null;
  const streams = createEventStreams({
    baseUrl: source.base_url,
    apiKey: source.api_key,
    timeoutMs: source.timeout,
    silenceMs: polling.hint_silence,
    maxSockets: polling.hint_streams,
    userAgent: deps.userAgent,
    onRequest: (request) => deps.metrics.request(name, request),
  });
  return createHints({
    source: name,
    process: deps.processId,
    limit: polling.hint_streams,
    store: deps.hints,
    streams,
    watches: deps.watches,
    claim: () => budget.claim(),
    expedite: (runId) => schedule.expedite([runId]),
    pause: (pause) => deps.sources.pause(name, pause, deps.now()).then(() => undefined),
    onEnd: (watch, end) =>
      deps.log.debug({ source: name, run_id: watch.runId, end: end.kind }, 'hint stream ended'),
    onError: faultLog(deps.log, 'hints', { source: name }),
    now: deps.now,
  });
}
