import type { IncomingMessage } from 'node:http';
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import type { PublicArea, TokenConfig } from '../config/schema.ts';
import { refusal } from './problem.ts';
import { refuseUnproved, renew, type Session, type Sessions } from './session.ts';
import type { Tokens } from './tokens.ts';

type Scope = TokenConfig['scopes'][number];

declare module 'fastify' {
  interface FastifyRequest {
    /** The token that the request came with; null where none was needed. */
    token: TokenConfig | null;
    /** The dashboard's session that it came with; null for none. */
    session: Session | null;
  }

  interface FastifyContextConfig {
    /**
     * How the route serves tokens that are limited to sources: `limited`, its answers are limited to
     * `sourcesOf` the request; `any`, nothing in it belongs to a source. Else it refuses them.
     */
    sources?: 'limited' | 'any' | 'refused';
    /** What a call of this route needs; else `read` for GET and HEAD, `write` for other methods. */
    scope?: Scope;
    /**
     * True where some of what a call may ask for needs the scope `admin` instead. The handler requires
     * the one that it is; a token without either is refused before.
     */
    orAdmin?: boolean;
    /** True where a call sends something, which a daemon that sends nothing refuses. */
    sends?: boolean;
    /** True for what needs no token: the dashboard's page, which holds nothing of what is watched. */
    open?: boolean;
    /** True for routes that health probes call, by whatever name they know the host. */
    probe?: boolean;
  }
}

interface AuthOptions {
  tokens: Tokens;
  sessions: Sessions;
  public: readonly PublicArea[];
}

/** Asks for a bearer token with the scope of the route, and says in the API's document which that is. */
export const bearerAuth = fastifyPlugin<AuthOptions>((app, options, done) => {
  const { tokens, sessions, public: open } = options;
  const isOpen = ({ url = '', config }: RouteAddress) => {
    const area = areaOf(url);
    return (
      config?.probe === true || config?.open === true || (area !== 'api' && open.includes(area))
    );
  };
  app.decorateRequest('token', null);
  app.decorateRequest('session', null);
  app.addHook('onRoute', (route) => {
    if (!isOpen(route)) describeScope(route);
  });
  app.addHook('onRequest', async (request, reply) => {
    if (!tokens.areNeeded() || request.is404 || isOpen(request.routeOptions)) return;
    await authenticate(request, reply, { tokens, sessions });
  });
  done();
});

/** Says of a request, before it is read, whether it comes with a token or session in force. */
export function trustedBy(
  tokens: Tokens,
  sessions: Sessions,
): (request: IncomingMessage) => boolean {
  return (request) => {
    const presented = bearerToken(request.headers.authorization);
    if (presented !== null) return tokens.find(presented) !== null;
    return sessions.find(request)?.isProved === true;
  };
}

/** Throws RunwatchError `forbidden` unless the token of a request has a scope. */
export function requireScope(request: FastifyRequest, reply: FastifyReply, scope: Scope): void {
  const { token } = request;
  if (token === null || token.scopes.includes(scope)) return;
  challenge(reply, `, error="insufficient_scope", scope="${scope}"`);
  throw refusal('forbidden', `the token "${token.name}" lacks the scope ${scope}`);
}

/** The sources that a token is limited to; undefined for all of them, as without a token. */
export function sourcesOf(token: TokenConfig | null): readonly string[] | undefined {
  return token === null || token.sources.includes('*') ? undefined : token.sources;
}

/**
 * The sources that a request means: the one that it names, else all that its token is good for; absent
 * for every source.
 * Throws RunwatchError `forbidden` where it names another.
 */
export function sourcesMeant(
  token: TokenConfig | null,
  named?: string,
): { sources?: readonly string[] } {
  const allowed = sourcesOf(token);
  if (named === undefined) return allowed === undefined ? {} : { sources: allowed };
  if (allowed !== undefined && !allowed.includes(named)) throw outOfBounds(token, allowed);
  return { sources: [named] };
}

/** Whether a token is good for what belongs to a source. */
export function mayConcern(token: TokenConfig | null, source: string): boolean {
  return sourcesOf(token)?.includes(source) ?? true;
}

function outOfBounds(token: TokenConfig | null, allowed: readonly string[]) {
  const bounds = `the token "${token?.name}" is limited to the sources ${allowed.join(', ')}`;
  return refusal('forbidden', bounds);
}

/** False for tokens that may write and nothing else: no answer shows them what others gave. */
export function mayRead(token: TokenConfig | null): boolean {
  return token === null || token.scopes.includes('read');
}

interface RouteAddress {
  url?: string | undefined;
  config?: { probe?: boolean; open?: boolean; scope?: Scope };
}

