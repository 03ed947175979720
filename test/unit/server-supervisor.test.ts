import { once } from 'node:events';
import { afterEach, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { superviseServer, type RunningServer } from '../../src/redis/embedded/server.ts';
import { collectLog } from '../support/collect-log.ts';
import { waitFor } from '../support/wait-for.ts';

let letGo: () => Promise<unknown>;

afterEach(() => letGo());

/** A server without a real connection; `disconnect` on it simulates its death. */
function server(pid: number): RunningServer {
  const control = new Redis({ lazyConnect: true, retryStrategy: null });
  return { control, pid, place: { directory: null, socket: null }, reused: false };
}

function fail(): never {
  throw new Error('disk full');
}

function supervise(first: RunningServer, next: (() => RunningServer)[]) {
  const log = collectLog();
  const found: RunningServer[] = [];
  const ensure = async () => {
    const make = next.shift();
    if (make === undefined) throw new Error('out of servers');
    found.push(make());
    return found.at(-1) ?? first;
  };
  const supervisor = superviseServer({ first, ensure, found: () => undefined, log });
  letGo = () => supervisor.letGo();
  return { log, found };
}

test('a Redis server that dies is replaced, again and again', async () => {
  const first = server(1);
  const { found } = supervise(first, [() => server(2), () => server(3)]);
  first.control.disconnect();
  await waitFor(() => found.length === 1);
  found[0]?.control.disconnect();
  await waitFor(() => found.length === 2);
});

test('a Redis server that dies between being found and being watched is replaced', async () => {
  const first = server(1);
  first.control.disconnect();
  const { found } = supervise(first, [() => server(2)]);
  await waitFor(() => found.length === 1);
});

test('a failed start of the Redis server is repeated', async () => {
  const first = server(1);
  const { found, log } = supervise(first, [fail, () => server(2)]);
  first.control.disconnect();
  await waitFor(() => found.length === 1);
  expect(log.lines.map(({ level }) => level)).toEqual(['info', 'warn', 'error', 'info']);
});

test('no Redis server is started after the supervisor was closed', async () => {
  const first = server(1);
  const { found, log } = supervise(first, [() => server(2)]);
  await letGo();
  const ended = once(first.control, 'end');
  first.control.disconnect();
  await ended;
  expect(found).toEqual([]);
  expect(log.lines).toHaveLength(1);
});
