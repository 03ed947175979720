import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis';
import { messageOf, RunwatchError } from '../core/errors.ts';
import type { Names } from '../names.ts';
import { openSocket, type Address } from './host-connector.ts';

/** How long one node may take to say which node holds what, ms. */
const ASK_TIMEOUT_MS = 1_000;

/** Nodes that are asked; more than clusters of one slot in use have. */
const MOST_NODES = 30;

interface ClusterOptions {
  /** Where to begin; further nodes become known by those. */
  nodes: readonly Address[];
  /** A key in the slot that is wanted. */
  key: string;
  tls: ConnectionOptions | undefined;
  username: string | undefined;
  password: string | undefined;
  disconnectTimeoutMs: number;
  names: Names;
}

/**
 * All keys of runwatch are in one slot, so that of a cluster it needs one node at a time: the primary
 * of that slot. Each connection asks anew which that is; otherwise it is a connection like any other.
 * @returns the class that ioredis makes connections with, by its option `Connector`
 */
export function clusterConnector(options: ClusterOptions) {
  /** Shared by all connections, the nodes that were named first. */
  let known = options.nodes;

  return class ClusterConnector extends AbstractConnector {
    constructor() {
      super(options.disconnectTimeoutMs);
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
  { tls, username, password, disconnectTimeoutMs }: ClusterOptions,
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
    disconnectTimeout: disconnectTimeoutMs,
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

/** Reads `host:port`, `host` or `[ipv6]:port`; null where it is none of them. */
export function parseAddress(text: string, defaultPort: number): Address | null {
  const found = /^(?:\[([0-9a-f:.]+)\]|([^\s:/@[\]]+))(?::(\d{1,5}))?$/i.exec(text);
  const host = found?.[1] ?? found?.[2];
  const port = found?.[3] === undefined ? defaultPort : Number(found[3]);
  return host === undefined || port < 1 || port > 65_535 ? null : { host, port };
}

export function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
