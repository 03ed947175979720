import { createHash } from 'node:crypto';
import type { RunwatchEvent } from '../core/event/event.ts';
import type { RunLinks } from '../core/run/links.ts';
import {
  attemptBeganAt,
  isTerminalStatus,
  timeOf,
  type RunSnapshot,
} from '../core/run/snapshot.ts';
import { isRestart, isSameEnd, watchedSince } from '../core/watch/attempt.ts';
import { finishedAt, type Watch, type WatchKey } from '../core/watch/watch.ts';
import type { Attempt, Delivery } from '../core/delivery/delivery.ts';
import { countedReceiver, shownReceiver } from '../core/delivery/receiver.ts';

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
function runSpanId({ source, runId }: WatchKey): string {
  return digest(['run', source, runId], SPAN_BYTES);
}

/** The span of a later attempt of a run, which is a child of that of the run. */
function attemptSpanId({ source, runId }: WatchKey, attempt: number): string {
  return digest(['attempt', source, runId, `${attempt}`], SPAN_BYTES);
}

/** @param from when the state began, milliseconds since the epoch */
function stateSpanId({ source, runId }: WatchKey, status: string, from: number): string {
  return digest(['state', source, runId, status, `${from}`], SPAN_BYTES);
}

/** The poll that detected events. @param detectedAt as in its events */
function pollSpanId({ source, runId }: WatchKey, detectedAt: string): string {
  return digest(['poll', source, runId, detectedAt], SPAN_BYTES);
}

