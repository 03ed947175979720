import type { ServerResponse } from 'node:http';
import type { RunRegistry } from './run-registry.ts';
import { stateAt, stepAt, type RunScript, type StreamSettings } from './script.ts';
import { PRIVATE_CANARY } from './wire-run.ts';
import { nodeStates, progressDetails, type NodeState } from './workflow.ts';

/** The longest wait before the next reading of the clock, ms, since tests move the clock. */
const MAX_WAIT_MS = 1_000;
const MIN_WAIT_MS = 5;

/** Interval of comments that keep a silent stream open, ms. */
const PING_EVERY_MS = 15_000;

/** A client with more unread bytes than this is disconnected. */
const MAX_UNREAD_BYTES = 8_388_608;

/** Counts of a simulator's event streams. */
export interface StreamCounts {
  /** All streams so far. */
  opened: number;
  /** Of these, those that were asked for behind an event, by `etag`. */
  resumed: number;
  open: number;
  /** The most that were open at once. */
  maxOpen: number;
}

interface StreamOptions {
  runs: RunRegistry;
  runId: string;
  settings: StreamSettings;
  /** The `redisId` of the client's last event; null for a new stream. */
  etag: string | null;
  /** When the connection breaks, ms; null for never. */
  dropAfterMs: number | null;
  /** A false status for every `state` event; null for the true one. */
  claimed: string | null;
}

/**
 * `GET /v1/runs/{run_id}/events`: `state` events carry the status of the run, `content` events that of
 * a node. The last event of a completed or failed run carries `workflow_status`.
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

/** Sends the headers of an event stream. */
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

  /** Sends the events since the last call, and sets a timer for the next one. */
  advance(): void {
    this.stop();
    const { runs, runId, settings } = this.#options;
    const moment = runs.moment(runId);
    if (moment === null) {
      this.#response.end();
      return;
    }
    const { script, elapsedMs } = moment;
    if (elapsedMs >= script.deleted_after_ms) {
      this.#response.end();
      return;
    }
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
    const nextMs = Math.min(nextEventAfter(script, elapsedMs, settings), script.deleted_after_ms);
    const waitMs = nextMs - elapsedMs;
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
    if (!isStreamedEnd(status) && !isSilentOn(status, settings)) {
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
    if (isSilentOn(status, settings)) return false;
    return isStreamedEnd(status) || (status === 'stopped' && settings.on_stop === 'end');
  }
}

/** Parses a `redisId`; null for an id of another form. */
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

/** The position of an event among those of its run, from which `redisId` is made. */
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

/** The order at one time: a periodic `state` event, periodic `content` events, events of steps. */
const STATE_ORDER = 0;
const CONTENT_ORDER = 1;
const ORDERS_PER_STEP = 10;

/** A resumed stream repeats periodic events of this time only, ms, but all changes of status. */
const PERIODIC_REPEATED_MS = 60_000;

/** The start of a stream without `etag`: the present state, or the end of the run. */
function startOf(script: RunScript, elapsedMs: number): Position {
  const index = stepAt(script.steps, elapsedMs);
  const place = ORDERS_PER_STEP * (index + 1);
  const isOver = isStreamedEnd(script.steps[index]?.status ?? '');
  const atMs = script.steps[index]?.after_ms ?? 0;
  return isOver
    ? { atMs, n: place - 1 }
    : { atMs: Math.max(elapsedMs, atMs), n: place + ORDERS_PER_STEP - 1 };
}

/** True for statuses that end a stream with `workflow_status`. */
function isStreamedEnd(status: string): boolean {
  return status === 'completed' || status === 'failed';
}

/** The events after a position, up to and including a time; always the same for one script. */
function* eventsAfter(
  script: RunScript,
  from: Position,
  untilMs: number,
  settings: StreamSettings,
): Generator<TimelineEvent> {
  const periodicFromMs = untilMs - PERIODIC_REPEATED_MS;
  for (let index = Math.max(0, stepAt(script.steps, from.atMs)); ; index += 1) {
    const step = script.steps[index];
    if (step === undefined || step.after_ms > untilMs) return;
    for (const event of eventsOfStep(script, index, settings)) {
      if (isAfter(event, from)) yield event;
    }
    if (step.status !== 'running') continue;
    const span = {
      beginMs: step.after_ms,
      fromMs: Math.max(from.atMs, periodicFromMs),
      untilMs: Math.min(untilMs, (script.steps[index + 1]?.after_ms ?? Infinity) - 1),
    };
    for (const event of periodicEvents(script, span, settings)) {
      if (isAfter(event, from)) yield event;
    }
  }
}

