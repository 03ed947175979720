import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import type { TokenConfig } from '../config/schema.ts';
import { refusal } from './problem.ts';

type Scope = TokenConfig['scopes'][number];

declare module 'fastify' {
  interface FastifyRequest {
    /** The name of the token that the request came with; null where none was asked for. */
    tokenName: string | null;
  }
}

/**
 * Asks for a bearer token whose scope covers the method: `read` for GET and HEAD, else `write`.
 * Without any configured token the API is open; see `host-guard.ts` for what protects it then.
 */
export const bearerAuth = fastifyPlugin<{ tokens: readonly TokenConfig[] }>(
  (app, { tokens }, done) => {
    app.decorateRequest('tokenName', null);
    if (tokens.length > 0) app.addHook('onRequest', authenticator(tokens));
    done();
  },
);

function authenticator(tokens: readonly TokenConfig[]) {
  const find = tokenFinder(tokens);
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
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
    const scope = scopeOf(request.method);
    if (!token.scopes.includes(scope)) {
      challenge(reply, `, error="insufficient_scope", scope="${scope}"`);
      throw refusal('forbidden', `the token "${token.name}" lacks the scope ${scope}`);
    }
  };
}

function challenge(reply: FastifyReply, reason: string): void {
  reply.header('www-authenticate', `Bearer realm="runwatch"${reason}`);
}

function scopeOf(method: string): Scope {
  return method === 'GET' || method === 'HEAD' ? 'read' : 'write';
}

/** Source: RFC 6750, section 2.1; the scheme is case-insensitive by RFC 9110, section 11.1. */
function bearerToken(header: string | undefined): string | null {
  return /^bearer +([^\s,]+) *$/i.exec(header ?? '')?.[1] ?? null;
}

/**
 * Compares digests, which have one length, with every token: neither the length of a token nor its
 * place in the list nor how much of it was guessed shows in the time that this takes.
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
