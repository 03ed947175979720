import { randomBytes } from 'node:crypto';
import type { TracingSettings } from '../config/tracing.ts';
import type { Attempt, Delivery } from '../core/delivery/delivery.ts';
import type { LinksOf } from '../core/run/links.ts';
import {
  attemptSpan,
  deliverySpan,
  pollSpan,
  spansOfChange,
  traceIdOf,
  traceparent,
  type Span,
} from '../telemetry/spans.ts';
import type { PollReport } from '../core/watch/poll-report.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { openSpanSink } from '../telemetry/tracing.ts';

/** Takes a written change of a watch, for the trace of its run. */
type TraceChange = (change: { before: Watch; after: Watch }) => void;

/** The traces of runs: what happens to one run, in whichever process, has one trace. */
/** An attempt in the trace of a run. */
interface AttemptTrace {
  /** What the receiver continues the trace by: the value of its `traceparent` header. */
  traceparent: string;
  end(attempt: Attempt): void;
}

export interface Tracing {
  trace: TraceChange;
  polled(report: PollReport): void;
  /** Begins to trace the attempt at a delivery; null where it is in no trace. */
  traceAttempt: (delivery: Delivery) => AttemptTrace | null;
  delivered(report: { delivery: Delivery; body: string | null }): void;
  stop(withinMs: number): Promise<void>;
}

/** Traces nothing, and costs nothing. */
export const UNTRACED: Tracing = {
  trace: ignore,
  polled: ignore,
  traceAttempt: () => null,
  delivered: ignore,
  stop: () => Promise.resolve(),
};

function ignore(): void {}

interface TracingDependencies {
  /** Null where traces are off: then nothing of OpenTelemetry is loaded. */
  settings: TracingSettings | null;
  version: string;
  processId: string;
  linksOf: LinksOf;
  metrics: Metrics;
  log: Logger;
  now: () => number;
}

export async function openTracing(deps: TracingDependencies): Promise<Tracing> {
  const { settings, metrics, linksOf, now } = deps;
  if (settings === null) return UNTRACED;
  const sink = await openSpanSink({
    ...deps,
    ratio: settings.ratio,
    count: (result, spans) => metrics.spans(result, spans),
  });
  const trace: TraceChange = ({ before, after }) =>
    sink.take(spansOfChange({ before, after, links: linksOf(after) }, now()));
  return {
    trace,
    polled(report) {
      const { before, watch: after } = report;
      sink.take(pollSpan(after, report));
      trace({ before, after });
    },
    traceAttempt: (delivery) => (isOfRun(delivery) ? beginAttempt(sink, delivery) : null),
    delivered({ delivery, body }) {
      if (delivery.nextAttemptAt !== null || !isOfRun(delivery)) return;
      sink.take([deliverySpan(delivery, body, now())]);
    },
    stop: (withinMs) => sink.stop(withinMs),
  };
}

/** System events and alerts belong to no run, or to several. */
function isOfRun({ runId, alertId }: Delivery): boolean {
  return runId !== '' && alertId === undefined;
}

function beginAttempt(
  sink: { isSampled(traceId: string): boolean; take(spans: readonly Span[]): void },
  delivery: Delivery,
) {
  const spanId = randomBytes(8).toString('hex');
  const traceId = traceIdOf(delivery);
  return {
    traceparent: traceparent(traceId, spanId, sink.isSampled(traceId)),
    end: (attempt: Attempt) => sink.take([attemptSpan(delivery, attempt, spanId)]),
  };
}
