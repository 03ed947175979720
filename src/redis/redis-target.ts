import type { ConnectionOptions } from 'node:tls';
import type { RedisOptions } from 'ioredis';
import { RunwatchError } from '../core/errors.ts';
import type { TlsOptions } from '../core/tls.ts';
import type { Names } from '../names.ts';
import { addressText, parseAddress, clusterConnector } from './cluster-connector.ts';
import { DISCONNECT_TIMEOUT_MS, hostConnector, type Address } from './host-connector.ts';
import { createKeys } from './keys.ts';

/** How long a Sentinel may take to name the primary, ms. */
const SENTINEL_TIMEOUT_MS = 1_000;
const SENTINEL_PORT = 26_379;
const REDIS_PORT = 6_379;

interface TlsSettings extends TlsOptions {
  /** The name that certificates are to have, where it is not that of the host. */
  serverName?: string | undefined;
}

/** Which Redis, and how to get in: by one of `url`, `sentinels` with `name`, and `cluster`. */
export interface RedisSettings {
  /** A URL of {@link parseRedisUrl}, or a plain socket path. */
  url?: string | undefined;
  /** `host:port` each. */
  sentinels?: readonly string[] | undefined;
  /** The group of servers that the Sentinels watch. */
  name?: string | undefined;
  /** `host:port` of some nodes. */
  cluster?: readonly string[] | undefined;
  username?: string | undefined;
  password?: string | undefined;
  sentinelUsername?: string | undefined;
  sentinelPassword?: string | undefined;
  /** Present, connections to Sentinels, their servers and nodes use TLS; a URL says that by `rediss`. */
  tls?: TlsSettings | undefined;
  /** What all keys start with. */
  prefix: string;
}

interface RedisTarget {
  /** For ioredis. */
  options: Omit<RedisOptions, 'replyMapping'>;
  /** Where it is, for people: never with a user name or a password. */
  place: string;
  /** Whether a new connection finds another node than the one before. */
  isCluster: boolean;
}

/** @throws RunwatchError `invalid_redis_url` */
export function redisTarget(settings: RedisSettings, names: Names): RedisTarget {
  const { sentinels, cluster } = settings;
  if (sentinels !== undefined) return sentinelTarget(settings, addresses(sentinels, SENTINEL_PORT));
  if (cluster !== undefined) return clusterTarget(settings, addresses(cluster, REDIS_PORT), names);
  return urlTarget(settings, names);
}

function urlTarget({ url = '', tls, ...settings }: RedisSettings, names: Names): RedisTarget {
  const { options, place } = parseRedisUrl(url);
  const secure = 'tls' in options && tls !== undefined ? { tls: tlsOptions(tls) } : {};
  const all = { ...credentials(settings), ...options, ...secure };
  const { host, port, tls: encryption } = all;
  const connector =
    host === undefined || port === undefined
      ? {}
      : { Connector: hostConnector({ host, port }, { tls: encryption, names }) };
  return { options: { ...all, ...connector }, place, isCluster: false };
}

type UrlTarget = Pick<RedisTarget, 'options' | 'place'>;

/**
 * Reads `redis://[user][:password]@host[:port][/db]`, `rediss://…` (TLS), `unix:///path[?db=n]` and
 * a plain `/path[?db=n]`. Percent-encoding in names, passwords and paths is undone.
 * @throws RunwatchError `invalid_redis_url`, with a message that does not repeat the URL: it may
 *   hold a password
 */
export function parseRedisUrl(url: string): UrlTarget {
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

function socketTarget(url: URL): UrlTarget {
  const path = decoded(url.pathname);
  if (url.host !== '' || path.length < 2) throw invalid('expected unix:///absolute/path');
  return { options: { path, ...credentialsIn(url), db: database(url, '') }, place: path };
}

function networkTarget(url: URL): UrlTarget {
  if (url.hostname === '') throw invalid('it names no host');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? REDIS_PORT : Number(url.port);
  const tls = url.protocol === 'rediss:' ? { tls: {} } : {};
  return {
    options: {
      host,
      port,
      ...credentialsIn(url),
      ...tls,
      db: database(url, url.pathname.slice(1)),
    },
    place: `${url.hostname}:${port}`,
  };
}

function credentialsIn({ username, password }: URL) {
  return credentials({
    username: username === '' ? undefined : decoded(username),
    password: password === '' ? undefined : decoded(password),
  });
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

function sentinelTarget(settings: RedisSettings, sentinels: Address[]): RedisTarget {
  const { name = '', tls } = settings;
  const secure = tls && tlsOptions(tls);
  return {
    options: {
      ...credentials(settings),
      sentinels,
      name,
      ...(settings.sentinelUsername !== undefined && {
        sentinelUsername: settings.sentinelUsername,
      }),
      ...(settings.sentinelPassword !== undefined && {
        sentinelPassword: settings.sentinelPassword,
      }),
      sentinelCommandTimeout: SENTINEL_TIMEOUT_MS,
      ...(secure && { tls: secure, sentinelTLS: secure, enableTLSForSentinelMode: true }),
    },
    place: `${name} of the Sentinels ${sentinels.map(addressText).join(', ')}`,
    isCluster: false,
  };
}

function clusterTarget(settings: RedisSettings, nodes: Address[], names: Names): RedisTarget {
  const { username, password, tls, prefix } = settings;
  const Connector = clusterConnector({
    nodes,
    key: createKeys(prefix).writeProbe,
    tls: tls && tlsOptions(tls),
    username,
    password,
    disconnectTimeoutMs: DISCONNECT_TIMEOUT_MS,
    names,
  });
  return {
    options: { ...credentials(settings), Connector },
    place: `the cluster of ${nodes.map(addressText).join(', ')}`,
    isCluster: true,
  };
}

function credentials({ username, password }: Pick<RedisSettings, 'username' | 'password'>) {
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
  };
}

function tlsOptions({ ca, certificate, key, serverName }: TlsSettings): ConnectionOptions {
  return {
    ...(ca !== undefined && { ca }),
    ...(certificate !== undefined && { cert: certificate }),
    ...(key !== undefined && { key }),
    ...(serverName !== undefined && { servername: serverName }),
  };
}

function addresses(texts: readonly string[], defaultPort: number): Address[] {
  return texts.map((text) => {
    const address = parseAddress(text, defaultPort);
    if (address !== null) return address;
    throw new RunwatchError(`expected host:port, got ${JSON.stringify(text)}`, {
      code: 'invalid_redis_url',
    });
  });
}
