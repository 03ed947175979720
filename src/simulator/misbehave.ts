import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Fault } from './fault.ts';
import { pause, send, type Answer } from './http-io.ts';
import { PRIVATE_CANARY } from './wire-run.ts';

/** Shortest time between two pieces of a body that drips. */
const DRIP_EVERY_MS = 50;
const CHUNK_BYTES = 65_536;
const ANOTHER_ID = '00000000-0000-4000-8000-000000000000';

/** A page as proxies and load balancers send it; error pages have been known to quote requests. */
const HTML_PAGE = `<!doctype html><title>Bad Gateway</title><h1>Bad Gateway</h1><!-- ${PRIVATE_CANARY} -->`;

interface Exchange {
  response: ServerResponse;
  /** Makes the answer that would have been given; asked for as late as possible. */
  answer: () => Answer;
  /** Null for everything but the read of a run. */
  runId: string | null;
  now: () => number;
}

/** Answers a request as the fault wants it. Never rejects: a client that goes away ends it. */
export async function misbehave(exchange: Exchange, fault: Fault): Promise<void> {
  const { response } = exchange;
  switch (fault.kind) {
    case 'status':
      send(response, statusAnswer(fault, exchange.now()));
      return;
    case 'stall':
      if (await pause(response, fault.ms)) send(response, exchange.answer());
      return;
    case 'drip':
      await drip(response, exchange.answer(), fault.ms);
      return;
    case 'reset':
      response.socket?.resetAndDestroy();
      return;
    case 'html':
      send(response, { status: 200, body: HTML_PAGE, headers: { 'content-type': 'text/html' } });
      return;
    case 'truncated':
      send(response, half(exchange.answer()));
      return;
    case 'oversize':
      await pourOut(response, fault.bytes);
      return;
    case 'garbage':
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(Buffer.from([0x1f, 0x8b, 0xff, 0xfe, 0x00, 0x7b, 0xc3, 0x28]));
      return;
    case 'other_run':
      send(response, withAnotherId(exchange.answer(), exchange.runId));
  }
}

type StatusFault = Extract<Fault, { kind: 'status' }>;

function statusAnswer(fault: StatusFault, now: number): Answer {
  const headers = fault.retry_after === undefined ? {} : { 'retry-after': retryAfter(fault, now) };
  const detail = `simulated ${fault.status} with ${PRIVATE_CANARY}`;
  return { status: fault.status, headers, body: JSON.stringify({ detail }) };
}

/** Dates have whole seconds: rounding up never asks for less than what the rule says. */
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

async function pourOut(response: ServerResponse, bytes: number): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json' });
  // Clients are meant to hang up on this, so that it fails is its usual end.
  await pipeline(Readable.from(endlessJson(bytes)), response).catch(() => undefined);
}

function* endlessJson(bytes: number): Generator<string> {
  yield `{"definitions":"${PRIVATE_CANARY}`;
  const chunk = 'x'.repeat(CHUNK_BYTES);
  for (let sent = 0; sent < bytes; sent += CHUNK_BYTES) yield chunk.slice(0, bytes - sent);
  yield '"}';
}
