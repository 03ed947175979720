import { signal } from '@preact/signals';
import { SseParser } from '../../core/event/sse.ts';
import type { EventView } from '../../client/types.ts';
import { released } from '../app/press.ts';
import { href } from '../app/router.ts';
import { ApiError, isOver, problemOf, send } from './request.ts';
import { doubtSession, loadSession, sessionHeader } from './session.ts';

/** How the event stream does. Times are milliseconds since the epoch. */
type Connection = { kind: 'connecting' | 'live' } | Reconnecting;

interface Reconnecting {
  kind: 'reconnecting';
  since: number;
  why: string;
  /** The code of the API's problem, if it was one. */
  code: string | null;
}

export const connection = signal<Connection>({ kind: 'connecting' });

/** True while the user holds the screens still. */
export const isPaused = signal(false);

/** Changes that came while the screens were held still. */
export const heldBack = signal(0);

/** What a screen hears: events in order, or null where it should load all anew. */
type Listener = (events: readonly EventView[] | null) => void;

const listeners = new Set<Listener>();

/** @returns stops listening */
export function onLive(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Events are passed on together, so that a screen is drawn a few times a second at most, ms. */
const GATHER_MS = 200;

/** Beyond this, loading anew is cheaper than applying each. */
const MAX_GATHERED = 500;

/** Largest event that is held, bytes. */
const MAX_EVENT_BYTES = 1_048_576;

/** The daemon sends a heartbeat every 15 s; longer silence means that the connection is dead, ms. */
const SILENCE_MS = 40_000;

const RETRY_MS = { first: 500, most: 5_000 };

let gathered: EventView[] | null = [];
let timer: number | undefined;

function publish(event: EventView | null): void {
  if (event === null || gathered === null || gathered.length >= MAX_GATHERED) gathered = null;
  else gathered.push(event);
  if (isPaused.peek()) heldBack.value += 1;
  else timer ??= window.setTimeout(() => void flush(), GATHER_MS);
}

async function flush(): Promise<void> {
  await released();
  timer = undefined;
  if (isPaused.peek()) {
    heldBack.value = Math.max(heldBack.peek(), gathered?.length ?? 1);
    return;
  }
  const events = gathered;
  gathered = [];
  for (const listener of listeners) listener(events);
}

export function togglePause(): void {
  isPaused.value = !isPaused.peek();
  if (isPaused.peek()) return;
  if (heldBack.peek() > 0) void flush();
  heldBack.value = 0;
}

/**
 * Follows the event stream until `stop` aborts; after each break it goes on from the last event. It lets
 * go of the connection while the page is hidden, since browsers allow few of them for one server.
 */
export async function follow(stop: AbortSignal): Promise<void> {
  const position: Position = { lastId: null };
  let failures = 0;
  while (!stop.aborted) {
    await whileHidden();
    const hidden = abortWhenHidden(stop);
    try {
      await readStream(position, hidden.signal, () => (failures = 0));
      throw new ApiError('The daemon ended the stream.', { status: 0, code: 'unreachable' });
    } catch (error) {
      await released();
      if (stop.aborted) return;
      if (hidden.signal.aborted) continue;
      if (error instanceof ApiError && isOver(error)) return doubtSession();
      failures += 1;
      lost(error);
    } finally {
      hidden.stop();
    }
    await pause(Math.min(RETRY_MS.first * 2 ** (failures - 1), RETRY_MS.most));
  }
}

interface Position {
  /** The last event that came; null before the first connection. */
  lastId: string | null;
}

function lost(error: unknown): void {
  const why = error instanceof Error ? error.message : String(error);
  const before = connection.peek();
  const since = before.kind === 'reconnecting' ? before.since : Date.now();
  const code = error instanceof ApiError ? error.code : null;
  connection.value = { kind: 'reconnecting', since, why, code };
}

async function readStream(
  position: Position,
  stop: AbortSignal,
  onOpen: () => void,
): Promise<void> {
  const silence = new AbortController();
  const headers: Record<string, string> =
    position.lastId === null ? {} : { 'last-event-id': position.lastId };
  const response = await send(href('/v1/events/stream'), {
    headers: { accept: 'text/event-stream', ...sessionHeader(), ...headers },
    signal: AbortSignal.any([stop, silence.signal]),
  });
  if (!response.ok || response.body === null) {
    throw problemOf(response.status, await response.text());
  }
  await released();
  const isResumed = position.lastId !== null;
  position.lastId ??= response.headers.get('runwatch-cursor');
  // What changed between the page's first answers and the stream, or what no event says.
  if (isResumed && connection.peek().kind === 'reconnecting') publish(null);
  connection.value = { kind: 'live' };
  onOpen();
  const renewal = window.setInterval(() => void renew(), RENEW_EVERY_MS);
  await readBody(response.body, position, silence).finally(() => window.clearInterval(renewal));
}

/** A session that follows events is in use, while no answer comes that could renew its cookie, ms. */
const RENEW_EVERY_MS = 1_800_000;

async function renew(): Promise<void> {
  try {
    await loadSession();
  } catch {
    // The screens say that the daemon is away; it is asked again at the next turn.
  }
}

async function readBody(
  body: ReadableStream<Uint8Array>,
  position: Position,
  silence: AbortController,
): Promise<void> {
  const parser = new SseParser(MAX_EVENT_BYTES);
  const reader = body.getReader();
  for (;;) {
    const watchdog = window.setTimeout(() => silence.abort(), SILENCE_MS);
    const { value, done } = await reader.read().finally(() => window.clearTimeout(watchdog));
    if (done) return;
    for (const { id, event, data } of parser.push(value)) {
      position.lastId = id ?? position.lastId;
      if (event === 'reset') publish(null);
      else if (data !== null) publish(ofRun(JSON.parse(data) as EventView | OwnEvent));
    }
  }
}

interface OwnEvent {
  data: object;
}

/** An event about no run says too little: what is shown is loaded anew. */
function ofRun(event: EventView | OwnEvent): EventView | null {
  return 'watch' in event.data ? (event as EventView) : null;
}

function whileHidden(): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const shown = () => {
      if (document.hidden) return;
      document.removeEventListener('visibilitychange', shown);
      publish(null);
      resolve();
    };
    document.addEventListener('visibilitychange', shown);
  });
}

function abortWhenHidden(stop: AbortSignal) {
  const hidden = new AbortController();
  const changed = () => {
    if (document.hidden) hidden.abort();
  };
  document.addEventListener('visibilitychange', changed);
  return {
    signal: AbortSignal.any([stop, hidden.signal]),
    stop: () => document.removeEventListener('visibilitychange', changed),
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    window.setTimeout(resolve, ms);
  });
}
