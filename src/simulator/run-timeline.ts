import type { RunScript } from './script.ts';
import { stateAt } from './script.ts';
import type { StreamSettings } from './stream-settings.ts';
import { nodeStates, progressDetails, type NodeState } from './workflow-nodes.ts';
import { PRIVATE_CANARY } from './wire-run.ts';

/** Where an event stands among those of its run: it is what `redisId` says. */
export interface Position {
  /** Milliseconds since the run was created. */
  atMs: number;
  /** The order of events at the same time. */
  n: number;
}

export interface TimelineEvent extends Position {
  type: 'state' | 'content';
  data: Record<string, unknown>;
}

/** Places at one time: a `state` event of the rhythm, its `content` events, then those of steps. */
const STATE_PLACE = 0;
const CONTENT_PLACE = 1;
const PLACES_PER_STEP = 10;

/** A resumed stream repeats what came by rhythm of the last minute, and every change before. */
const RHYTHM_REPEATED_MS = 60_000;

/** What a stream without `etag` begins with: where the run stands, or how it ended. */
export function startOf(script: RunScript, elapsedMs: number): Position {
  const index = stepAt(script, elapsedMs);
  const place = PLACES_PER_STEP * (index + 1);
  const isOver = isStreamedEnd(script.steps[index]?.status ?? '');
  const atMs = script.steps[index]?.after_ms ?? 0;
  return isOver
    ? { atMs, n: place - 1 }
    : { atMs: Math.max(elapsedMs, atMs), n: place + PLACES_PER_STEP - 1 };
}

/** True for the statuses that a stream names as `workflow_status` and ends with. */
export function isStreamedEnd(status: string): boolean {
  return status === 'completed' || status === 'failed';
}

/** The events after a position, up to and including a time; the same whenever they are asked for. */
export function* eventsAfter(
  script: RunScript,
  from: Position,
  untilMs: number,
  settings: StreamSettings,
): Generator<TimelineEvent> {
  const rhythmFromMs = untilMs - RHYTHM_REPEATED_MS;
  for (let index = Math.max(0, stepAt(script, from.atMs)); ; index += 1) {
    const step = script.steps[index];
    if (step === undefined || step.after_ms > untilMs) return;
    for (const event of eventsOfStep(script, index, settings)) {
      if (isAfter(event, from)) yield event;
    }
    if (step.status !== 'running') continue;
    const span = {
      beginMs: step.after_ms,
      fromMs: Math.max(from.atMs, rhythmFromMs),
      untilMs: Math.min(untilMs, (script.steps[index + 1]?.after_ms ?? Infinity) - 1),
    };
    for (const event of eventsByRhythm(script, span, settings)) {
      if (isAfter(event, from)) yield event;
    }
  }
}

/** When the next event may come, ms since creation; Infinity where none will. */
export function nextEventAfter(script: RunScript, atMs: number, settings: StreamSettings): number {
  const index = stepAt(script, atMs);
  const step = script.steps[index];
  const nextStep = script.steps[index + 1]?.after_ms ?? Infinity;
  if (step?.status !== 'running') return nextStep;
  const ticks = [settings.state_every_ms, settings.content_every_ms].map((everyMs) =>
    everyMs === 0 ? Infinity : nextTick(step.after_ms, everyMs, atMs),
  );
  return Math.min(nextStep, ...ticks);
}

/** Says where the run stands, as a stream does that begins in the middle. */
export function stateEvent(
  script: RunScript,
  position: Position,
  settings: StreamSettings,
): TimelineEvent {
  const state = stateAt(script, position.atMs);
  const padding = settings.state_bytes === 0 ? {} : { padding: 'x'.repeat(settings.state_bytes) };
  const data = { status: state.status, progress_details: progressDetails(state), ...padding };
  return { ...position, type: 'state', data };
}

export function isUnmentioned(status: string, { silent_on: silent }: StreamSettings): boolean {
  return silent.includes(status) || silent.includes('*');
}

