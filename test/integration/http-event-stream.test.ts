import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RunwatchError } from '../../src/core/errors.ts';
import { anEvent } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';
import { rawRequest } from '../support/raw-http.ts';

let server: TestServer;

beforeEach(async () => {
  server = await startServer({ streamLimits: { heartbeatMs: 20, stallMs: 200 } });
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

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('the list of events', () => {
  it('gives the events after a cursor, oldest first, as they were published', async () => {
    for (const sequence of [1, 2, 3]) server.services.append(anEvent(sequence));
    const response = await server.fetch('/v1/events?after=c1&limit=2');
    expect(await response.json()).toEqual({ data: [anEvent(2), anEvent(3)], next_cursor: 'c3' });
  });
});

describe('the stream of events', () => {
  it('sends each event as it happens, with its cursor and type', async () => {
    const response = await server.fetch('/v1/events/stream');
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    await until(() => server.services.followers === 1);
    server.services.append(anEvent(1, { type: 'run.failed' }));
    const { text } = await readUntil(response, (seen) => /^data: .*\n\n/m.test(seen));
    expect(text).toContain('id: c1\nevent: run.failed\ndata: {"id":"evt_1"');
  });

  it('says first where it stands, so that a reader which is cut off can resume', async () => {
    server.services.append(anEvent(1));
    const response = await server.fetch('/v1/events/stream');
    const { text } = await readUntil(response, (seen) => seen.includes('id: '));
    expect(text).toContain('id: c1\n\n');
  });

  it.each([
    ['Last-Event-ID', '', { 'last-event-id': 'c2' }],
    ['after', '?after=c2', {}],
    ['Last-Event-ID before after', '?after=c1', { 'last-event-id': 'c2' }],
  ])('resumes by %s without a gap or a repeat', async (_what, query, headers) => {
    for (const sequence of [1, 2, 3, 4]) server.services.append(anEvent(sequence));
    const response = await server.fetch(`/v1/events/stream${query}`, { headers });
    server.services.append(anEvent(5));
    const { text } = await readUntil(response, (seen) => seen.includes('id: c5'));
    expect(idsOf(text)).toEqual(['c3', 'c4', 'c5']);
  });

  it('sends only what its filters let through', async () => {
    server.services.append(anEvent(1));
    server.services.append(anEvent(2, { type: 'run.failed' }));
    const other = anEvent(3, { type: 'run.failed' });
    server.services.append({ ...other, data: { ...other.data, run_id: 'run-2' } });
    const query = 'after=c0&type=run.failed&run_id=run-2';
    const response = await server.fetch(`/v1/events/stream?${query}`);
    const { text } = await readUntil(response, (seen) => seen.includes('id: c3'));
    expect(idsOf(text)).toEqual(['c3']);
  });

  it('keeps an idle connection alive by comments', async () => {
    const response = await server.fetch('/v1/events/stream');
    const { ended } = await readUntil(response, (seen) => seen.split(': heartbeat\n\n').length > 3);
    expect(ended).toBe(false);
  });

  it('stops reading the log when its reader goes', async () => {
    const leaving = new AbortController();
    await server.fetch('/v1/events/stream', { signal: leaving.signal });
    await until(() => server.services.followers === 1);
    leaving.abort();
    await until(() => server.services.followers === 0);
    await until(() => server.lines.length === 1);
    expect(server.lines).toMatchObject([
      { level: 'debug', fields: { route: '/v1/events/stream', status: 200, aborted: true } },
    ]);
  });

  it('hangs up on a reader that does not read, and takes nothing more from the log for it', async () => {
    const { hostname, port } = new URL(server.url);
    const socket = connect({ host: hostname, port: Number(port) });
    socket.pause();
    socket.write(rawRequest('GET /v1/events/stream?after=c0', { host: 'localhost' }));
    await until(() => server.services.followers === 1);
    const large = anEvent(1);
    large.data.watch.metadata = { filler: 'x'.repeat(64_000) };
    for (let count = 0; count < 1_000; count += 1) server.services.append(large);
    await until(() => server.services.followers === 0);
    socket.destroy();
  });

  it('ends cleanly when the server closes', async () => {
    const response = await server.fetch('/v1/events/stream');
    await until(() => server.services.followers === 1);
    const reading = readUntil(response, () => false);
    await server.close();
    expect(await reading).toMatchObject({ ended: true });
    expect(server.services.followers).toBe(0);
  });

  it('ends, and leaves one line, when the log cannot be read any more', async () => {
    server.services.events.follow = async function* () {
      yield { cursor: 'c1', event: anEvent(1) };
      throw new RunwatchError('gone', { code: 'redis_unavailable', retriable: true });
    };
    const response = await server.fetch('/v1/events/stream');
    const { text, ended } = await readUntil(response, () => false);
    expect([idsOf(text), ended]).toEqual([['c1'], true]);
    await until(() => server.lines.length > 0);
    expect(server.lines).toMatchObject([{ level: 'error', fields: { status: 200 } }]);
  });

  it('is refused beyond 100 at a time', async () => {
    const leaving = new AbortController();
    const open = await Promise.all(
      Array.from({ length: 100 }, () =>
        server.fetch('/v1/events/stream', { signal: leaving.signal }),
      ),
    );
    expect(open.every(({ status }) => status === 200)).toBe(true);
    const response = await server.fetch('/v1/events/stream');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: 'too_many_streams' });
    leaving.abort();
    await until(() => server.services.followers === 0);
  });

  it('does not hold a HEAD request open', async () => {
    const response = await server.fetch('/v1/events/stream', { method: 'HEAD' });
    expect(response.status).toBe(405);
  });
});
