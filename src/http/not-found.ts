import type { FastifyReply, FastifyRequest } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import type { RunwatchError } from '../core/errors.ts';
import { refusal } from './problem.ts';

interface KnownRoute {
  path: RegExp;
  methods: Set<string>;
}

/**
 * Tells a path that does not exist (404) from a method that it does not take (405, with `Allow`).
 * It answers before the body is read, since no body could make such a request right.
 */
export const notFound = fastifyPlugin((app, _options, done) => {
  const routes = new Map<string, KnownRoute>();
  app.addHook('onRoute', ({ url, method }) => {
    const route = routes.get(url) ?? { path: pathPattern(url), methods: new Set() };
    for (const one of [method].flat()) route.methods.add(one);
    routes.set(url, route);
  });
  app.addHook('onRequest', async (request, reply) => {
    if (request.is404) throw refuse(request, reply, routes);
  });
  app.setNotFoundHandler(async (request, reply) => {
    throw refuse(request, reply, routes);
  });
  done();
});

function refuse(
  request: FastifyRequest,
  reply: FastifyReply,
  routes: ReadonlyMap<string, KnownRoute>,
): RunwatchError {
  const [path = ''] = request.url.split('?');
  const methods = [...routes.values()]
    .filter((route) => route.path.test(path))
    .flatMap((route) => Array.from(route.methods));
  if (methods.length === 0 || methods.includes(request.method)) {
    return refusal('route_not_found', 'this server has no such route; see /docs for those it has');
  }
  const allow = [...new Set(methods)].sort().join(', ');
  reply.header('allow', allow);
  return refusal('method_not_allowed', `this route takes ${allow}`);
}

function pathPattern(url: string): RegExp {
  const literal = url.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${literal.replaceAll(/:[^/]+/g, '[^/]+').replaceAll('*', '.*')}$`);
}