function eventsOfStep(script: RunScript, index: number, settings: StreamSettings): TimelineEvent[] {
  const step = script.steps[index];
  const before = script.steps[index - 1];
  if (step === undefined || step.status === before?.status) return [];
  if (isUnmentioned(step.status, settings)) return [];
  const position = { atMs: step.after_ms, n: PLACES_PER_STEP * (index + 1) };
  const state = stateEvent(script, position, settings);
  if (!isStreamedEnd(step.status)) return [state];
  const changed = changedNodes(nodesBefore(script, index), nodeStates(step));
  const contents = changed.map((node, place): TimelineEvent => {
    const isLast = place === changed.length - 1;
    return {
      atMs: step.after_ms,
      n: position.n + 1 + place,
      type: 'content',
      data: { ...news(node), ...(isLast && { workflow_status: step.status }) },
    };
  });
  return [state, ...contents];
}

/** Where the nodes stood just before a step; steps at the very same time come after one another. */
function nodesBefore(script: RunScript, index: number): NodeState[] {
  const { steps } = script;
  const previous = steps[index - 1] ?? steps[0];
  const atMs = (steps[index] ?? previous).after_ms - 1;
  const progress = atMs > previous.after_ms ? stateAt(script, atMs).progress : previous.progress;
  return nodeStates({ status: previous.status, progress });
}

interface Span {
  /** When the rhythm began. */
  beginMs: number;
  fromMs: number;
  untilMs: number;
}

function* eventsByRhythm(
  script: RunScript,
  span: Span,
  settings: StreamSettings,
): Generator<TimelineEvent> {
  const { state_every_ms: stateMs, content_every_ms: contentMs } = settings;
  const speaks = stateMs > 0 && !isUnmentioned('running', settings);
  let stateAtMs = speaks ? nextTick(span.beginMs, stateMs, span.fromMs - 1) : Infinity;
  let contentAtMs = contentMs > 0 ? nextTick(span.beginMs, contentMs, span.fromMs - 1) : Infinity;
  for (;;) {
    const atMs = Math.min(stateAtMs, contentAtMs);
    if (atMs > span.untilMs) return;
    if (atMs === stateAtMs) {
      yield stateEvent(script, { atMs, n: STATE_PLACE }, settings);
      stateAtMs += stateMs;
    }
    if (atMs === contentAtMs) {
      yield* contentsAt(script, atMs, Math.max(span.beginMs, atMs - contentMs));
      contentAtMs += contentMs;
    }
  }
}

/** What has become of the nodes since, and what the running one has to say. */
function* contentsAt(script: RunScript, atMs: number, sinceMs: number): Generator<TimelineEvent> {
  const nodes = nodeStates(stateAt(script, atMs));
  const changed = changedNodes(nodeStates(stateAt(script, sinceMs)), nodes);
  const running = nodes.filter((node) => node.status === 'running' && !changed.includes(node));
  for (const [place, node] of [...changed, ...running].entries()) {
    yield { atMs, n: CONTENT_PLACE + place, type: 'content', data: news(node) };
  }
}

function changedNodes(before: NodeState[], after: NodeState[]): NodeState[] {
  return after.filter(({ status }, index) => status !== before[index]?.status);
}

function news({ id, status }: NodeState): Record<string, unknown> {
  return { id, status, content: PRIVATE_CANARY };
}

function nextTick(beginMs: number, everyMs: number, afterMs: number): number {
  const ticks = Math.max(1, Math.floor((afterMs - beginMs) / everyMs) + 1);
  return beginMs + ticks * everyMs;
}

function isAfter(event: Position, position: Position): boolean {
  return event.atMs > position.atMs || (event.atMs === position.atMs && event.n > position.n);
}

function stepAt({ steps }: RunScript, elapsedMs: number): number {
  return Math.max(
    0,
    steps.findLastIndex((step) => step.after_ms <= elapsedMs),
  );
}
