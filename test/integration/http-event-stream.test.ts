import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RunwatchError } from '../../src/core/errors.ts';
import { EventSlice } from '../../src/http/events.ts';
import { createTokens } from '../../src/http/tokens.ts';
import { anEvent, STALE } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';
import { rawRequest, untilRefused } from '../support/raw-http.ts';
import { waitFor } from '../support/wait-for.ts';

let server: TestServer;

beforeEach(async () => {
  server = await startServer({ limits: { heartbeatMs: 20, stallMs: 200 } });
});

afterEach(() => server.close());

/** Reads a stream until its text fulfils a condition, or to its end. */
async function readUntil(response: Response, isEnough: (text: string) => boolean) {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  while (!isEnough(text)) {
    const { done, value } = await reader.read();
    if (done) return { text, ended: true };
    text += value;
  }
  await reader.cancel();
  return { text, ended: false };
}

/** The ids of the events in the text of a stream. */
function idsOf(text: string): string[] {
  return [...text.matchAll(/^id: (.*)\nevent: /gm)].map(([, id = '']) => id);
}

describe('the list of events', () => {
  it('listed events come after the cursor, oldest first, as they were published', async () => {
    for (const sequence of [1, 2, 3]) server.services.append(anEvent(sequence));
    const response = await server.fetch('/v1/events?after=c1&limit=2');
    expect(await response.json()).toEqual({ data: [anEvent(2), anEvent(3)], next_cursor: 'c3' });
  });
});

describe('a cursor of a store that has lost data since', () => {
  it('a stale cursor is refused by listings with 410', async () => {
    for (const path of ['watches?cursor', 'deliveries?cursor', 'events?after']) {
      const response = await server.fetch(`/v1/${path}=${STALE}`);
      expect(response.status).toBe(410);
      expect(await response.json()).toMatchObject({ code: 'stale_cursor' });
    }
  });

  it('a stale cursor begins a stream with a reset, and new events follow', async () => {
    server.services.append(anEvent(1));
    const response = await server.fetch('/v1/events/stream', {
      headers: { 'last-event-id': STALE },
    });
    await waitFor(() => server.services.followers === 1);
    server.services.append(anEvent(2));
    const { text } = await readUntil(response, (seen) => seen.includes('evt_2'));
    expect(text).toContain('id: c1\nevent: reset\ndata: {"reason":');
    expect(idsOf(text)).toEqual(['c1', 'c2']);
  });
});

