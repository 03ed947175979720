import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createVerifier, type Verify } from '../client/webhook.ts';
import {
  closeServer,
  listenOnLoopback,
  MAX_BODY_BYTES,
  pause,
  readBody,
  send,
  type LoopbackHost,
} from './http-io.ts';

const DEFAULT_KEEP = 100_000;

/** One received webhook. */
export interface ReceivedWebhook {
  /** `webhook-id`, which is the event's id; null when it was not sent. */
  id: string | null;
  /** `type` of the body; null when the body is not an event. */
  type: string | null;
  /** Milliseconds since the epoch. */
  receivedAt: number;
  /** True when one of the secrets signed exactly these bytes, at most five minutes ago. */
  verified: boolean;
  /** Why it is not verified; null when it is. */
  problem: string | null;
  headers: Record<string, string>;
  /** The body as it was sent. */
  body: string;
}

interface Response {
  status: number;
  headers?: Record<string, string>;
  delayMs?: number;
}

interface ReceiverOptions {
  /** Default 0: any free port. */
  port?: number;
  host?: LoopbackHost;
  /** `whsec_…`; without any, nothing can be verified and everything is accepted. */
  secrets: readonly string[];
  /** The answer; default 204 to a verified webhook, else 401. */
  respond?: (received: ReceivedWebhook) => number | Response;
  onReceived?: (received: ReceivedWebhook) => void;
  /** How many of the newest webhooks `received` holds; default 100,000. */
  keep?: number;
}

/** A receiver of webhooks. */
export interface Receiver {
  /** The URL for webhooks; every path works. */
  readonly url: string;
  /** All webhooks, oldest first. */
  readonly received: readonly ReceivedWebhook[];
  /** Stops it and closes every connection. */
  close(): Promise<void>;
}

/**
 * Starts a receiver of Standard Webhooks on the loopback interface.
 * @throws RunwatchError `invalid_secret`, `port_in_use`, `cannot_listen`
 */
export async function startReceiver(options: ReceiverOptions): Promise<Receiver> {
  const { port = 0, host = '127.0.0.1', keep = DEFAULT_KEEP } = options;
  const verify = createVerifier(options.secrets);
  const respond = options.respond ?? defaultResponse(options.secrets.length > 0);
  const received: ReceivedWebhook[] = [];
  const record = (webhook: ReceivedWebhook) => {
    received.push(webhook);
    if (received.length > keep) received.shift();
    options.onReceived?.(webhook);
  };
  const server = createServer((request, response) => {
    void receive(request, response, { verify, record, respond });
  });
  const url = await listenOnLoopback(server, { port, host });
  return { url, received, close: () => closeServer(server) };
}

function defaultResponse(hasSecrets: boolean): (received: ReceivedWebhook) => number {
  return ({ verified }) => (verified || !hasSecrets ? 204 : 401);
}

interface Reception {
  verify: Verify;
  record: (webhook: ReceivedWebhook) => void;
  respond: (webhook: ReceivedWebhook) => number | Response;
}

async function receive(
  request: IncomingMessage,
  response: ServerResponse,
  { verify, record, respond }: Reception,
): Promise<void> {
  if (request.method !== 'POST') {
    refuse(response, 405, 'this is a receiver of webhooks: POST them to any path');
    return;
  }
  const body = await readBody(request);
  if (body.kind === 'aborted') return;
  if (body.kind === 'too_large') {
    refuse(response, 413, `expected a body of at most ${MAX_BODY_BYTES} bytes`);
    return;
  }
  const headers = flatHeaders(request);
  const problem = verify(body.bytes, headers);
  const text = body.bytes.toString();
  const webhook = {
    id: headers['webhook-id'] ?? null,
    type: typeOf(text),
    receivedAt: Date.now(),
    verified: problem === null,
    problem,
    headers,
    body: text,
  };
  record(webhook);
  const wanted = respond(webhook);
  const {
    status,
    headers: extra,
    delayMs = 0,
  } = typeof wanted === 'number' ? { status: wanted } : wanted;
  if (delayMs > 0 && !(await pause(response, delayMs))) return;
  send(response, { status, body: '', headers: extra });
}

function refuse(response: ServerResponse, status: number, detail: string): void {
  const headers = { allow: 'POST', ...(status === 413 && { connection: 'close' }) };
  send(response, { status, headers, body: JSON.stringify({ status, detail }) });
}

function flatHeaders(request: IncomingMessage): Record<string, string> {
  const entries = Object.entries(request.headersDistinct);
  return Object.fromEntries(entries.map(([name, values = []]) => [name, values.join(', ')]));
}

function typeOf(text: string): string | null {
  try {
    const event: unknown = JSON.parse(text);
    const isEvent = typeof event === 'object' && event !== null && 'type' in event;
    return isEvent && typeof event.type === 'string' ? event.type : null;
  } catch {
    return null;
  }
}
