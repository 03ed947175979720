import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { BenchContext } from '../support/context.ts';
import { serve } from '../support/serve.ts';

/** How a host treats one request. */
export interface Behaviour {
  status: number;
  delayMs: number;
  headers?: Record<string, string>;
  /** Never answers. */
  hangs?: boolean;
}

/** A host of receivers, one per path. */
export interface Host {
  origin: string;
  /** When each event first arrived at a path, milliseconds since the epoch. */
  arrivals(path: string): Map<string, number>;
  /** Most requests in flight at a time so far. */
  peak(): number;
  /** Requests that their sender gave up. */
  givenUp(): number;
  /** When the first 2xx went out. */
  firstOkAt(): number | null;
  behave(path: string, behaviour: Behaviour): void;
}

const WELL: Behaviour = { status: 204, delayMs: 0 };

/** @param isSerial works on one request at a time */
export async function startHost(context: BenchContext, { isSerial = false } = {}): Promise<Host> {
  const behaviours = new Map<string, Behaviour>();
  const arrived = new Map<string, Map<string, number>>();
  let inFlight = 0;
  let peak = 0;
  let givenUp = 0;
  let firstOkAt: number | null = null;
  let freeAt = 0;

  function answer(response: ServerResponse, { status, headers = {} }: Behaviour): void {
    if (status < 300) firstOkAt ??= Date.now();
    response.writeHead(status, headers).end();
  }

  function receive(request: IncomingMessage, response: ServerResponse): void {
    const now = Date.now();
    const path = request.url ?? '/';
    const id = String(request.headers['webhook-id']);
    const seen = arrived.get(path) ?? new Map<string, number>();
    if (!seen.has(id)) arrived.set(path, seen.set(id, now));
    inFlight += 1;
    peak = Math.max(peak, inFlight);
    response.on('close', () => {
      inFlight -= 1;
      if (!response.writableEnded) givenUp += 1;
    });
    request.resume();
    const behaviour = behaviours.get(path) ?? behaviours.get('*') ?? WELL;
    if (behaviour.hangs === true) return;
    freeAt = isSerial ? Math.max(now, freeAt) + behaviour.delayMs : now + behaviour.delayMs;
    setTimeout(() => answer(response, behaviour), freeAt - now);
  }

  const server = createServer({ keepAliveTimeout: 60_000 }, receive);
  const origin = await serve(context, server);
  return {
    origin,
    arrivals: (path) => arrived.get(path) ?? new Map<string, number>(),
    peak: () => peak,
    givenUp: () => givenUp,
    firstOkAt: () => firstOkAt,
    behave: (path, behaviour) => void behaviours.set(path, behaviour),
  };
}