/** The time of the next possible event, ms since creation; Infinity for none. */
function nextEventAfter(script: RunScript, atMs: number, settings: StreamSettings): number {
  const index = stepAt(script.steps, atMs);
  const step = script.steps[index];
  const nextStep = script.steps[index + 1]?.after_ms ?? Infinity;
  if (step?.status !== 'running') return nextStep;
  const ticks = [settings.state_every_ms, settings.content_every_ms].map((everyMs) =>
    everyMs === 0 ? Infinity : nextTick(step.after_ms, everyMs, atMs),
  );
  return Math.min(nextStep, ...ticks);
}

/** A `state` event for the state of the run at a position. */
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

function isSilentOn(status: string, { silent_on: silent }: StreamSettings): boolean {
  return silent.includes(status) || silent.includes('*');
}

function eventsOfStep(script: RunScript, index: number, settings: StreamSettings): TimelineEvent[] {
  const step = script.steps[index];
  const before = script.steps[index - 1];
  if (step === undefined || step.status === before?.status) return [];
  if (isSilentOn(step.status, settings)) return [];
  const position = { atMs: step.after_ms, n: ORDERS_PER_STEP * (index + 1) };
  const state = stateEvent(script, position, settings);
  if (!isStreamedEnd(step.status)) return [state];
  const changed = changedNodes(nodesBefore(script, index), nodeStates(step));
  const contents = changed.map((node, place): TimelineEvent => {
    const isLast = place === changed.length - 1;
    return {
      atMs: step.after_ms,
      n: position.n + 1 + place,
      type: 'content',
      data: { ...nodeUpdate(node), ...(isLast && { workflow_status: step.status }) },
    };
  });
  return [state, ...contents];
}

/** The nodes' states just before a step; steps at the same time count one after another. */
function nodesBefore(script: RunScript, index: number): NodeState[] {
  const { steps } = script;
  const previous = steps[index - 1] ?? steps[0];
  const atMs = (steps[index] ?? previous).after_ms - 1;
  const progress = atMs > previous.after_ms ? stateAt(script, atMs).progress : previous.progress;
  return nodeStates({ status: previous.status, progress });
}

interface Span {
  /** The start of the periodic events. */
  beginMs: number;
  fromMs: number;
  untilMs: number;
}

function* periodicEvents(
  script: RunScript,
  span: Span,
  settings: StreamSettings,
): Generator<TimelineEvent> {
  const { state_every_ms: stateMs, content_every_ms: contentMs } = settings;
  const hasStates = stateMs > 0 && !isSilentOn('running', settings);
  let stateAtMs = hasStates ? nextTick(span.beginMs, stateMs, span.fromMs - 1) : Infinity;
  let contentAtMs = contentMs > 0 ? nextTick(span.beginMs, contentMs, span.fromMs - 1) : Infinity;
  for (;;) {
    const atMs = Math.min(stateAtMs, contentAtMs);
    if (atMs > span.untilMs) return;
    if (atMs === stateAtMs) {
      yield stateEvent(script, { atMs, n: STATE_ORDER }, settings);
      stateAtMs += stateMs;
    }
    if (atMs === contentAtMs) {
      yield* contentsAt(script, atMs, Math.max(span.beginMs, atMs - contentMs));
      contentAtMs += contentMs;
    }
  }
}

/** The nodes that have changed, and one update of the running node. */
function* contentsAt(script: RunScript, atMs: number, sinceMs: number): Generator<TimelineEvent> {
  const nodes = nodeStates(stateAt(script, atMs));
  const changed = changedNodes(nodeStates(stateAt(script, sinceMs)), nodes);
  const running = nodes.filter((node) => node.status === 'running' && !changed.includes(node));
  for (const [place, node] of [...changed, ...running].entries()) {
    yield { atMs, n: CONTENT_ORDER + place, type: 'content', data: nodeUpdate(node) };
  }
}

function changedNodes(before: NodeState[], after: NodeState[]): NodeState[] {
  return after.filter(({ status }, index) => status !== before[index]?.status);
}

function nodeUpdate({ id, status }: NodeState): Record<string, unknown> {
  return { id, status, content: PRIVATE_CANARY };
}

function nextTick(beginMs: number, everyMs: number, afterMs: number): number {
  const ticks = Math.max(1, Math.floor((afterMs - beginMs) / everyMs) + 1);
  return beginMs + ticks * everyMs;
}

function isAfter(event: Position, position: Position): boolean {
  return event.atMs > position.atMs || (event.atMs === position.atMs && event.n > position.n);
}
