import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { isTerminalStatus } from '../core/run/snapshot.ts';
import { openStream } from './run-stream.ts';
import type { Fault } from './fault.ts';
import { pause, send, type Answer } from './http-io.ts';
import { PRIVATE_CANARY } from './wire-run.ts';

/** The shortest time between two pieces of a slow body, ms. */
const DRIP_EVERY_MS = 50;
const CHUNK_BYTES = 65_536;

/** Answers a request with a fault. Never rejects; a client that leaves ends it. */
export async function sendFaulty(
  response: ServerResponse,
  exchange: Exchange,
  fault: Fault,
): Promise<void> {
  if (isWrongAnswer(fault)) {
    send(response, wrongAnswer(exchange, fault));
    return;
  }
  if (isStreamFault(fault)) {
    await sendFaultyStream(response, fault);
    return;
  }
  switch (fault.kind) {
    case 'stall':
      if (await pause(response, fault.ms)) send(response, exchange.answer());
      return;
    case 'drip':
      await drip(response, exchange.answer(), fault.ms);
      return;
    case 'reset':
      response.socket?.resetAndDestroy();
      return;
    case 'oversize':
      await sendWithoutLength(response, 200, endlessJson(fault.bytes));
      return;
    case 'garbage':
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(Buffer.from([0x1f, 0x8b, 0xff, 0xfe, 0x00, 0x7b, 0xc3, 0x28]));
      return;
    case 'compressed':
      compress(response, exchange.answer(), fault.encoding);
      return;
    case 'bulky': {
      const { status, body } = exchange.answer();
      await sendWithoutLength(response, status, bulkyPage(body, fault.bytes));
    }
  }
}

function compress(response: ServerResponse, { status, body }: Answer, encoding: 'gzip' | 'br') {
  response.writeHead(status, { 'content-type': 'application/json', 'content-encoding': encoding });
  response.end(encoding === 'gzip' ? gzipSync(body) : brotliCompressSync(body));
}

async function drip(response: ServerResponse, answer: Answer, ms: number): Promise<void> {
  const body = Buffer.from(answer.body);
  const pieces = Math.min(Math.max(1, Math.floor(ms / DRIP_EVERY_MS)), Math.max(1, body.length));
  const pieceBytes = Math.max(1, Math.ceil(body.length / pieces));
  response.writeHead(answer.status, {
    'content-type': 'application/json',
    'content-length': body.length,
  });
  response.flushHeaders();
  for (let at = 0; at < body.length; at += pieceBytes) {
    if (!(await pause(response, ms / pieces))) return;
    response.write(body.subarray(at, at + pieceBytes));
  }
  response.end();
}

/** Sends a body without its length, and holds only a part of it in memory. */
async function sendWithoutLength(
  response: ServerResponse,
  status: number,
  body: Generator<string>,
): Promise<void> {
  response.writeHead(status, { 'content-type': 'application/json' });
  // Clients should disconnect, so an error is the usual end.
  await pipeline(Readable.from(body), response).catch(() => undefined);
}

function* endlessJson(bytes: number): Generator<string> {
  yield `{"definitions":"${PRIVATE_CANARY}`;
  const chunk = 'x'.repeat(CHUNK_BYTES);
  for (let sent = 0; sent < bytes; sent += CHUNK_BYTES) yield chunk.slice(0, bytes - sent);
  yield '"}';
}

/** A page with a document in front of the private fields of each of its runs. */
function* bulkyPage(body: string, bytes: number): Generator<string> {
  const document = `"workflow":{"text":"${PRIVATE_CANARY}${'x'.repeat(bytes)}"},`;
  for (const [place, piece] of body.split('"input":').entries()) {
    yield place === 0 ? piece : `${document}"input":${piece}`;
  }
}

const ANOTHER_ID = '00000000-0000-4000-8000-000000000000';

/** A page as proxies send it, with private data, since error pages may quote requests. */
const HTML_PAGE = `<!doctype html><title>Bad Gateway</title><h1>Bad Gateway</h1><!-- ${PRIVATE_CANARY} -->`;

/** The request that gets a wrong answer. */
export interface Exchange {
  /** Makes the right answer, at the time of the call. */
  answer: () => Answer;
  /** Null for everything but the read or stop of a run. */
  runId: string | null;
  /** When it came, ms since the epoch. */
  at: number;
}

