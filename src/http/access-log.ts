import type { FastifyReply, FastifyRequest } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { RunwatchError } from '../core/errors.ts';
import type { Metrics } from './health.ts';

/** What the HTTP server logs to; pino fits. */
export interface HttpLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Of requests that fail alike, and need no right to be sent. */
const RATE = { intervalMs: 10_000, keys: 1_000 };

interface AccessLogOptions {
  log: HttpLog;
  /** Count each finished request. */
  metrics: Pick<Metrics, 'httpRequest'> | undefined;
}

/**
 * One wide line for each finished API request; none for probes and pages that went well. Query
 * values, bodies and headers are left out: they may hold what is private.
 */
export const accessLog = fastifyPlugin<AccessLogOptions>((app, { log, metrics }, done) => {
  const dueFor = createLineRate(RATE);
  app.addHook('onRequest', async (request, reply) => {
    const startedAt = performance.now();
    // Not `onResponse`: it is not called when the client closes the connection, as streams end.
    reply.raw.once('close', () => {
      metrics?.httpRequest(request.routeOptions.url ?? null, reply.statusCode);
      if (!isWorthALine(request)) return;
      const kind = kindOf(request, reply);
      const requests = kind === null ? 1 : dueFor(kind, performance.now());
      if (requests === 0) return;
      const durationMs = performance.now() - startedAt;
      const fields = fieldsOf(request, reply, durationMs);
      log[levelOf(request, reply)](requests > 1 ? { ...fields, requests } : fields, 'http request');
    });
  });
  done();
});

function isWorthALine(request: FastifyRequest): boolean {
  const { url } = request.routeOptions;
  return url === undefined || url.startsWith('/v1/') || request.failure !== undefined;
}

/** A stream that breaks off has a status of 200, and yet it failed. */
function levelOf({ failure }: FastifyRequest, { statusCode }: FastifyReply): keyof HttpLog {
  const isOfSource = statusCode === 502 || statusCode === 504;
  if ((statusCode >= 500 && !isOfSource) || failure !== undefined) return 'error';
  return statusCode >= 400 ? 'info' : 'debug';
}

/** What a request has in common with others, of which one line now and then says enough; else null. */
function kindOf(request: FastifyRequest, reply: FastifyReply): string | null {
  if (isPassing(request, reply)) return 'passing';
  return isTurnedAway(request, reply) ? `${reply.statusCode} ${request.ip}` : null;
}

/** True where nothing has to be mended here: what is away comes back, and takes many requests with it. */
function isPassing({ failure }: FastifyRequest, { statusCode }: FastifyReply): boolean {
  return statusCode === 503 || (failure instanceof RunwatchError && failure.retriable);
}

/** Anything that reaches the port can be the cause of these, as often as it likes. */
function isTurnedAway(request: FastifyRequest, { statusCode }: FastifyReply): boolean {
  if (request.token !== null) return false;
  const isOpen = request.routeOptions.url?.startsWith('/v1/') !== true;
  return statusCode === 401 || statusCode === 403 || (statusCode >= 400 && isOpen);
}

function fieldsOf(request: FastifyRequest, reply: FastifyReply, durationMs: number): object {
  return {
    method: request.method,
    route: request.routeOptions.url ?? null,
    status: reply.raw.headersSent ? reply.statusCode : null,
    duration_ms: Math.round(durationMs * 10) / 10,
    token: request.token?.name ?? null,
    ...(isTurnedAway(request, reply) && { remote_address: request.ip }),
    ...(!reply.raw.writableFinished && { aborted: true }),
    ...(request.failure !== undefined && { err: request.failure }),
  };
}

/** Says how many events a line is due for; 0: none yet. Times are milliseconds. */
type LineRate = (key: string, now: number) => number;

interface LineRateOptions {
  /** Shortest time between two lines about one key. */
  intervalMs: number;
  /** Keys that are counted by themselves; those beyond are counted together. */
  keys: number;
}

/** What stands for the keys that find no room. */
const OTHERS = '';

/**
 * Many requests fail alike: while Redis is away all do, and so do those of a caller with a wrong token.
 * One line for each key and interval says it, with how many there were since the line before.
 */
export function createLineRate({ intervalMs, keys }: LineRateOptions): LineRate {
  const seen = new Map<string, { lineAt: number; count: number }>();
  /** Keys that have been quiet give their room away. */
  const makeRoom = (now: number) => {
    for (const [key, { lineAt }] of seen) {
      if (now - lineAt < intervalMs) return;
      if (key !== OTHERS) seen.delete(key);
    }
  };
  return (given, now) => {
    if (!seen.has(given) && seen.size >= keys) makeRoom(now);
    const key = seen.has(given) || seen.size < keys ? given : OTHERS;
    const { lineAt, count } = seen.get(key) ?? { lineAt: -Infinity, count: 0 };
    if (now - lineAt < intervalMs) {
      seen.set(key, { lineAt, count: count + 1 });
      return 0;
    }
    // The newest stand last.
    seen.delete(key);
    seen.set(key, { lineAt: now, count: 0 });
    return count + 1;
  };
}
