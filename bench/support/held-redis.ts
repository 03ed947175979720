import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { BenchContext } from './context.ts';

/** A proxy to a Redis that can hold up replies, as a network does, while commands get through. */
export interface HeldRedis {
  url: string;
  hold(): void;
  release(): void;
}

export async function startHeldRedis(
  context: BenchContext,
  socketPath: string,
): Promise<HeldRedis> {
  const servers = new Set<Socket>();
  let isHeld = false;
  const proxy = createServer((client) => {
    const server = connect(socketPath);
    servers.add(server);
    if (isHeld) server.pause();
    client.pipe(server);
    server.on('data', (part) => client.write(part));
    const end = () => {
      servers.delete(server);
      server.destroy();
      client.destroy();
    };
    for (const socket of [client, server]) socket.on('error', end).on('close', end);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  context.onEnd(async () => {
    for (const server of servers) server.destroy();
    proxy.close();
  });
  return {
    url: `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    hold() {
      isHeld = true;
      for (const server of servers) server.pause();
    },
    release() {
      isHeld = false;
      for (const server of servers) server.resume();
    },
  };
}
