import type { ServerResponse } from 'node:http';
import type { RunRegistry } from './run-registry.ts';
import {
  eventsAfter,
  isStreamedEnd,
  isUnmentioned,
  nextEventAfter,
  startOf,
  stateEvent,
  type Position,
  type TimelineEvent,
} from './run-timeline.ts';
import { stateAt, type RunScript } from './script.ts';
import type { StreamSettings } from './stream-settings.ts';

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
