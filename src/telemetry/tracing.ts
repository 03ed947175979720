import { setTimeout as delay } from 'node:timers/promises';
import type { Attributes, Tracer } from '@opentelemetry/api';
import type { IdGenerator, SpanExporter } from '@opentelemetry/sdk-trace-base';
import { messageOf } from '../core/errors.ts';
import type { Span } from './spans.ts';
import type { Logger } from './logger.ts';

/** Takes finished spans and sends them by OTLP over HTTP. It never blocks and never throws. */
export interface SpanSink {
  /** Whether the spans of a trace are exported: the same in every process. */
  isSampled(traceId: string): boolean;
  take(spans: readonly Span[]): void;
  /** Sends the spans that wait, for so many ms at most. */
  stop(withinMs: number): Promise<void>;
}

type ExportResult = 'exported' | 'failed';

interface SpanSinkOptions {
  /** The share of traces that are exported, 0 to 1. */
  ratio: number;
  version: string;
  /** Names this process among those that share a store. */
  processId: string;
  count: (result: ExportResult, spans: number) => void;
  log: Pick<Logger, 'info' | 'warn'>;
}

/**
 * Loads OpenTelemetry. Its packages read the standard `OTEL_*` variables themselves: where to send
 * to, headers, time-outs, certificates, sizes of batches, and attributes of the resource. What waits
 * is bounded (2,048 spans, unless the environment says otherwise); more spans are dropped.
 */
export async function openSpanSink(options: SpanSinkOptions): Promise<SpanSink> {
  const packages = await loadPackages();
  const { api, sdk } = packages;
  const ids = createGivenIds();
  const sampler = new sdk.TraceIdRatioBasedSampler(options.ratio);
  const isSampled = (traceId: string) =>
    sampler.shouldSample(api.ROOT_CONTEXT, traceId).decision ===
    sdk.SamplingDecision.RECORD_AND_SAMPLED;
  const provider = new sdk.BasicTracerProvider({
    resource: resourceOf(packages, options),
    sampler,
    idGenerator: ids,
    spanProcessors: [exporterOf(packages, options)],
  });
  const tracer = provider.getTracer('runwatch', options.version);
  return {
    isSampled,
    take(spans) {
      for (const span of spans) {
        if (isSampled(span.traceId)) record(span, { api, ids, tracer });
      }
    },
    async stop(withinMs) {
      const sent = provider.shutdown().catch(() => undefined);
      await Promise.race([sent, delay(withinMs, undefined, { ref: false })]);
    },
  };
}

type Packages = Awaited<ReturnType<typeof loadPackages>>;

async function loadPackages() {
  const [api, sdk, otlp, resources] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ]);
  return { api, sdk, otlp, resources };
}

/** What the environment says wins. */
function resourceOf({ resources }: Packages, { version, processId }: SpanSinkOptions) {
  const own = {
    'service.name': 'runwatch',
    'service.version': version,
    'service.instance.id': processId,
  };
  return resources
    .defaultResource()
    .merge(resources.resourceFromAttributes(own))
    .merge(resources.detectResources({ detectors: [resources.envDetector] }));
}

function exporterOf({ sdk, otlp }: Packages, options: SpanSinkOptions) {
  return new sdk.BatchSpanProcessor(observed(new otlp.OTLPTraceExporter(), options));
}

interface Recorder extends Pick<Packages, 'api'> {
  ids: GivenIds;
  tracer: Tracer;
}

function record(span: Span, { api, ids, tracer }: Recorder): void {
  const { traceId, parentId, attributes, error } = span;
  const kind = {
    internal: api.SpanKind.INTERNAL,
    server: api.SpanKind.SERVER,
    client: api.SpanKind.CLIENT,
  }[span.kind];
  const context =
    parentId === null
      ? api.ROOT_CONTEXT
      : api.trace.setSpanContext(api.ROOT_CONTEXT, {
          traceId,
          spanId: parentId,
          traceFlags: api.TraceFlags.SAMPLED,
        });
  ids.give(span);
  // As dates, since the SDK takes small numbers for times of the process.
  const open = tracer.startSpan(span.name, { kind, startTime: new Date(span.startedAt) }, context);
  open.setAttributes(attributes as Attributes);
  if (error !== null) open.setStatus({ code: api.SpanStatusCode.ERROR, message: error });
  open.end(new Date(span.endedAt));
}

interface GivenIds extends IdGenerator {
  give(ids: Pick<Span, 'traceId' | 'spanId'>): void;
}

/** The ids of the span that starts next: each is started in the same step. */
function createGivenIds(): GivenIds {
  let given = { traceId: '', spanId: '' };
  return {
    give: (ids) => void (given = ids),
    generateTraceId: () => given.traceId,
    generateSpanId: () => given.spanId,
  };
}

/** Counts exports, and logs when they begin to fail and when they work again. */
function observed(
  exporter: SpanExporter,
  { count, log }: Pick<SpanSinkOptions, 'count' | 'log'>,
): SpanExporter {
  let isFailing = false;
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const hasFailed = result.error !== undefined;
        count(hasFailed ? 'failed' : 'exported', spans.length);
        if (hasFailed && !isFailing) {
          const line =
            'traces cannot be exported: their spans are dropped until the receiver answers';
          log.warn({ error: messageOf(result.error) }, line);
        }
        if (!hasFailed && isFailing) log.info('traces are exported again');
        isFailing = hasFailed;
        done(result);
      });
    },
    shutdown: () => exporter.shutdown(),
  };
}
