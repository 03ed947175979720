import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { CLAIM_REQUESTS } from '../../src/redis/stores/request-claim.ts';
import type { BenchContext } from './context.ts';
import type { BenchRedis } from './redis.ts';

/** What a call of the claim's script carries. */
const CLAIM = createHash('sha1').update(CLAIM_REQUESTS.lua).digest('hex');

/** A Redis as daemons reach it: at a distance, and with claims counted. */
export interface RedisProxy {
  url: string;
  /** Claims since the last call of this. */
  takeClaims(): number;
}

/** A TCP proxy in front of a Redis. @param options.delayMs how much later bytes arrive, each way */
export async function startRedisProxy(
  context: BenchContext,
  redis: BenchRedis,
  { delayMs = 0 } = {},
): Promise<RedisProxy> {
  let claims = 0;
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const target = connect({ path: redis.socket });
    const count = createCounter(CLAIM);
    client.on('data', (bytes) => (claims += count(bytes)));
    pass(client, target, delayMs);
    pass(target, client, delayMs);
    for (const socket of [client, target]) sockets.add(socket.on('error', () => socket.destroy()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.onEnd(async () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    takeClaims() {
      const taken = claims;
      claims = 0;
      return taken;
    },
  };
}

/** Passes bytes on in their order, since timers of one duration fire in theirs. */
function pass(from: Socket, to: Socket, delayMs: number): void {
  const later = (act: () => void) => void (delayMs === 0 ? act() : setTimeout(act, delayMs));
  from.on('data', (bytes) => later(() => to.write(bytes)));
  from.on('close', () => later(() => to.destroy()));
}

/** Counts how often a text stands in bytes that come in parts. */
function createCounter(text: string): (bytes: Buffer) => number {
  let rest = '';
  return (bytes) => {
    const read = rest + bytes.toString('latin1');
    const parts = read.split(text);
    rest = (parts.at(-1) ?? '').slice(1 - text.length);
    return parts.length - 1;
  };
}
