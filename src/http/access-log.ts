import type { FastifyReply, FastifyRequest } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';

/** What the HTTP server logs to; pino fits. */
export interface HttpLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Shortest time between two lines about a server that cannot serve for now, ms. */
const UNAVAILABLE_LINE_INTERVAL_MS = 1_000;

/**
 * One wide line for each finished API request; none for probes and pages that went well. Query
 * values, bodies and headers stay out: they may hold what is private.
 */
export const accessLog = fastifyPlugin<{ log: HttpLog }>((app, { log }, done) => {
  const mayTellUnavailable = atMostEvery(UNAVAILABLE_LINE_INTERVAL_MS);
  app.addHook('onResponse', async (request, reply) => {
    if (!isWorthALine(request)) return;
    if (reply.statusCode === 503 && !mayTellUnavailable(Date.now())) return;
    log[levelOf(reply.statusCode)](fieldsOf(request, reply), 'http request');
  });
  done();
});

function isWorthALine(request: FastifyRequest): boolean {
  const { url } = request.routeOptions;
  return url === undefined || url.startsWith('/v1/') || request.failure !== undefined;
}

function levelOf(status: number): keyof HttpLog {
  if (status >= 500) return 'error';
  return status >= 400 ? 'info' : 'debug';
}

function fieldsOf(request: FastifyRequest, reply: FastifyReply): object {
  return {
    method: request.method,
    route: request.routeOptions.url ?? null,
    status: reply.statusCode,
    duration_ms: Math.round(reply.elapsedTime * 10) / 10,
    token: request.tokenName ?? null,
    ...(request.failure !== undefined && { err: request.failure }),
  };
}

/** While Redis is away every request fails alike, and a line a second says it all. */
function atMostEvery(intervalMs: number): (now: number) => boolean {
  let last = -Infinity;
  return (now) => {
    if (now - last < intervalMs) return false;
    last = now;
    return true;
  };
}
