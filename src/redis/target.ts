import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions as TlsConnection } from 'node:tls';
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis';
import { messageOf, RunwatchError } from '../core/errors.ts';
import type { TlsOptions } from '../core/tls.ts';
import type { Names } from '../names.ts';
import { createKeys } from './keys.ts';

/*
 * Which Redis the settings name, and how a connection gets there: ioredis takes both as options. Three sections: what
 * settings say, the connector to one host, and the connector to a cluster.
 */

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

function tlsOptions({ ca, certificate, key, serverName }: TlsSettings): TlsConnection {
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

/** Where a server listens. */
interface Address {
  host: string;
  port: number;
}

/** Reads `host:port`, `host` or `[ipv6]:port`; null where it is none of them. */
export function parseAddress(text: string, defaultPort: number): Address | null {
  const found = /^(?:\[([0-9a-f:.]+)\]|([^\s:/@[\]]+))(?::(\d{1,5}))?$/i.exec(text);
  const host = found?.[1] ?? found?.[2];
  const port = found?.[3] === undefined ? defaultPort : Number(found[3]);
  return host === undefined || port < 1 || port > 65_535 ? null : { host, port };
}

function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** How long a peer may take to agree to an end; ioredis waits it out for what is closed already, too. */
export const DISCONNECT_TIMEOUT_MS = 250;

interface SocketOptions {
  tls: TlsConnection | undefined;
  names: Names;
}

/** Connects by the names of the process, which ioredis has no option for. */
function openSocket(address: Address, { tls, names }: SocketOptions): Socket {
  const named = { ...address, lookup: names.lookupOwn };
  const socket = tls === undefined ? connectPlain(named) : connectTls({ ...tls, ...named });
  return names.watched(socket, address.host);
}

/** @returns the class that ioredis makes connections to one host with, by its option `Connector` */
function hostConnector(address: Address, options: SocketOptions) {
  return class HostConnector extends AbstractConnector {
    constructor() {
      super(DISCONNECT_TIMEOUT_MS);
    }

    async connect(): Promise<Socket> {
      this.connecting = true;
      const socket = openSocket(address, options);
      socket.once('error', (error: Error) => (this.firstError = error));
      this.stream = socket;
      return socket;
    }
  };
}

/** How long one node may take to say which node holds what, ms. */
const ASK_TIMEOUT_MS = 1_000;

/** Nodes that are asked; more than clusters of one slot in use have. */
const MOST_NODES = 30;

interface ClusterOptions {
  /** Where to begin; further nodes become known by those. */
  nodes: readonly Address[];
  /** A key in the slot that is wanted. */
  key: string;
  tls: TlsConnection | undefined;
  username: string | undefined;
  password: string | undefined;
  names: Names;
}

/**
 * All keys of runwatch are in one slot, so that of a cluster it needs one node at a time: the primary
 * of that slot. Each connection asks anew which that is; otherwise it is a connection like any other.
 * @returns the class that ioredis makes connections with, by its option `Connector`
 */
function clusterConnector(options: ClusterOptions) {
  /** Shared by all connections, the nodes that were named first. */
  let known = options.nodes;

  return class ClusterConnector extends AbstractConnector {
    constructor() {
      super(DISCONNECT_TIMEOUT_MS);
    }

    async connect(): Promise<Socket> {
      this.connecting = true;
      const { primary, nodes } = await findPrimary(known, options);
      known = merged(options.nodes, nodes);
      if (!this.connecting) throw new Error('Connection is closed.');
      const socket = openSocket(primary, options);
      socket.once('error', (error: Error) => (this.firstError = error));
      this.stream = socket;
      return socket;
    }
  };
}

interface Topology {
  primary: Address;
  nodes: Address[];
}

/**
 * Asks all nodes at once, and believes most of them: a node that was cut off may still take itself
 * for the primary.
 */
async function findPrimary(known: readonly Address[], options: ClusterOptions): Promise<Topology> {
  const answers = await Promise.allSettled(known.map((node) => askNode(node, options)));
  const votes = new Map<string, { count: number; topology: Topology }>();
  for (const answer of answers) {
    if (answer.status === 'rejected') continue;
    const name = addressText(answer.value.primary);
    const count = (votes.get(name)?.count ?? 0) + 1;
    votes.set(name, { count, topology: answer.value });
  }
  const [winner] = [...votes.values()].sort((one, other) => other.count - one.count);
  if (winner !== undefined) return winner.topology;
  const [first] = answers.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  throw new RunwatchError(`no node of the cluster says who holds the keys: ${messageOf(first)}`, {
    code: 'redis_unavailable',
    retriable: true,
    cause: first,
  });
}

async function askNode(node: Address, options: ClusterOptions): Promise<Topology> {
  const redis = new Redis(askOptions(node, options));
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    const slot = await redis.cluster('KEYSLOT', options.key);
    return topologyFor(slot, await redis.cluster('SLOTS'), node);
  } finally {
    redis.disconnect();
  }
}

function askOptions(
  node: Address,
  { tls, username, password }: ClusterOptions,
): Omit<RedisOptions, 'replyMapping'> {
  return {
    ...node,
    ...(tls && { tls }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    connectionName: 'runwatch-topology',
    lazyConnect: true,
    connectTimeout: ASK_TIMEOUT_MS,
    commandTimeout: ASK_TIMEOUT_MS,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    retryStrategy: null,
  };
}

/** Source: the reply of CLUSTER SLOTS, by redis.io; the primary comes first, further fields may follow. */
type SlotRange = [first: number, last: number, ...nodes: SlotNode[]];
type SlotNode = [host: string | null, port: number, ...more: unknown[]];

/** A node that does not know by what name it is reached leaves that out: it is the one that was asked. */
function topologyFor(slot: number, ranges: SlotRange[], asked: Address): Topology {
  const addressOf = ([host, port]: SlotNode): Address => ({
    host: host === null || host === '' || host === '?' ? asked.host : host,
    port,
  });
  const nodesOf = ([, , ...nodes]: SlotRange) => nodes.map(addressOf);
  const range = ranges.find(([first, last]) => first <= slot && slot <= last);
  const [primary] = range === undefined ? [] : nodesOf(range);
  if (primary === undefined) throw new Error(`no node holds slot ${slot}`);
  return { primary, nodes: ranges.flatMap(nodesOf) };
}

function merged(named: readonly Address[], found: readonly Address[]): Address[] {
  const byText = new Map([...named, ...found].map((node) => [addressText(node), node]));
  return [...byText.values()].slice(0, MOST_NODES);
}
