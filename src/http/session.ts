import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { TokenConfig } from '../config/schema.ts';
import { refusal } from './problem.ts';
import type { Tokens } from './tokens.ts';

const COOKIE = 'runwatch_session';

/** The header that carries a session's check against forged requests. */
const CSRF_HEADER = 'x-runwatch-csrf';

/** A session ends so long after its sign-in, s. */
const MAX_AGE_S = 30 * 86_400;

/** Longest cookie value that is parsed. */
const MAX_LENGTH = 256;

/** What a sign-in gave a browser in place of the token. */
export interface Session {
  token: TokenConfig;
  /** Comes with each change, so that no other page can make one in its name. */
  csrf: string;
}

/**
 * The sessions of the dashboard. A cookie holds no token. A key derived from the token signs it, so any
 * process with the token accepts it, and removing the token ends it.
 */
export interface Sessions {
  /** A session for a browser that sent one of the tokens, as a cookie's value. */
  issue(token: TokenConfig): { value: string; session: Session };
  /** The session of a request; null where it has none, or one that is over. */
  find(request: Pick<IncomingMessage, 'headers'>): Session | null;
}

export function createSessions(tokens: Tokens): Sessions {
  return {
    issue(token) {
      const key = keyOf(token);
      const body = `${randomBytes(12).toString('base64url')}.${nowS().toString(36)}`;
      const value = `${body}.${sign(key, `session ${body}`)}`;
      return { value, session: { token, csrf: sign(key, `csrf ${body}`) } };
    },
    find({ headers }) {
      const [id, issued, given] = (cookieOf(headers.cookie) ?? '').split('.');
      if (id === undefined || issued === undefined || given === undefined) return null;
      const ageS = nowS() - Number.parseInt(issued, 36);
      if (!(ageS >= -60 && ageS <= MAX_AGE_S)) return null;
      const body = `${id}.${issued}`;
      let found: Session | null = null;
      for (const token of tokens.all()) {
        const key = keyOf(token);
        if (isSame(sign(key, `session ${body}`), given)) {
          found = { token, csrf: sign(key, `csrf ${body}`) };
        }
      }
      return found;
    },
  };
}

/** Throws RunwatchError `origin_not_allowed` unless a request proves that a page of this server made it. */
export function refuseForged({ headers }: FastifyRequest, { csrf }: Session): void {
  const given = headers[CSRF_HEADER];
  if (typeof given === 'string' && isSame(csrf, given)) return;
  throw refusal('origin_not_allowed', 'the request lacks the check of its session');
}

/**
 * @param value null ends the session
 * @param path where the browser reaches the server, which may lie behind a proxy
 */
export function setCookie(
  request: FastifyRequest,
  reply: FastifyReply,
  { value, path }: { value: string | null; path: string },
): void {
  const isEncrypted = request.headers.origin?.startsWith('https://') === true;
  const parts = [
    `${COOKIE}=${value ?? ''}`,
    `Path=${path}`,
    `Max-Age=${value === null ? 0 : MAX_AGE_S}`,
    'HttpOnly',
    'SameSite=Strict',
    ...(isEncrypted ? ['Secure'] : []),
  ];
  reply.header('set-cookie', parts.join('; '));
}

function cookieOf(header = ''): string | null {
  const prefix = `${COOKIE}=`;
  const pair = header.split(/; */).find((one) => one.startsWith(prefix));
  const value = pair?.slice(prefix.length) ?? '';
  return value === '' || value.length > MAX_LENGTH ? null : value;
}

function isSame(one: string, other: string): boolean {
  const [left, right] = [Buffer.from(one), Buffer.from(other)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function sign(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}

function keyOf({ token }: TokenConfig): Buffer {
  return createHmac('sha256', token).update('runwatch session 1').digest();
}

function nowS(): number {
  return Math.floor(Date.now() / 1_000);
}
