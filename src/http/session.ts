import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyReply } from 'fastify';
import type { TokenConfig } from '../config/schema.ts';
import type { Daemon } from '../daemon.ts';
import { refusal } from './problem.ts';

/*
 * A browser's session is a cookie and a value. Browsers send cookies of a host to each of its ports, so
 * that whatever listens on another one sees them: a cookie alone opens nothing. The value is given once,
 * at sign-in. The page keeps it where only its own origin, port included, can read it, and sends it in a
 * header. Event streams are read by `fetch`, since an EventSource sends no header, and a value in the
 * query would stand in logs of proxies.
 */

/** How the names of cookies begin; the port and the path of the page follow. */
const COOKIE = 'runwatch_session';

/** The header that carries a session's value. */
const VALUE_HEADER = 'x-runwatch-csrf';

/** A session ends so long after its last use, s. */
export const SESSION_S = 12 * 3_600;

/** A use so long after the last one that counted counts, s. */
const RENEWED_AFTER_S = 60;

/** Clocks of processes differ by less, s. */
const SKEW_S = 60;

/** Longest value of a cookie that is read, and most cookies of a request: other ports may set some. */
const MAX_LENGTH = 256;
const MAX_COOKIES = 8;

/** Where a browser has the page: what its cookie is named after, so that daemons on one host differ. */
interface Place {
  port: string;
  /** Of the server's root; begins and ends with a slash. */
  path: string;
  isEncrypted: boolean;
}

/** What a sign-in gave a browser in place of the token. */
export interface Session {
  token: TokenConfig;
  /** Names the token in the store, and shows nothing of it. */
  owner: string;
  id: string;
  /** False where the request has the cookie alone. */
  isProved: boolean;
  place: Place;
  /** When it was used last, s since the epoch. */
  usedAt: number;
}

/** A store that does not say within so long whether a session was ended counts as away, ms. */
const ENDED_WITHIN_MS = 1_000;

/**
 * The sessions of the dashboard. A key derived from the token signs their cookies, so any process with the
 * token accepts them, also while the store is away, and removing the token ends them.
 */
export class Sessions {
  private readonly endedHere: EndedHere;
  private readonly keyOf = keysByToken();

  /** @param now milliseconds since the epoch */
  constructor(
    private readonly daemon: Daemon,
    private readonly now: () => number = Date.now,
  ) {
    this.endedHere = new EndedHere(now);
  }

  /**
   * A session for a browser that sent one of the tokens.
   * @returns the header that sets its cookie, and its value
   */
  issue(token: TokenConfig, place: Place): { cookie: string; value: string } {
    const id = randomBytes(12).toString('base64url');
    return { cookie: this.cookieOf({ token, id, place }), value: this.valueOf(token, id) };
  }

  /** The session of a request by its signature; null where it has none, or one that is over. */
  find({ headers }: Pick<IncomingMessage, 'headers'>): Session | null {
    const given = [headers[VALUE_HEADER] ?? ''].flat()[0] ?? '';
    const found = cookiesOf(headers.cookie).flatMap((cookie) => this.read(cookie, given) ?? []);
    return found.find(({ isProved }) => isProved) ?? found[0] ?? null;
  }

  /** Whether a session that was found has been ended. While the store is away, none has. */
  async isEnded(session: Session): Promise<boolean> {
    const { connections, stores } = this.daemon;
    if (this.endedHere.has(session)) return true;
    if (connections.state().kind === 'away') return false;
    return within(ENDED_WITHIN_MS, stores.endedSessions.has(session)).catch(() => false);
  }

  /** The header that renews the cookie of a session in use; null where that is not due. */
  renewal(session: Session): string | null {
    return this.nowS() - session.usedAt < RENEWED_AFTER_S ? null : this.cookieOf(session);
  }

  /** Ends a session everywhere. Throws where the store does not take it: then it is over here alone. */
  async end(session: Session): Promise<void> {
    this.endedHere.add(session);
    const { endedSessions } = this.daemon.stores;
    await endedSessions.add(session, (SESSION_S + 2 * SKEW_S) * 1_000);
  }

  private read({ name, value }: Cookie, given: string): Session | null {
    const { tokens } = this.daemon;
    const [id = '', used = '', mark = '', signature = ''] = value.split('.');
    const usedAt = Number.parseInt(used, 36);
    const ageS = this.nowS() - usedAt;
    if (!(ageS >= -SKEW_S && ageS <= SESSION_S)) return null;
    const text = `session ${name} ${id}.${used}.${mark}`;
    const token = tokens.all().find((one) => isSame(sign(this.keyOf(one), text), signature));
    if (token === undefined) return null;
    const isProved = isSame(this.valueOf(token, id), given);
    const place = { ...placeNamed(name), isEncrypted: mark === 's' };
    return { token, owner: sign(this.keyOf(token), 'owner'), id, isProved, place, usedAt };
  }

