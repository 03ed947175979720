import { RunwatchError } from '../core/errors.ts';

interface Credentials {
  username?: string;
  password?: string;
}

type Address = { path: string } | { host: string; port: number; tls?: object };

/** Where a Redis is and how to get in. */
interface RedisTarget {
  /** For ioredis. */
  options: Address & Credentials & { db: number };
  /** Where it is, for people: never with a user name or a password. */
  place: string;
}

/**
 * Reads `redis://[user][:password]@host[:port][/db]`, `rediss://…` (TLS), `unix:///path[?db=n]` and
 * a plain `/path[?db=n]`. Percent-encoding in names, passwords and paths is undone.
 * @throws RunwatchError `invalid_redis_url`, with a message that does not repeat the URL: it may
 *   hold a password
 */
export function parseRedisUrl(url: string): RedisTarget {
  const text = url.startsWith('/') ? `unix://${url}` : url;
  if (!URL.canParse(text)) throw invalid('it is no URL');
  const parsed = new URL(text);
  switch (parsed.protocol) {
    case 'unix:':
      return socketTarget(parsed);
    case 'redis:':
    case 'rediss:':
      return networkTarget(parsed);
    default:
      throw invalid('expected redis://, rediss:// or unix:// and an absolute path');
  }
}

function socketTarget(url: URL): RedisTarget {
  const path = decoded(url.pathname);
  if (url.host !== '' || path.length < 2) throw invalid('expected unix:///absolute/path');
  return { options: { path, ...credentials(url), db: database(url, '') }, place: path };
}

function networkTarget(url: URL): RedisTarget {
  if (url.hostname === '') throw invalid('it names no host');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? 6379 : Number(url.port);
  const tls = url.protocol === 'rediss:' ? { tls: {} } : {};
  return {
    options: { host, port, ...credentials(url), ...tls, db: database(url, url.pathname.slice(1)) },
    place: `${url.hostname}:${port}`,
  };
}

function credentials(url: URL): Credentials {
  return {
    ...(url.username === '' ? {} : { username: decoded(url.username) }),
    ...(url.password === '' ? {} : { password: decoded(url.password) }),
  };
}

function database(url: URL, fromPath: string): number {
  const text = fromPath === '' ? (url.searchParams.get('db') ?? '0') : fromPath;
  if (!/^\d{1,5}$/.test(text)) throw invalid('the database must be a number');
  return Number(text);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw invalid('a % in it is not followed by two hexadecimal digits', cause);
  }
}

function invalid(why: string, cause?: unknown): RunwatchError {
  const message = `the Redis URL cannot be used: ${why}`;
  return new RunwatchError(message, { code: 'invalid_redis_url', cause });
}