function areaOf(url: string): PublicArea | 'api' {
  if (url === '/metrics') return 'metrics';
  return url === '/openapi.json' || /^\/docs(\/|$)/.test(url) ? 'docs' : 'api';
}

async function authenticate(
  request: FastifyRequest,
  reply: FastifyReply,
  { tokens, sessions }: { tokens: Tokens; sessions: Sessions },
): Promise<void> {
  const presented = bearerToken(request.headers.authorization);
  const token =
    presented === null ? await signedIn(request, reply, sessions) : tokens.find(presented);
  if (token === null && presented === null) {
    challenge(reply, '');
    throw refusal('unauthorized', 'send a token as authorization: Bearer <token>');
  }
  if (token === null) {
    challenge(reply, ', error="invalid_token"');
    throw refusal('unauthorized', 'the token is not one that this server knows');
  }
  request.token = token;
  const { config } = request.routeOptions;
  const isUpToHandler = config.orAdmin === true && token.scopes.includes('admin');
  if (!isUpToHandler) requireScope(request, reply, scopeOf(config, request.method));
  refuseUnlimited(request);
}

/** A route that says nothing of sources may show, or change, what belongs to others. */
function refuseUnlimited(request: FastifyRequest): void {
  const { config, url = '' } = request.routeOptions;
  const allowed = sourcesOf(request.token);
  if (allowed === undefined || areaOf(url) === 'docs') return;
  if (config.sources === 'limited' || config.sources === 'any') return;
  throw outOfBounds(request.token, allowed);
}

/**
 * The token of the dashboard's session. Only what browsers open by a link, and what holds nothing of any
 * run, is answered to the cookie alone.
 */
async function signedIn(
  request: FastifyRequest,
  reply: FastifyReply,
  sessions: Sessions,
): Promise<TokenConfig | null> {
  const session = sessions.find(request);
  if (session === null || (await sessions.isEnded(session))) return null;
  if (areaOf(request.routeOptions.url ?? '') === 'api') refuseUnproved(session);
  request.session = session;
  if (session.isProved) renew(reply, session, sessions);
  return session.token;
}

function challenge(reply: FastifyReply, reason: string): void {
  reply.header('www-authenticate', `Bearer realm="runwatch"${reason}`);
}

function scopeOf(config: { scope?: Scope } | undefined, method: string): Scope {
  return config?.scope ?? (method === 'GET' || method === 'HEAD' ? 'read' : 'write');
}

/** Source: OpenAPI 3.1.0, "Security Requirement Object": what a role of a token is listed as. */
function describeScope(route: RouteOptions): void {
  const { schema, method } = route;
  if (schema === undefined || schema.hide === true) return;
  const scope = scopeOf(route.config, [method].flat()[0] ?? 'GET');
  const needs = `Needs a token with the scope \`${scope}\`.`;
  const description = schema.description === undefined ? needs : `${schema.description} ${needs}`;
  route.schema = { ...schema, description, security: [{ token: [scope] }] };
}

/** Source: RFC 6750, section 2.1; the scheme is case-insensitive by RFC 9110, section 11.1. */
function bearerToken(header: string | undefined): string | null {
  return /^bearer +([^\s,]+) *$/i.exec(header ?? '')?.[1] ?? null;
}

/** How programs on this machine address a loopback server. */
const LOOPBACK_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i;

/**
 * Takes one `Host` for each request: where there are two, a proxy and this server may mean another.
 *
 * Keeps web pages away from a server without tokens. Browsers reach loopback on behalf of any page:
 * a name that is rebound to 127.0.0.1 shows in `Host`, a foreign page that posts shows in `Origin`. Beyond
 * loopback a daemon without tokens does not start: `checkServing` of `config/cross-check.ts`.
 */
export const hostGuard = fastifyPlugin<{ tokens: Tokens }>((app, { tokens }, done) => {
  app.addHook('onRequest', async (request) => {
    refuseSecondHost(request);
    if (tokens.areNeeded() || request.routeOptions.config.probe === true) return;
    checkHost(request);
    checkOrigin(request);
    if (areaOf(request.routeOptions.url ?? '') !== 'metrics') checkForwarded(request);
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

/** A proxy in front makes the whole network local, and a page of another site is no user of this machine. */
function checkForwarded({ headers }: FastifyRequest): void {
  const isForwarded =
    headers.forwarded !== undefined ||
    Object.keys(headers).some((name) => name.startsWith('x-forwarded-'));
  if (!isForwarded && headers['sec-fetch-site'] !== 'cross-site') return;
  throw refusal(
    'token_needed',
    'without a configured token this server answers to programs of this machine only: set RUNWATCH_API_TOKEN or auth.tokens to serve others through a proxy',
  );
}