describe('the stream of events', () => {
  it('the event stream sends each event as it happens, with its cursor and type', async () => {
    const response = await server.fetch('/v1/events/stream');
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    await waitFor(() => server.services.followers === 1);
    server.services.append(anEvent(1, { type: 'run.failed' }));
    const { text } = await readUntil(response, (seen) => /^data: .*\n\n/m.test(seen));
    expect(text).toContain('id: c1\nevent: run.failed\ndata: {"id":"evt_1"');
  });

  it('the event stream names its first cursor in a header', async () => {
    server.services.append(anEvent(1));
    const response = await server.fetch('/v1/events/stream');
    expect(response.headers.get('runwatch-cursor')).toBe('c1');
    await response.body?.cancel();
  });

  it('the event stream sends no blank line and no id without an event', async () => {
    const response = await server.fetch('/v1/events/stream');
    await waitFor(() => server.services.followers === 1);
    server.services.append(anEvent(1));
    const isEnough = (seen: string) => seen.split(': heartbeat\n').length > 3 && /^id/m.test(seen);
    const { text } = await readUntil(response, isEnough);
    const blocks = text.split('\n\n').slice(0, -1);
    expect(blocks.map((block) => /^data: /m.test(block))).toEqual([true]);
  });

  it.each([
    ['Last-Event-ID', '', { 'last-event-id': 'c2' }],
    ['after', '?after=c2', {}],
    ['Last-Event-ID before after', '?after=c1', { 'last-event-id': 'c2' }],
  ])('the event stream resumes by %s without a gap or a repeat', async (_what, query, headers) => {
    for (const sequence of [1, 2, 3, 4]) server.services.append(anEvent(sequence));
    const response = await server.fetch(`/v1/events/stream${query}`, { headers });
    server.services.append(anEvent(5));
    const { text } = await readUntil(response, (seen) => seen.includes('id: c5'));
    expect(idsOf(text)).toEqual(['c3', 'c4', 'c5']);
  });

  it('the event stream sends only the events of its filters', async () => {
    server.services.append(anEvent(1));
    server.services.append(anEvent(2, { type: 'run.failed' }));
    const other = anEvent(3, { type: 'run.failed' });
    server.services.append({ ...other, data: { ...other.data, run_id: 'run-2' } });
    const query = 'after=c0&type=run.failed&run_id=run-2';
    const response = await server.fetch(`/v1/events/stream?${query}`);
    const { text } = await readUntil(response, (seen) => seen.includes('id: c3'));
    expect(idsOf(text)).toEqual(['c3']);
  });

  it('the event stream keeps an idle connection alive by comments', async () => {
    const response = await server.fetch('/v1/events/stream');
    const { ended } = await readUntil(response, (seen) => seen.split(': heartbeat\n').length > 3);
    expect(ended).toBe(false);
  });

  it('the event stream stops reading the log when its client goes away', async () => {
    const leaving = new AbortController();
    await server.fetch('/v1/events/stream', { signal: leaving.signal });
    await waitFor(() => server.services.followers === 1);
    leaving.abort();
    await waitFor(() => server.services.followers === 0);
    await waitFor(() => server.lines.length === 1);
    expect(server.lines).toMatchObject([
      { level: 'debug', fields: { route: '/v1/events/stream', status: 200, aborted: true } },
    ]);
  });

  it('the event stream hangs up on a client that does not read', async () => {
    const { hostname, port } = new URL(server.url);
    const socket = connect({ host: hostname, port: Number(port) });
    socket.pause();
    socket.write(rawRequest('GET /v1/events/stream?after=c0', { host: 'localhost' }));
    await waitFor(() => server.services.followers === 1);
    const large = anEvent(1);
    large.data.watch.metadata = { filler: 'x'.repeat(64_000) };
    for (let count = 0; count < 1_000; count += 1) server.services.append(large);
    await waitFor(() => server.services.followers === 0);
    socket.destroy();
  });

  it('the event stream ends cleanly when the server closes', async () => {
    const response = await server.fetch('/v1/events/stream');
    await waitFor(() => server.services.followers === 1);
    const reading = readUntil(response, () => false);
    await server.close();
    expect(await reading).toMatchObject({ ended: true });
    expect(server.services.followers).toBe(0);
  });

  it('the event stream ends, and leaves one line, when the log cannot be read', async () => {
    async function* brokenLog() {
      yield { cursor: 'c1', event: anEvent(1) };
      throw new RunwatchError('gone', { code: 'redis_unavailable', retriable: true });
    }
    server.services.events.follow = async () => brokenLog();
    const response = await server.fetch('/v1/events/stream');
    const { text, ended } = await readUntil(response, () => false);
    expect([idsOf(text), ended]).toEqual([['c1'], true]);
    await waitFor(() => server.lines.length > 0);
    expect(server.lines).toMatchObject([{ level: 'error', fields: { status: 200 } }]);
  });

  it('an event stream beyond 100 at a time is refused, also where all are opened at once', async () => {
    const leaving = new AbortController();
    const { signal } = leaving;
    const opened = await Promise.all(
      Array.from({ length: 300 }, () => server.fetch('/v1/events/stream', { signal })),
    );
    const refused = opened.filter(({ status }) => status === 503);
    expect(refused).toHaveLength(200);
    expect(await refused[0]?.json()).toMatchObject({ code: 'too_many_streams' });
    leaving.abort();
    await waitFor(() => server.services.followers === 0);
    expect((await server.fetch('/v1/events/stream')).status).toBe(200);
  });

  it('an event stream opened while the server closes is refused', async () => {
    let answer: (cursor: string) => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      server.services.events.position = () => {
        resolve();
        return new Promise((settle) => (answer = settle));
      };
    });
    const response = server.fetch('/v1/events/stream');
    await asked;
    const closed = server.close();
    await untilRefused(server.url);
    answer('c0');
    expect((await response).status).toBe(503);
    await closed;
  });

  it('HEAD of the event stream ends at once', async () => {
    const response = await server.fetch('/v1/events/stream', { method: 'HEAD' });
    expect(response.status).toBe(405);
  });
});

describe('streams of one token', () => {
  const tokens = ['ops', 'ui'].map((name) => ({
    name,
    token: `${name}-token-1`,
    scopes: ['read' as const],
  }));

  it('a stream that was opened without a token ends once one is needed', async () => {
    await server.close();
    const inForce = createTokens([]);
    server = await startServer({ tokens: inForce });
    const open = await server.fetch('/v1/events/stream');
    await waitFor(() => server.services.followers === 1);
    inForce.replace([{ ...tokens[0]!, sources: ['*'] }]);
    expect(await readUntil(open, () => false)).toMatchObject({ ended: true });
  });

  it('a client that leaves before its stream is opened holds none', async () => {
    const known = createTokens([{ ...tokens[0]!, sources: ['*'] }]);
    const [token] = known.all();
    const limits = { heartbeatMs: 20, stallMs: 200 };
    const slice = new EventSlice(
      server.services.events as never,
      known,
      { isEnded: async () => false },
      limits,
    );
    const request = { token, query: {}, headers: {} } as never;
    const raw = { destroyed: true, once: () => undefined };
    for (let left = 30; left > 0; left -= 1)
      await slice.stream(request, { raw, hijack: () => undefined } as never);
  });

  it('one token holds at most a quarter of the event streams, and the refusal says so', async () => {
    await server.close();
    server = await startServer({ tokens });
    const leaving = new AbortController();
    const follow = (name: string) =>
      server.fetch('/v1/events/stream', {
        headers: { authorization: `Bearer ${name}-token-1` },
        signal: leaving.signal,
      });
    const opened = await Promise.all(Array.from({ length: 26 }, () => follow('ops')));
    const refused = opened.filter(({ status }) => status === 503);
    expect(refused).toHaveLength(1);
    expect(await refused[0]?.json()).toMatchObject({
      code: 'too_many_streams',
      detail: 'one token holds up to 25 of 100 streams, and "ops" has that many open',
    });
    expect((await follow('ui')).status).toBe(200);
    leaving.abort();
    await waitFor(() => server.services.followers === 0);
  });
});
