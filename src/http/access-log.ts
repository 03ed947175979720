import type { FastifyReply, FastifyRequest } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { RunwatchError } from '../core/errors.ts';

/** What the HTTP server logs to; pino fits. */
export interface HttpLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Shortest time between two lines about a server that cannot serve for now, ms. */
const UNAVAILABLE_LINE_INTERVAL_MS = 10_000;

/**
 * One wide line for each finished API request; none for probes and pages that went well. Query
 * values, bodies and headers stay out: they may hold what is private.
 */
export const accessLog = fastifyPlugin<{ log: HttpLog }>((app, { log }, done) => {
  const alike = countAlike(UNAVAILABLE_LINE_INTERVAL_MS);
  app.addHook('onRequest', async (request, reply) => {
    const startedAt = performance.now();
    // Not `onResponse`: that never comes for an answer whose reader has gone, as streams end.
    reply.raw.once('close', () => {
      if (!isWorthALine(request)) return;
      const requests = isPassing(request, reply) ? alike(performance.now()) : 1;
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
  if (statusCode >= 500 || failure !== undefined) return 'error';
  return statusCode >= 400 ? 'info' : 'debug';
}

/** True where nothing has to be mended here: what is away comes back, and takes many requests with it. */
function isPassing({ failure }: FastifyRequest, { statusCode }: FastifyReply): boolean {
  return statusCode === 503 || (failure instanceof RunwatchError && failure.retriable);
}

function fieldsOf(request: FastifyRequest, reply: FastifyReply, durationMs: number): object {
  return {
    method: request.method,
    route: request.routeOptions.url ?? null,
    status: reply.raw.headersSent ? reply.statusCode : null,
    duration_ms: Math.round(durationMs * 10) / 10,
    token: request.tokenName ?? null,
    ...(reply.statusCode === 401 && { remote_address: request.ip }),
    ...(!reply.raw.writableFinished && { aborted: true }),
    ...(request.failure !== undefined && { err: request.failure }),
  };
}

/**
 * While Redis is away every request fails alike, and a line now and then says it all.
 * @returns of how many requests a line is due, those since the last one included; 0 for none
 */
function countAlike(intervalMs: number): (now: number) => number {
  let last = -Infinity;
  let count = 0;
  return (now) => {
    count += 1;
    if (now - last < intervalMs) return 0;
    const due = count;
    last = now;
    count = 0;
    return due;
  };
}
