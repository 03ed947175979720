import { assertNever } from '../errors.ts';
import type { RunwatchEvent } from '../event/event.ts';
import type { RunLinks } from '../run/links.ts';
import { isTerminalStatus, timeOf, type RunSnapshot } from '../run/snapshot.ts';
import { finishedAt, type Watch, type WatchKey } from '../watch/watch.ts';
import { pollSpanId, runSpanId, stateSpanId, traceIdOf, type Span } from './span.ts';

/** A change of a watch, as its spans need it. */
export interface TracedChange {
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
  return before.state === 'active' && after.state !== 'active'
    ? [...states, runSpan(change, now)]
    : states;
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

export function childOf(key: WatchKey): Pick<Span, 'traceId' | 'parentId'> {
  return { traceId: traceIdOf(key), parentId: runSpanId(key) };
}

/** A state that a run left. Times are milliseconds since the epoch. */
interface EndedState {
  status: string;
  from: number;
  until: number;
}

/** Noxus dates the creation, start and end of a run; other changes are dated by their poll. */
function endedStates(before: Watch, { run }: Watch, now: number): EndedState[] {
  if (run === null || before.run?.status === run.status) return [];
  const until = isTerminalStatus(run.status) ? (timeOf(run.finished_at) ?? now) : now;
  const left = before.run?.status ?? 'queued';
  if (left === 'queued') return statesSinceCreation(run, until);
  return [{ status: left, from: enteredAt(before) ?? before.changedAt, until }];
}

/** The states before the present one of a run that was last seen in its queue, or never. */
function statesSinceCreation(run: RunSnapshot, until: number): EndedState[] {
  const createdAt = timeOf(run.created_at);
  const startedAt = timeOf(run.started_at);
  if (run.status === 'queued' || createdAt === null) return [];
  const queued = { status: 'queued', from: createdAt, until: startedAt ?? until };
  return startedAt === null || run.status === 'running'
    ? [queued]
    : [queued, { status: 'running', from: startedAt, until }];
}

/** When the first running state began, by Noxus's account; null for every other state. */
function enteredAt({ run, phases, changedAt }: Watch): number | null {
  if (run?.status !== 'running') return null;
  const startedAt = timeOf(run.started_at);
  const isFirst = phases.every(({ state }) => /^(queued|running)/.test(state));
  return startedAt === null || !isFirst ? null : Math.min(startedAt, changedAt);
}

function stateSpan(watch: Watch, { status, from, until }: EndedState): Span {
  return {
    ...childOf(watch),
    spanId: stateSpanId(watch, status, from),
    name: status,
    kind: 'internal',
    startedAt: from,
    // Clocks of Noxus and of the store may differ.
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
    spanId: runSpanId(after),
    parentId: null,
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
    },
    error: error?.message ?? null,
  };
}

/** By Noxus's account where it gives times; else from the registration to now. */
function timesOfRun(watch: Watch, now: number): Pick<Span, 'startedAt' | 'endedAt'> {
  const startedAt = Math.min(timeOf(watch.run?.created_at) ?? watch.registeredAt, now);
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
    default:
      return assertNever(state);
  }
}

function resultOfRun(run: RunSnapshot | null): RunResult {
  if (run?.status === 'completed') return { result: 'success' };
  if (run?.status === 'stopped') return { result: 'cancellation' };
  return { result: 'failure', error: { type: 'run_failed', message: 'the run failed' } };
}
