import type { FastifyRequest } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { refusal } from './problem.ts';
import type { Tokens } from './tokens.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** True for routes that health probes call, by whatever name they know the host. */
    probe?: boolean;
  }
}

/** How programs on this machine address a loopback server. */
const LOOPBACK_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i;

/**
 * Takes one `Host` for each request: where there are two, a proxy and this server may mean another.
 *
 * Keeps web pages away from a server without tokens. Browsers reach loopback on behalf of any page:
 * a name that is rebound to 127.0.0.1 shows in `Host`, a foreign page that posts shows in `Origin`.
 */
export const hostGuard = fastifyPlugin<{ tokens: Tokens }>((app, { tokens }, done) => {
  app.addHook('onRequest', async (request) => {
    refuseSecondHost(request);
    if (tokens.areNeeded() || request.routeOptions.config.probe === true) return;
    checkHost(request);
    checkOrigin(request);
  });
  done();
});

function refuseSecondHost({ raw }: FastifyRequest): void {
  const names = raw.rawHeaders.filter((_, at) => at % 2 === 0);
  if (names.filter((name) => name.toLowerCase() === 'host').length < 2) return;
  throw refusal('bad_request', 'send one Host header');
}

function checkHost({ headers }: FastifyRequest): void {
  if (LOOPBACK_HOST.test(headers.host ?? '')) return;
  throw refusal(
    'host_not_allowed',
    'without a configured token this server answers to localhost, 127.0.0.1 and [::1] only',
  );
}

function checkOrigin({ headers }: FastifyRequest): void {
  if (headers.origin === undefined || headers.origin === `http://${headers.host}`) return;
  throw refusal(
    'origin_not_allowed',
    'without a configured token this server takes no requests from other web pages',
  );
}
