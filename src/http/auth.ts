import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import type { PublicArea, TokenConfig } from '../config/schema.ts';
import { refusal } from './problem.ts';

type Scope = TokenConfig['scopes'][number];

declare module 'fastify' {
  interface FastifyRequest {
    /** The name of the token that the request came with; null where none was needed. */
    tokenName: string | null;
    /** What that token is good for; null where none was needed. */
    scopes: readonly Scope[] | null;
  }

  interface FastifyContextConfig {
    /** What a call of this route needs; else `read` for GET and HEAD, `write` for other methods. */
    scope?: Scope;
  }
}

interface AuthOptions {
  /** None leaves the API open; see `host-guard.ts` for what protects it then. */
  tokens: readonly TokenConfig[];
  public: readonly PublicArea[];
}

/** Asks for a bearer token with the scope of the route, and says in the API's document which that is. */
export const bearerAuth = fastifyPlugin<AuthOptions>((app, options, done) => {
  const { tokens, public: open } = options;
  const isOpen = ({ url = '', config }: RouteAddress) => {
    const area = areaOf(url);
    return config?.probe === true || (area !== 'api' && open.includes(area));
  };
  app.decorateRequest('tokenName', null);
  app.decorateRequest('scopes', null);
  app.addHook('onRoute', (route) => {
    if (!isOpen(route)) describeScope(route);
  });
  if (tokens.length > 0) {
    const authenticate = authenticator(tokens);
    app.addHook('onRequest', async (request, reply) => {
      if (request.is404 || isOpen(request.routeOptions)) return;
      authenticate(request, reply);
    });
  }
  done();
});

/** Throws RunwatchError `forbidden` unless the token of a request has a scope, besides the route's. */
export function requireScope(request: FastifyRequest, reply: FastifyReply, scope: Scope): void {
  if (request.scopes === null || request.scopes.includes(scope)) return;
  challenge(reply, `, error="insufficient_scope", scope="${scope}"`);
  throw refusal('forbidden', `the token "${request.tokenName}" lacks the scope ${scope}`);
}

/** False for tokens that may write and nothing else: no answer shows them what others gave. */
export function mayRead(scopes: FastifyRequest['scopes']): boolean {
  return scopes === null || scopes.includes('read');
}

interface RouteAddress {
  url?: string | undefined;
  config?: { probe?: boolean; scope?: Scope };
}

function areaOf(url: string): PublicArea | 'api' {
  if (url === '/metrics') return 'metrics';
  return url === '/openapi.json' || /^\/docs(\/|$)/.test(url) ? 'docs' : 'api';
}

function authenticator(tokens: readonly TokenConfig[]) {
  const find = tokenFinder(tokens);
  return (request: FastifyRequest, reply: FastifyReply): void => {
    const presented = bearerToken(request.headers.authorization);
    if (presented === null) {
      challenge(reply, '');
      throw refusal('unauthorized', 'send a token as authorization: Bearer <token>');
    }
    const token = find(presented);
    if (token === null) {
      challenge(reply, ', error="invalid_token"');
      throw refusal('unauthorized', 'the token is not one that this server knows');
    }
    request.tokenName = token.name;
    request.scopes = token.scopes;
    requireScope(request, reply, scopeOf(request.routeOptions.config, request.method));
  };
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

/**
 * Compares digests of one length with every token. The time that this takes shows neither the
 * length of a token, nor its place in the list, nor how much of it was guessed.
 */
function tokenFinder(tokens: readonly TokenConfig[]): (presented: string) => TokenConfig | null {
  const known = tokens.map((token) => ({ token, digest: sha256(token.token) }));
  return (presented) => {
    const digest = sha256(presented);
    let match: TokenConfig | null = null;
    for (const one of known) {
      if (timingSafeEqual(one.digest, digest)) match = one.token;
    }
    return match;
  };
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
