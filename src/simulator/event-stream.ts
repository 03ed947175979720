import type { ServerResponse } from 'node:http';
import type { RunRegistry } from './run-registry.ts';
import { stateAt, type RunScript, type StreamSettings } from './script.ts';
import { PRIVATE_CANARY } from './wire-run.ts';
import { nodeStates, progressDetails, type NodeState } from './workflow.ts';

/** Longest wait before the clock of the simulator is read again, ms: tests move it. */
const MAX_WAIT_MS = 1_000;
const MIN_WAIT_MS = 5;

/** Shows that a silent stream is alive. */
const PING_EVERY_MS = 15_000;

/** A client that does not read is cut off beyond this. */
const MAX_UNREAD_BYTES = 8_388_608;

/** What is known of the streams of a simulator. */
export interface StreamBook {
  /** How many were ever opened, whatever became of them. */
  opened: number;
  open: number;
  /** The most that were ever open at once. */
  maxOpen: number;
}

interface StreamOptions {
  runs: RunRegistry;
  runId: string;
  settings: StreamSettings;
  /** The `redisId` of the last event that the client has; null where it begins. */
  etag: string | null;
  /** When the connection breaks, ms; null for never. */
  dropAfterMs: number | null;
  /** The status that every `state` event claims, whatever is true; null for the true one. */
  claimed: string | null;
}

/**
 * `GET /v1/runs/{run_id}/events`: `state` events say where the run stands, `content` events where
 * its nodes do. The last one of a run that completes or fails carries `workflow_status`.
 */
export async function streamEvents(
  response: ServerResponse,
  options: StreamOptions,
): Promise<void> {
  const { runs, runId, dropAfterMs } = options;
  openStream(response);
  const stream = new RunStream(response, options);
  const stopListening = runs.onChange(runId, () => stream.advance());
  const ping = setInterval(() => response.write(': ping\n\n'), PING_EVERY_MS);
  const drop = dropAfterMs === null ? null : setTimeout(() => response.destroy(), dropAfterMs);
  stream.advance();
  await untilClosed(response);
  stream.stop();
  stopListening();
  clearInterval(ping);
  if (drop !== null) clearTimeout(drop);
}

/** Says 200 and that events are to come. */
export function openStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  response.flushHeaders();
}

class RunStream {
  readonly #response: ServerResponse;
  readonly #options: StreamOptions;
  #position: Position | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(response: ServerResponse, options: StreamOptions) {
    this.#response = response;
    this.#options = options;
  }

  /** Sends what has come since, and waits for what comes next. */
  advance(): void {
    this.stop();
    const { runs, runId, settings } = this.#options;
    const moment = runs.moment(runId);
    if (moment === null) {
      this.#response.end();
      return;
    }
    const { script, elapsedMs } = moment;
    const from = this.#position ?? this.#begin(script, elapsedMs);
    this.#position = from;
    for (const event of eventsAfter(script, from, elapsedMs, settings)) {
      this.#position = event;
      this.#send(script, event);
    }
    if (this.#isOver(stateAt(script, elapsedMs).status)) {
      this.#response.end();
      return;
    }
    const waitMs = nextEventAfter(script, elapsedMs, settings) - elapsedMs;
    const boundedMs = Math.min(Math.max(waitMs, MIN_WAIT_MS), MAX_WAIT_MS);
    this.#timer = setTimeout(() => this.advance(), boundedMs);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #begin(script: RunScript, elapsedMs: number): Position {
    const { settings, etag } = this.#options;
    const resumed = settings.resumes ? positionOf(etag, script) : null;
    if (resumed !== null) return resumed;
    const start = startOf(script, elapsedMs);
    const { status } = stateAt(script, start.atMs);
    if (!isStreamedEnd(status) && !isUnmentioned(status, settings)) {
      this.#send(script, stateEvent(script, start, settings));
    }
    return start;
  }

  #send(script: RunScript, { type, data, atMs, n }: TimelineEvent): void {
    const { claimed } = this.#options;
    const said = claimed !== null && type === 'state' ? { ...data, status: claimed } : data;
    const redisId = `${Date.parse(script.created_at) + atMs}-${n}`;
    const text = JSON.stringify({ type, data: said, redisId });
    this.#response.write(`event: message\ndata: ${text}\n\n`);
    if (this.#response.writableLength > MAX_UNREAD_BYTES) this.#response.destroy();
  }

  #isOver(status: string): boolean {
    const { settings } = this.#options;
    if (isUnmentioned(status, settings)) return false;
    return isStreamedEnd(status) || (status === 'stopped' && settings.on_stop === 'end');
  }
}

/** Reads a `redisId` back; null for what is none of this run. */
function positionOf(etag: string | null, script: RunScript): Position | null {
  const [, ms, n] = /^(\d{1,15})-(\d{1,6})$/.exec(etag ?? '') ?? [];
  if (ms === undefined || n === undefined) return null;
  return { atMs: Number(ms) - Date.parse(script.created_at), n: Number(n) };
}

async function untilClosed(response: ServerResponse): Promise<void> {
  await new Promise((resolve) => {
    if (response.closed) resolve(null);
    else response.once('close', resolve);
  });
}

/** Where an event stands among those of its run: it is what `redisId` says. */
interface Position {
  /** Milliseconds since the run was created. */
  atMs: number;
  /** The order of events at the same time. */
  n: number;
}

interface TimelineEvent extends Position {
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
function startOf(script: RunScript, elapsedMs: number): Position {
  const index = stepAt(script, elapsedMs);
  const place = PLACES_PER_STEP * (index + 1);
  const isOver = isStreamedEnd(script.steps[index]?.status ?? '');
  const atMs = script.steps[index]?.after_ms ?? 0;
  return isOver
    ? { atMs, n: place - 1 }
    : { atMs: Math.max(elapsedMs, atMs), n: place + PLACES_PER_STEP - 1 };
}

/** True for the statuses that a stream names as `workflow_status` and ends with. */
function isStreamedEnd(status: string): boolean {
  return status === 'completed' || status === 'failed';
}

/** The events after a position, up to and including a time; the same whenever they are asked for. */
function* eventsAfter(
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
function nextEventAfter(script: RunScript, atMs: number, settings: StreamSettings): number {
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
function stateEvent(
  script: RunScript,
  position: Position,
  settings: StreamSettings,
): TimelineEvent {
  const state = stateAt(script, position.atMs);
  const padding = settings.state_bytes === 0 ? {} : { padding: 'x'.repeat(settings.state_bytes) };
  const data = { status: state.status, progress_details: progressDetails(state), ...padding };
  return { ...position, type: 'state', data };
}

function isUnmentioned(status: string, { silent_on: silent }: StreamSettings): boolean {
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
