import { channel } from 'node:diagnostics_channel';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { startServer, type TestServer } from '../support/http-server.ts';
import { waitFor } from '../support/wait-for.ts';

const tokens = ['a', 'b'].map((name) => ({
  name,
  token: `read-token-of-${name}`,
  scopes: ['read' as const],
}));

let server: TestServer;
/** Ends the reads that run, the first to begin first. */
let running: { run: string; end: () => void }[];
const readers = new Set<AbortController>();

/** A server whose listings of silences end when a test says so. */
async function start(options: Parameters<typeof startServer>[0] = {}): Promise<void> {
  server = await startServer({ tokens, ...options });
  running = [];
  const { list } = server.services.watches;
  server.services.watches.list = async (query) => {
    await new Promise<void>((end) => running.push({ run: String(query.metadata?.['of']), end }));
    return list(query);
  };
}

/** Reads a listing; the name of its token identifies its work. */
function read(name = 'a'): { answer: Promise<Response>; leave: () => void } {
  const reader = new AbortController();
  readers.add(reader);
  const answer = server.fetch(`/v1/watches?metadata.of=${name}`, {
    headers: { authorization: `Bearer read-token-of-${name}` },
    signal: reader.signal,
  });
  answer.catch(() => undefined);
  return { answer, leave: () => reader.abort() };
}

const readTimes = (times: number, name?: string) => Array.from({ length: times }, () => read(name));

/** Waits until the server has this many further requests. @returns what to await once they are sent */
function arrivals(count: number): Promise<unknown> {
  let left = count;
  const started = channel('http.server.request.start');
  return new Promise<void>((resolve) => {
    const onStart = () => {
      left -= 1;
      if (left > 0) return;
      started.unsubscribe(onStart);
      resolve();
    };
    started.subscribe(onStart);
  }).then(() => nextTurn());
}

const runningOf = (name: string) => running.filter(({ run }) => run === name).length;

/** Ends one of the reads of a token. */
function endOne(name: string): void {
  const at = running.findIndex(({ run }) => run === name);
  const [ended] = running.splice(at, 1);
  ended?.end();
}

afterEach(async () => {
  for (const reader of readers) reader.abort();
  readers.clear();
  for (const { end } of running.splice(0)) end();
  await server.close();
});

describe('heavy reads', () => {
  it('a token has at most 12 at work, and the listings of another go on beside them', async () => {
    await start();
    readTimes(30);
    await waitFor(() => runningOf('a') === 12);
    const [other] = readTimes(4, 'b');
    await waitFor(() => runningOf('b') === 4);
    endOne('b');
    expect((await other?.answer)?.status).toBe(200);
    expect(runningOf('a')).toBe(12);
  });

  it('16 run at a time, and tokens that wait take turns', async () => {
    await start();
    const first = arrivals(30);
    readTimes(30);
    await first;
    const second = arrivals(10);
    readTimes(10, 'b');
    await second;
    expect([runningOf('a'), runningOf('b')]).toEqual([12, 4]);
    for (const [count, ended] of ['a', 'a', 'a', 'a'].entries()) {
      endOne(ended);
      await waitFor(() => running.length === 16);
      expect(running.slice(-count - 1).map(({ run }) => run)).toEqual(
        ['a', 'b', 'a', 'b'].slice(0, count + 1),
      );
    }
  });

  it('a read whose turn does not come gets 429 with the time after which to try again', async () => {
    await start({ limits: { heavyReadWaitMs: 20 } });
    readTimes(12);
    await waitFor(() => runningOf('a') === 12);
    const refused = await read().answer;
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1']);
    expect(await refused.json()).toMatchObject({ code: 'too_many_requests' });
    endOne('a');
    const next = read();
    await waitFor(() => runningOf('a') === 12);
    while (runningOf('a') > 0) endOne('a');
    expect((await next.answer).status).toBe(200);
  });

  it('a read whose client has gone takes no turn', async () => {
    await start();
    const [first, ...others] = readTimes(14);
    await waitFor(() => runningOf('a') === 12);
    for (const { leave } of [first, ...others].flatMap((one) => one ?? [])) leave();
    await waitFor(async () => (await server.connections()) === 0);
    const last = read();
    while (runningOf('a') > 0) endOne('a');
    await waitFor(() => runningOf('a') === 1);
    endOne('a');
    expect((await last.answer).status).toBe(200);
    expect(running).toEqual([]);
  });

  it('a registration and the reading of one watch wait for no listing', async () => {
    await start({ tokens: [] });
    readTimes(16);
    await waitFor(() => running.length === 16);
    expect((await server.post('/v1/watches', { run_id: 'r-1' })).status).toBe(201);
    expect((await server.fetch('/v1/watches/r-1')).status).toBe(200);
  });

  it('a refused read with an Idempotency-Key is done when it comes again', async () => {
    await start({ tokens: [], limits: { heavyReadWaitMs: 20 } });
    readTimes(16);
    await waitFor(() => running.length === 16);
    const test = () =>
      server.fetch('/v1/rules/test', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': 'key-1' },
        body: '{}',
      });
    expect((await test()).status).toBe(429);
    endOne('a');
    await waitFor(async () => (await test()).status === 200);
  });
});
