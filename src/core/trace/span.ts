import { createHash } from 'node:crypto';
import type { WatchKey } from '../watch/watch.ts';

type AttributeValue = string | number | boolean | readonly string[];

/** A finished operation of a trace. Times are milliseconds since the epoch. */
export interface Span {
  traceId: string;
  spanId: string;
  /** Null for the span of a run, which is the root of its trace. */
  parentId: string | null;
  name: string;
  kind: 'internal' | 'server' | 'client';
  startedAt: number;
  endedAt: number;
  /** Those that are null are left out. */
  attributes: Readonly<Record<string, AttributeValue | null>>;
  /** Why the operation failed; null where it did not. */
  error: string | null;
}

const TRACE_BYTES = 16;
const SPAN_BYTES = 8;

/** The trace of a run: the same in every process, and after every restart. */
export function traceIdOf({ source, runId }: WatchKey): string {
  return digest(['trace', source, runId], TRACE_BYTES);
}

/** The span of a run, parent of all that happens to it. */
export function runSpanId({ source, runId }: WatchKey): string {
  return digest(['run', source, runId], SPAN_BYTES);
}

/** @param from when the state began, milliseconds since the epoch */
export function stateSpanId({ source, runId }: WatchKey, status: string, from: number): string {
  return digest(['state', source, runId, status, `${from}`], SPAN_BYTES);
}

/** The poll that detected events. @param detectedAt as in its events */
export function pollSpanId({ source, runId }: WatchKey, detectedAt: string): string {
  return digest(['poll', source, runId, detectedAt], SPAN_BYTES);
}

/** @param id of the delivery */
export function deliverySpanId(id: string): string {
  return digest(['delivery', id], SPAN_BYTES);
}

/** The value of a `traceparent` header: https://www.w3.org/TR/trace-context/#traceparent-header */
export function traceparent(traceId: string, spanId: string, isSampled: boolean): string {
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`;
}

/** Ids of zeros are invalid; a digest is one with a chance of 2⁻⁶⁴. */
function digest(parts: readonly string[], bytes: number): string {
  const hash = createHash('sha256').update(JSON.stringify(parts));
  return hash.digest('hex').slice(0, 2 * bytes);
}