/** @param id of the delivery */
function deliverySpanId(id: string): string {
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

/** A change of a watch, as its spans need it. */
interface TracedChange {
  before: Watch;
  after: Watch;
  links: RunLinks;
}

interface TracedPoll {
  events: readonly RunwatchEvent[];
  /** What it answered, such as `run` or `not_found`. */
  outcome: string;
  /** By what the change became known first. */
  knownBy: string;
  lagMs: number;
  durationMs: number;
}

/** The spans that end with a change: states that the run left, and the run with its watch. */
export function spansOfChange(change: TracedChange, now: number): Span[] {
  const { before, after } = change;
  const states = endedStates(before, after, now).map((state) => stateSpan(after, state));
  const isOver = before.state === 'active' && after.state !== 'active';
  return isOver && !isSameEnd(before, after) ? [...states, runSpan(change, now)] : states;
}

/** The span of a poll; none where it yielded no events. */
export function pollSpan(
  key: WatchKey,
  { events, outcome, knownBy, lagMs, durationMs }: TracedPoll,
): Span[] {
  const [first] = events;
  if (first === undefined) return [];
  const endedAt = Date.parse(first.data.detected_at);
  return [
    {
      ...childOf(key),
      spanId: pollSpanId(key, first.data.detected_at),
      name: 'poll',
      kind: 'client',
      startedAt: endedAt - durationMs,
      endedAt,
      attributes: {
        'runwatch.source': key.source,
        'runwatch.poll.outcome': outcome,
        'runwatch.poll.known_by': knownBy,
        'runwatch.poll.lag_ms': lagMs,
        'runwatch.event.types': events.map(({ type }) => type),
        'runwatch.event.ids': events.map(({ id }) => id),
        'runwatch.detection_delay_ms': first.data.detection_delay_ms,
      },
      error: null,
    },
  ];
}

function childOf(key: WatchKey): Pick<Span, 'traceId' | 'parentId'> {
  return { traceId: traceIdOf(key), parentId: runSpanId(key) };
}

/** A state that a run left. Times are milliseconds since the epoch. */
interface EndedState {
  status: string;
  from: number;
  until: number;
}

/** The source dates the creation, start and end of a run; other changes are dated by their poll. */
function endedStates(before: Watch, after: Watch, now: number): EndedState[] {
  const { run } = after;
  // Nothing shows how the earlier attempt came to its end.
  if (run === null || before.run?.status === run.status || isRestart(before, after)) return [];
  const until = isTerminalStatus(run.status) ? (timeOf(run.finished_at) ?? now) : now;
  const left = before.run?.status ?? 'queued';
  if (left === 'queued') return statesSinceCreation(run, until);
  return [{ status: left, from: enteredAt(before) ?? before.changedAt, until }];
}

/** The states before the present one of a run that was last seen in its queue, or never. */
function statesSinceCreation(run: RunSnapshot, until: number): EndedState[] {
  const createdAt = timeOf(attemptBeganAt(run));
  const startedAt = timeOf(run.started_at);
  if (run.status === 'queued' || createdAt === null) return [];
  const queued = { status: 'queued', from: createdAt, until: startedAt ?? until };
  return startedAt === null || run.status === 'running'
    ? [queued]
    : [queued, { status: 'running', from: startedAt, until }];
}

/** When the first running state began, by the source's account; null for every other state. */
function enteredAt({ run, phases }: Watch): number | null {
  if (run?.status !== 'running') return null;
  const isFirst = phases.every(({ state }) => /^(queued|running)/.test(state));
  return isFirst ? timeOf(run.started_at) : null;
}

function stateSpan(watch: Watch, { status, from, until }: EndedState): Span {
  return {
    ...childOf(watch),
    spanId: stateSpanId(watch, status, from),
    name: status,
    kind: 'internal',
    startedAt: from,
    // Clocks of the source and of the store may differ.
    endedAt: Math.max(from, until),
    attributes: {
      'cicd.pipeline.run.id': watch.runId,
      'cicd.pipeline.run.state': status === 'queued' ? 'pending' : 'executing',
      'runwatch.run.status': status,
    },
    error: null,
  };
}

/** Names by https://opentelemetry.io/docs/specs/semconv/cicd/cicd-spans/#pipeline-run. */
function runSpan({ after, links }: TracedChange, now: number): Span {
  const { workflowName, runUrl } = links;
  const workflowId = after.run?.workflow_id ?? null;
  const { result, error } = resultOf(after);
  return {
    traceId: traceIdOf(after),
    ...ofAttempt(after),
    name: workflowName === null ? 'RUN' : `RUN ${workflowName}`,
    kind: 'server',
    ...timesOfRun(after, now),
    attributes: {
      'cicd.pipeline.action.name': 'RUN',
      'cicd.pipeline.name': workflowName ?? workflowId,
      'cicd.pipeline.run.id': after.runId,
      'cicd.pipeline.run.url.full': runUrl,
      'cicd.pipeline.result': result,
      'error.type': error?.type ?? null,
      'runwatch.source': after.source,
      'runwatch.workflow.id': workflowId,
      'runwatch.watch.state': after.state,
      'runwatch.polls': after.polls,
      'runwatch.run.attempt': after.attempt,
    },
    error: error?.message ?? null,
  };
}

/** Each span of a trace has an id of its own, and so has each attempt that ends. */
function ofAttempt(watch: Watch): Pick<Span, 'spanId' | 'parentId'> {
  const { attempt } = watch;
  if (attempt === null || attempt === 1) return { spanId: runSpanId(watch), parentId: null };
  return { spanId: attemptSpanId(watch, attempt), parentId: runSpanId(watch) };
}

/** By the source's account where it gives times; else from the registration to now. */
function timesOfRun(watch: Watch, now: number): Pick<Span, 'startedAt' | 'endedAt'> {
  const startedAt = Math.min(
    timeOf(watch.run && attemptBeganAt(watch.run)) ?? watchedSince(watch),
    now,
  );
  return { startedAt, endedAt: Math.max(startedAt, finishedAt(watch) ?? now) };
}

interface RunResult {
  /** Null where the run goes on, unwatched. */
  result: string | null;
  error?: { type: string; message: string };
}

/** `failure`: the run failed. `error`: its result cannot be known. */
function resultOf({ state, run, gone }: Watch): RunResult {
  switch (state) {
    case 'finished':
      return resultOfRun(run);
    case 'expired':
      return { result: 'timeout' };
    case 'gone': {
      const message = gone?.message ?? 'the run does not exist';
      return { result: 'error', error: { type: gone?.code ?? 'not_found', message } };
    }
    case 'cancelled':
    case 'active':
      return { result: null };
  }
}

function resultOfRun(run: RunSnapshot | null): RunResult {
  if (run?.status === 'completed') return { result: 'success' };
  if (run?.status === 'stopped') return { result: 'cancellation' };
  return { result: 'failure', error: { type: 'run_failed', message: 'the run failed' } };
}

/**
 * The span of a delivery that is settled. Its parent is the poll that detected its event.
 * @param body the event's JSON text; null when the store no longer has it
 */
export function deliverySpan(delivery: Delivery, body: string | null, now: number): Span {
  const { id, eventId, eventType, endpoint, state, attemptCount, createdAt, last } = delivery;
  const error = state === 'dead' ? (last?.error ?? null) : null;
  return {
    ...childOf(delivery),
    ...(body !== null && { parentId: pollOf(delivery, body) }),
    spanId: deliverySpanId(id),
    name: `deliver ${countedReceiver(endpoint)}`,
    kind: 'internal',
    startedAt: createdAt,
    endedAt: Math.max(createdAt, now),
    attributes: {
      'runwatch.delivery.id': id,
      'runwatch.delivery.state': state,
      'runwatch.delivery.attempts': attemptCount,
      'runwatch.endpoint': shownReceiver(endpoint),
      'runwatch.event.id': eventId,
      'runwatch.event.type': eventType,
      'error.type': error?.code ?? null,
    },
    error: error?.message ?? null,
  };
}

function pollOf(delivery: Delivery, body: string): string {
  const { data } = JSON.parse(body) as Pick<RunwatchEvent, 'data'>;
  return pollSpanId(delivery, data.detected_at);
}

/** Names by https://opentelemetry.io/docs/specs/semconv/http/http-spans/ where a request was made. */
export function attemptSpan(delivery: Delivery, attempt: Attempt, spanId: string): Span {
  const { at, durationMs, status, error } = attempt;
  return {
    traceId: traceIdOf(delivery),
    parentId: deliverySpanId(delivery.id),
    spanId,
    name: 'attempt',
    kind: 'client',
    startedAt: at,
    endedAt: at + durationMs,
    attributes: {
      'runwatch.endpoint': shownReceiver(delivery.endpoint),
      'http.response.status_code': status,
      'error.type': error?.code ?? null,
    },
    error: error?.message ?? null,
  };
}