  private cookieOf({ token, id, place }: Pick<Session, 'token' | 'id' | 'place'>): string {
    const name = nameOf(place);
    const mark = place.isEncrypted ? 's' : 'p';
    const body = `${id}.${this.nowS().toString(36)}.${mark}`;
    const signature = sign(this.keyOf(token), `session ${name} ${body}`);
    return setCookie(place, `${body}.${signature}`);
  }

  private valueOf(token: TokenConfig, id: string): string {
    return sign(this.keyOf(token), `value ${id}`);
  }

  private nowS(): number {
    return Math.floor(this.now() / 1_000);
  }
}

/** Throws RunwatchError `origin_not_allowed` unless a page of this server's origin made the request. */
export function refuseUnproved({ isProved }: Session): void {
  if (isProved) return;
  throw refusal(
    'origin_not_allowed',
    "the request has a session's cookie without the value that its sign-in gave",
  );
}

/** Lets a session in use last longer. */
export function renew(reply: FastifyReply, session: Session, sessions: Sessions): void {
  const cookie = sessions.renewal(session);
  if (cookie !== null) reply.header('set-cookie', cookie);
}

/** Where a browser has the page that sends a request; programs that name no origin say it by the host. */
export function placeOf({ headers }: Pick<IncomingMessage, 'headers'>, path: string): Place {
  const given = [headers.origin ?? '', `http://${headers.host ?? ''}`];
  const origin = given.find((one) => URL.canParse(one) && new URL(one).host !== '');
  const { port, protocol } = new URL(origin ?? 'http://localhost');
  const isEncrypted = protocol === 'https:';
  return { port: port === '' ? (isEncrypted ? '443' : '80') : port, path, isEncrypted };
}

/** The header that takes the cookie of a place from the browser. */
export function clearedCookie(place: Place): string {
  return setCookie(place, null);
}

function setCookie(place: Place, value: string | null): string {
  return [
    `${nameOf(place)}=${value ?? ''}`,
    `Path=${place.path}`,
    `Max-Age=${value === null ? 0 : SESSION_S}`,
    'HttpOnly',
    'SameSite=Strict',
    ...(place.isEncrypted ? ['Secure'] : []),
  ].join('; ');
}

function nameOf({ port, path }: Pick<Place, 'port' | 'path'>): string {
  const folder = encodeURIComponent(path.slice(1, -1));
  return `${COOKIE}_${port}${folder === '' ? '' : `_${folder}`}`;
}

/** The reverse of {@link nameOf}, for names that are signed. */
function placeNamed(name: string): Pick<Place, 'port' | 'path'> {
  const [port = '', ...rest] = name.slice(COOKIE.length + 1).split('_');
  const folder = decodeURIComponent(rest.join('_'));
  return { port, path: folder === '' ? '/' : `/${folder}/` };
}

interface Cookie {
  name: string;
  value: string;
}

function cookiesOf(header = ''): Cookie[] {
  const pairs = header.split(/; */).filter((pair) => pair.startsWith(`${COOKIE}_`));
  return pairs.slice(0, MAX_COOKIES).flatMap((pair) => {
    const [name = '', value = ''] = pair.split('=');
    return value === '' || value.length > MAX_LENGTH ? [] : [{ name, value }];
  });
}

/** Most sessions of which a process remembers itself that it ended them. */
const MOST_ENDED_HERE = 1_000;

/** Sessions that this process ended: they are over also where the store is away. */
class EndedHere {
  private readonly until = new Map<string, number>();

  constructor(private readonly now: () => number) {}

  add({ id }: Session): void {
    this.until.set(id, this.now() + (SESSION_S + SKEW_S) * 1_000);
    for (const [one, until] of this.until) {
      if (until > this.now() && this.until.size <= MOST_ENDED_HERE) return;
      this.until.delete(one);
    }
  }

  has({ id }: Session): boolean {
    return this.until.has(id);
  }
}

async function within<Value>(ms: number, work: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  return Promise.race([work, limit]).finally(() => clearTimeout(timer));
}

function isSame(one: string, other: string): boolean {
  const [left, right] = [Buffer.from(one), Buffer.from(other)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function sign(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}

function keysByToken(): (token: TokenConfig) => Buffer {
  const keys = new WeakMap<TokenConfig, Buffer>();
  return (token) => {
    const known = keys.get(token);
    if (known !== undefined) return known;
    const key = createHmac('sha256', token.token).update('runwatch session 2').digest();
    keys.set(token, key);
    return key;
  };
}
