import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { findServer, freePort } from './redis-process.ts';
import { waitFor } from './wait-for.ts';

/** How long a silent server may take until it counts as gone, ms; production uses seconds. */
const DOWN_AFTER_MS = 700;

interface Node {
  port: number;
  child: ChildProcess;
  control: Redis;
}

/** Several servers of one test or bench, on loopback. */
export interface Topology {
  /** Kills the server that holds the keys now. */
  killPrimary(): Promise<void>;
  /** Suspends it for a while, as on a host that hangs. */
  pausePrimary(ms: number): Promise<void>;
  stop(): Promise<void>;
}

export interface SentinelTopology extends Topology {
  /** In the form of `redis.sentinels`. */
  sentinels: string[];
  name: string;
}

export interface ClusterTopology extends Topology {
  /** In the form of `redis.cluster`. */
  nodes: string[];
  /** A node that does not hold the keys. */
  otherNode: string;
}

class Servers {
  private readonly nodes: Node[] = [];

  private constructor(
    private readonly dir: string,
    private readonly server: string,
  ) {}

  static async create(): Promise<Servers> {
    const server = findServer();
    if (server === null) throw new Error('no redis-server or valkey-server on PATH');
    return new Servers(await mkdtemp(join(tmpdir(), 'runwatch-topology-')), server);
  }

  async start(args: string[], config: string | null = null): Promise<Node> {
    const port = await freePort();
    const dir = await mkdtemp(join(this.dir, 'node-'));
    const file = join(dir, 'redis.conf');
    if (config !== null) await writeFile(file, config);
    const common = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir];
    const all = [...(config === null ? [] : [file]), ...common, ...args];
    const child = spawn(this.server, all, { stdio: 'ignore' });
    child.unref();
    const control = new Redis({
      host: '127.0.0.1',
      port,
      enableReadyCheck: false,
      disconnectTimeout: 100,
    });
    control.on('error', () => undefined);
    const node = { port, child, control };
    this.nodes.push(node);
    await waitFor(async () => (await control.ping()) === 'PONG');
    return node;
  }

  async kill({ child, control }: Node): Promise<void> {
    control.disconnect();
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.ref();
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  at(port: number): Node {
    const node = this.nodes.find((one) => one.port === port);
    if (node === undefined) throw new Error(`no server at ${port}`);
    return node;
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => this.kill(node)));
    await rm(this.dir, { recursive: true, force: true });
  }

  topology(primary: () => Promise<Node>): Topology {
    return {
      killPrimary: async () => this.kill(await primary()),
      pausePrimary: async (ms) => {
        const { child } = await primary();
        child.kill('SIGSTOP');
        setTimeout(() => child.kill('SIGCONT'), ms).unref();
      },
      stop: () => this.stop(),
    };
  }
}

/** Without the delay, a first replica waits five seconds for others to come. */
const DURABLE = '--save|| --appendonly|yes --appendfsync|everysec --repl-diskless-sync-delay|0'
  .split(' ')
  .flatMap((option) => option.split('|').slice(0, 2));

/** A primary, a replica, and a Sentinel that watches them. */
export async function startSentinel(): Promise<SentinelTopology> {
  const servers = await Servers.create();
  const first = await servers.start(DURABLE);
  const replica = await servers.start([...DURABLE, '--replicaof', '127.0.0.1', String(first.port)]);
  await waitFor(async () => (await replica.control.info('replication')).includes('link_status:up'));
  const name = 'group';
  const sentinel = await servers.start(
    ['--sentinel'],
    [
      `sentinel monitor ${name} 127.0.0.1 ${first.port} 1`,
      `sentinel down-after-milliseconds ${name} ${DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${name} 5000`,
      '',
    ].join('\n'),
  );
  const primary = async () => {
    const [, port] = (await sentinel.control.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)) as [
      string,
      string,
    ];
    return servers.at(Number(port));
  };
  // A Sentinel learns of replicas by INFO, every ten seconds once it has started.
  await waitFor(async () => {
    const replicas = await sentinel.control.call('SENTINEL', 'REPLICAS', name);
    return Array.isArray(replicas) && replicas.length === 1;
  });
  return { sentinels: [`127.0.0.1:${sentinel.port}`], name, ...servers.topology(primary) };
}

/** Three primaries, so that two remain to vote, and a replica of the one that holds a key. */
export async function startCluster(key: string): Promise<ClusterTopology> {
  const servers = await Servers.create();
  const start = async () =>
    servers.start([
      ...DURABLE,
      '--cluster-enabled',
      'yes',
      '--cluster-node-timeout',
      String(DOWN_AFTER_MS),
      '--cluster-port',
      String(await freePort()),
    ]);
  const nodes = await Promise.all([start(), start(), start(), start()]);
  const [one, two, three, replica] = nodes;
  await Promise.all([
    one.control.call('CLUSTER', 'ADDSLOTSRANGE', 0, 5461),
    two.control.call('CLUSTER', 'ADDSLOTSRANGE', 5462, 10922),
    three.control.call('CLUSTER', 'ADDSLOTSRANGE', 10923, 16383),
  ]);
  for (const { port } of [two, three, replica]) await meet(one, servers.at(port));
  await waitFor(async () => {
    const states = await Promise.all(nodes.map(({ control }) => control.cluster('INFO')));
    return states.every(
      (state) => state.includes('cluster_state:ok') && state.includes('cluster_known_nodes:4'),
    );
  });
  const slot = await one.control.cluster('KEYSLOT', key);
  const holder = slot <= 5461 ? one : slot <= 10922 ? two : three;
  await replica.control.cluster('REPLICATE', await holder.control.cluster('MYID'));
  await waitFor(async () => (await replica.control.info('replication')).includes('link_status:up'));
  const primary = async () => {
    const { control } = holder === one ? two : one;
    const ranges = await control.cluster('SLOTS');
    const range = ranges.find(([first, last]) => first <= slot && slot <= last);
    return servers.at(Number(range?.[2]?.[1]));
  };
  const other = holder === one ? two : one;
  return {
    nodes: nodes.map(({ port }) => `127.0.0.1:${port}`),
    otherNode: `127.0.0.1:${other.port}`,
    ...servers.topology(primary),
  };
}

async function meet(one: Node, other: Node): Promise<void> {
  const [, busPort = ''] = /@(\d+)/.exec(String(await other.control.cluster('NODES'))) ?? [];
  await one.control.call('CLUSTER', 'MEET', '127.0.0.1', other.port, busPort);
}
