import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fastifyStatic } from '@fastify/static';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { redactConfig } from '../config/redact.ts';
import type { TokenConfig } from '../config/schema.ts';
import { RunwatchError } from '../core/errors.ts';
import type { Daemon } from '../daemon.ts';
import { PACKAGE_ROOT } from '../package-root.ts';
import { refusal } from './problem.ts';
import { clearedCookie, placeOf, refuseUnproved, renew, type Sessions } from './session.ts';

/** Where `npm run build` puts the dashboard. */
const BUILT = fileURLToPath(new URL('dist/ui', PACKAGE_ROOT));

/** The addresses of its screens; all are the same page. */
const SCREENS = [
  '/',
  '/runs',
  '/runs/:id',
  '/runs/:source/:id',
  // A proxy may have decoded the slashes of an id.
  '/runs/:source/*',
  '/batches',
  '/batches/:name',
  '/deliveries',
  '/deliveries/:id',
  '/endpoints',
  '/alerts',
  '/alerts/:id',
  '/workflows',
  '/system',
  '/system/audit',
];

/** Nothing inline, nothing from elsewhere; `data:` is the icon with a number on it. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ');

interface DashboardOptions {
  daemon: Daemon;
  sessions: Sessions;
  page: string | null;
}

/** The page of the dashboard; null where it is not built. */
export function readPage(): string | null {
  const path = `${BUILT}/index.html`;
  return existsSync(path) ? readFileSync(path, 'utf8') : null;
}

/** The dashboard's page, its scripts, and the sessions that it signs in by. */
export const dashboard: FastifyPluginAsyncZod<DashboardOptions> = async (app, options) => {
  const { page } = options;
  const config = { open: true };
  const schema = { hide: true };
  for (const url of SCREENS) {
    app.get(url, { config, schema }, (request, reply) => {
      if (page === null) {
        throw refusal('route_not_found', 'the dashboard is not built here: npm run build');
      }
      return answerPage(page, request, reply);
    });
  }
  if (page !== null) {
    app.addHook('onRoute', (route) => {
      if (route.url.startsWith('/assets/')) Object.assign(route, { config, schema });
    });
    await app.register(fastifyStatic, {
      root: `${BUILT}/assets`,
      prefix: '/assets/',
      decorateReply: false,
      index: false,
      preCompressed: true,
      // Their names hold a hash of their content.
      immutable: true,
      maxAge: '365d',
    });
  }
  await app.register(sessionRoutes, options);
  // Of all sources and receivers at once, so not for every token that may read.
  const scoped = { config: { scope: 'admin' as const }, schema };
  app.get('/configuration', scoped, async (_request, reply) => {
    reply.header('cache-control', 'no-store');
    return redactConfig(options.daemon.reload.current());
  });
};

/**
 * The page refers to everything by relative addresses, which begin at the server's root however deep the
 * screen lies and whatever path a proxy serves it under.
 */
export function answerPage(page: string, request: FastifyRequest, reply: FastifyReply) {
  const [path = ''] = request.url.split('?');
  // `GET *` has no slash.
  const depth = Math.max(0, path.split('/').length - 2);
  reply.header('content-security-policy', POLICY).header('cache-control', 'no-cache');
  reply.type('text/html; charset=utf-8');
  return reply.send(page.replace('href="./" data-root', `href="${'../'.repeat(depth) || './'}"`));
}

const signIn = z.strictObject({
  token: z.string().max(1_024),
  /** Where the browser sees the server's root. */
  path: z
    .string()
    .regex(/^\/([\w.~%-]+\/)*$/, 'expected a path that ends in /')
    .max(512),
});

/** What the dashboard may do in its session, and under which name. */
interface SessionView {
  /** open: no token is configured. */
  state: 'open' | 'signed_in' | 'signed_out';
  token: string | null;
  scopes: readonly string[];
  version: string | null;
  /** Of a daemon that was started with --no-deliver. */
  sends_nothing?: true;
}

function refuseEnd(cause: unknown): never {
  const message =
    'the session is over in this process; Redis cannot be reached, so other processes may take it until it expires';
  throw new RunwatchError(message, { code: 'redis_unavailable', retriable: true, cause });
}

const SIGNED_OUT: SessionView = { state: 'signed_out', token: null, scopes: [], version: null };

const sessionRoutes: FastifyPluginAsyncZod<DashboardOptions> = async (
  app,
  { daemon: { tokens, version, sendsNothing }, sessions },
) => {
  // These routes take requests without a token: one has at most 1 KiB, and comes at once.
  const options = { bodyLimit: 2_048, config: { open: true, limitMs: 3_000 } };
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store');
  });
  const marked = (view: SessionView): SessionView =>
    sendsNothing ? { ...view, sends_nothing: true } : view;
  const viewOf = ({ name: token, scopes }: TokenConfig): SessionView =>
    marked({ state: 'signed_in', token, scopes, version });

  app.get(
    '/session',
    { ...options, schema: { hide: true } },
    async (request, reply): Promise<SessionView> => {
      if (!tokens.areNeeded()) {
        const scopes = ['read', 'write', 'admin'];
        return marked({ state: 'open', token: null, scopes, version });
      }
      const session = sessions.find(request);
      if (session?.isProved !== true || (await sessions.isEnded(session))) return SIGNED_OUT;
      renew(reply, session, sessions);
      return viewOf(session.token);
    },
  );

  const schema = { hide: true, body: signIn };
  app.post('/session', { ...options, schema }, async (request, reply) => {
    const token = tokens.find(request.body.token.trim());
    if (token === null) throw refusal('token_unknown', 'this server does not know the token');
    const { cookie, value } = sessions.issue(token, placeOf(request, request.body.path));
    reply.header('set-cookie', cookie);
    return { ...viewOf(token), csrf: value };
  });

  const path = z.strictObject({ path: signIn.shape.path });
  app.delete(
    '/session',
    { ...options, schema: { hide: true, querystring: path } },
    async (request, reply) => {
      const session = sessions.find(request);
      if (session !== null) refuseUnproved(session);
      const place = session?.place ?? placeOf(request, request.query.path);
      reply.header('set-cookie', clearedCookie(place));
      if (session !== null) await sessions.end(session).catch(refuseEnd);
      return reply.code(204).send();
    },
  );
};
