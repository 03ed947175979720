import { createServer } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { closeServer, listenOnLoopback } from '../../src/simulator/http-io.ts';

/** A span as it was received. Times are milliseconds since the epoch. */
export interface ReceivedSpan {
  traceId: string;
  spanId: string;
  parentSpanId: string;
  name: string;
  kind: number;
  startedAt: number;
  endedAt: number;
  attributes: Record<string, unknown>;
  /** 2 for an error. */
  status: number;
  /** Attributes of the process that sent it. */
  resource: Record<string, unknown>;
}

/** A receiver of traces by OTLP over HTTP, in JSON. */
export interface OtlpReceiver {
  url: string;
  spans: ReceivedSpan[];
  /** The headers of each request. */
  headers: Record<string, unknown>[];
  /** The status that it answers; null lets requests hang. */
  answer: number | null;
  close(): Promise<void>;
}

interface JsonAttribute {
  key: string;
  value: Record<string, unknown>;
}

interface JsonSpan extends Record<'traceId' | 'spanId' | 'name', string> {
  parentSpanId?: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: JsonAttribute[];
  status: { code: number };
}

interface JsonExport {
  resourceSpans: {
    resource: { attributes: JsonAttribute[] };
    scopeSpans: { spans: JsonSpan[] }[];
  }[];
}

export async function startOtlpReceiver(port = 0): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const headers: Record<string, unknown>[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      headers.push({ ...request.headers, path: request.url });
      if (receiver.answer === null) return;
      if (receiver.answer === 200) {
        const body = Buffer.concat(chunks);
        const isZipped = request.headers['content-encoding'] === 'gzip';
        const text = (isZipped ? gunzipSync(body) : body).toString();
        spans.push(...readSpans(JSON.parse(text) as JsonExport));
      }
      response.writeHead(receiver.answer, { 'content-type': 'application/json' }).end('{}');
    });
  });
  const url = await listenOnLoopback(server, { port, host: '127.0.0.1' });
  const receiver: OtlpReceiver = {
    url,
    spans,
    headers,
    answer: 200,
    close: () => closeServer(server),
  };
  return receiver;
}

function readSpans({ resourceSpans }: JsonExport): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap((scope) =>
      scope.spans.map((span) => ({
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId ?? '',
        name: span.name,
        kind: span.kind,
        startedAt: Number(BigInt(span.startTimeUnixNano) / 1_000_000n),
        endedAt: Number(BigInt(span.endTimeUnixNano) / 1_000_000n),
        attributes: readAttributes(span.attributes),
        status: span.status.code,
        resource: readAttributes(resource.attributes),
      })),
    ),
  );
}

function readAttributes(attributes: readonly JsonAttribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
