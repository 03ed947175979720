import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import type { Fault } from './fault.ts';
import { pause, send, type Answer } from './http-io.ts';
import { isStreamFault, spoilStream } from './stream-fault.ts';
import { PRIVATE_CANARY } from './wire-run.ts';
import { isWrongAnswer, wrongAnswer, type Exchange } from './wrong-answer.ts';

/** Shortest time between two pieces of a body that drips. */
const DRIP_EVERY_MS = 50;
const CHUNK_BYTES = 65_536;

/** Answers a request as the fault wants it. Never rejects: a client that goes away ends it. */
export async function misbehave(
  response: ServerResponse,
  exchange: Exchange,
  fault: Fault,
): Promise<void> {
  if (isWrongAnswer(fault)) {
    send(response, wrongAnswer(exchange, fault));
    return;
  }
  if (isStreamFault(fault)) {
    await spoilStream(response, fault);
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
      await pourOut(response, 200, endlessJson(fault.bytes));
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
      await pourOut(response, status, bulkyPage(body, fault.bytes));
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

/** Sends a body without its length; only the part being sent is held in memory. */
async function pourOut(
  response: ServerResponse,
  status: number,
  body: Generator<string>,
): Promise<void> {
  response.writeHead(status, { 'content-type': 'application/json' });
  // Clients should hang up on this, so failure is the usual end.
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