const WRONG_ANSWERS = [
  'status',
  'html',
  'truncated',
  'other_run',
  'wrong_shape',
  'claim',
  'shift',
  'lag',
] as const;

type WrongAnswer = Extract<Fault, { kind: (typeof WRONG_ANSWERS)[number] }>;

/** True for a fault of the answer's content, false for one of its transport. */
function isWrongAnswer(fault: Fault): fault is WrongAnswer {
  return WRONG_ANSWERS.some((kind) => kind === fault.kind);
}

/** The answer that a fault gives in place of the right one. */
function wrongAnswer(exchange: Exchange, fault: WrongAnswer): Answer {
  switch (fault.kind) {
    case 'status':
      return statusAnswer(fault, exchange.at);
    case 'html':
      return { status: 200, body: HTML_PAGE, headers: { 'content-type': 'text/html' } };
    case 'truncated':
      return half(exchange.answer());
    case 'other_run':
      return withAnotherId(exchange.answer(), exchange.runId);
    case 'wrong_shape':
      return { status: 200, body: JSON.stringify({ data: [PRIVATE_CANARY] }) };
    case 'claim':
      return claiming(exchange.answer(), fault, exchange.at);
    case 'shift':
    case 'lag':
      // The fault has changed the request; its answer is right.
      return exchange.answer();
  }
}

type StatusFault = Extract<Fault, { kind: 'status' }>;

function statusAnswer(fault: StatusFault, now: number): Answer {
  const headers = fault.retry_after === undefined ? {} : { 'retry-after': retryAfter(fault, now) };
  if (fault.is_html) {
    return {
      status: fault.status,
      headers: { ...headers, 'content-type': 'text/html' },
      body: HTML_PAGE,
    };
  }
  const detail = `simulated ${fault.status} with ${PRIVATE_CANARY}`;
  return { status: fault.status, headers, body: JSON.stringify({ detail }) };
}

/** Rounds dates up to whole seconds, so that the client waits at least this long. */
function retryAfter(
  { retry_after: seconds = 0, retry_after_form: form }: StatusFault,
  now: number,
) {
  if (form === 'seconds') return String(seconds);
  return new Date(Math.ceil(now / 1_000 + seconds) * 1_000).toUTCString();
}

function half(answer: Answer): Answer {
  return { ...answer, status: 200, body: answer.body.slice(0, answer.body.length / 2) };
}

function withAnotherId(answer: Answer, runId: string | null): Answer {
  return runId === null ? answer : { ...answer, body: answer.body.replace(runId, ANOTHER_ID) };
}

/** The answer with the claimed fields for its run, or for each run of a list. */
function claiming(answer: Answer, fault: Extract<Fault, { kind: 'claim' }>, now: number): Answer {
  if (answer.status !== 200) return answer;
  const claim = {
    status: fault.status,
    ...(fault.progress !== undefined && { progress: fault.progress }),
    finished_at: isTerminalStatus(fault.status)
      ? new Date(now + fault.finished_in_ms).toISOString()
      : null,
  };
  const body = JSON.parse(answer.body) as { items?: { id?: string }[]; id?: string };
  const runs = body.items ?? [body];
  for (const run of runs) if (isChosen(run, fault.one_in)) Object.assign(run, claim);
  return { ...answer, body: JSON.stringify(body) };
}

function isChosen({ id = '' }: { id?: string }, oneIn: number): boolean {
  return createHash('sha256').update(id).digest().readUInt32BE() % oneIn === 0;
}

const STREAM_FAULTS = ['silence', 'drop', 'endless_line'] as const;

type StreamFault = Extract<Fault, { kind: (typeof STREAM_FAULTS)[number] }>;

/** True for faults of event streams. */
function isStreamFault(fault: Fault): fault is StreamFault {
  return STREAM_FAULTS.some((kind) => kind === fault.kind);
}

async function sendFaultyStream(response: ServerResponse, fault: StreamFault): Promise<void> {
  openStream(response);
  switch (fault.kind) {
    case 'silence':
      return;
    case 'drop':
      response.destroy();
      return;
    case 'endless_line':
      // Clients should disconnect.
      await pipeline(Readable.from(endlessLine()), response).catch(() => undefined);
  }
}

function* endlessLine(): Generator<string> {
  yield 'data: ';
  for (;;) yield PRIVATE_CANARY.repeat(1_000);
}
