import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { StreamNote } from '../../src/core/feed/run-stream.ts';
import { EventReader } from '../../src/fetch/event-stream.ts';
import { noteOf } from '../../src/noxus/run-events.ts';

const event = (type: string, data: object) =>
  `event: message\ndata: ${JSON.stringify({ type, data, redisId: '1-0' })}\n\n`;

/** The hints that the reader finds in a stream that arrives in pieces. */
function read(...pieces: (string | Buffer)[]) {
  const notes: StreamNote[] = [];
  const reader = new EventReader((json) => {
    const note = noteOf(json, 'run-1');
    if (note !== null) notes.push(note);
  });
  for (const piece of pieces) reader.take(Buffer.from(piece));
  reader.flush();
  reader.stop();
  const hints = notes.flatMap(({ status }) => (status === null ? [] : [{ status }]));
  return { notes, hints, broken: reader.broken };
}

describe('the events of a run', () => {
  test("a state event names the run's status in `status`", () => {
    const stream = event('state', {
      status: 'stopped',
      progress_details: { run_logs: ['private'] },
    });
    expect(read(stream)).toMatchObject({ hints: [{ status: 'stopped' }], broken: null });
  });

  test("an event of either type names the run's status in `workflow_status`", () => {
    const ended = { id: 'node-1', status: 'running', workflow_status: 'completed' };
    expect(read(event('content', ended), event('state', ended)).hints).toEqual([
      { status: 'completed' },
      { status: 'completed' },
    ]);
  });

  test("an event with only a node's status, or none, gives no hint", () => {
    const stream = [
      event('content', { id: 'node-1', status: 'completed', content: 'private' }),
      event('state', { progress_details: {} }),
      event('state', { status: 7 }),
      'data: {"type":"state","data":null}\n\n',
    ];
    expect(read(...stream)).toMatchObject({ hints: [], broken: null });
  });

  test('run events may have any line ending', () => {
    const stream = event('state', { status: 'running' }).replaceAll('\n', '\r\n');
    expect(read(stream).hints).toEqual([{ status: 'running' }]);
  });

  test('run events read the same wherever the stream is split', () => {
    const stream = Buffer.from(
      `: ping\n\n${event('content', { text: 'naïve ☃' })}${event('state', { status: 'running' })}`,
    );
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length)), (cuts) => {
        const ends = [...cuts.toSorted((a, b) => a - b), stream.length];
        const pieces = ends.map((end, at) => stream.subarray(ends[at - 1] ?? 0, end));
        expect(read(...pieces)).toEqual(read(stream));
      }),
    );
  });

  test.each([
    ['comments', ': ping\n\n'],
    ['events of another name', 'event: ping\ndata: {}\n\n'],
    ['events without data', 'id: 7\n\n'],
    ['events of another type', event('usage', { status: 'completed', workflow_status: 'failed' })],
    ['events of another shape', 'data: 7\n\n'],
  ])('run events that are %s are skipped', (_, stream) => {
    expect(read(stream)).toMatchObject({ hints: [], broken: null });
  });

  test('run events that are not JSON break the stream', () => {
    expect(read('data: {"type"\n\n')).toMatchObject({ hints: [], broken: 'garbage' });
  });

  test('an event of another run gives no hint', () => {
    const stream = event('state', { status: 'completed', run_id: 'run-2' });
    expect(read(stream)).toMatchObject({ hints: [], broken: null });
    expect(read(event('state', { status: 'completed', run_id: 'RUN-1' })).hints).toHaveLength(1);
  });

  test('of the details of a state event, counts and ids of nodes are read and nothing else', () => {
    const progress_details = {
      executed_nodes: ['a', 'b'],
      remaining_nodes: ['c', 'd', 'e'],
      running_nodes: Array.from({ length: 30 }, (_, at) => `n${at}`),
      failed_nodes: { f: { error: 'private' } },
      run_logs: ['private'],
    };
    const { notes } = read(event('state', { status: 'running', progress_details }));
    const [note] = notes;
    expect(note).toEqual({
      status: 'running',
      redisId: '1-0',
      nodes: { executed: 2, remaining: 3, running: expect.anything(), failed: ['f'] },
    });
    expect(note?.nodes?.running).toHaveLength(20);
    expect(JSON.stringify(notes)).not.toContain('private');
  });

  test('ids of nodes and statuses lose tags, bidirectional controls and half surrogates', () => {
    const [given, kept] = ['n\u202e\u{e0041}\ud800', 'n\ufffd'];
    const progress_details = {
      executed_nodes: [],
      remaining_nodes: [],
      running_nodes: [given],
      failed_nodes: { [given]: 1 },
    };
    const { notes } = read(event('state', { status: given, progress_details }));
    expect(notes).toMatchObject([{ status: kept, nodes: { running: [kept], failed: [kept] } }]);
  });

  test('of large events only the first and the last of a second are parsed', () => {
    const large = (at: number) =>
      event('state', { status: `s${at}`, padding: 'x'.repeat(200_000) });
    const { hints } = read(...Array.from({ length: 10 }, (_, at) => large(at)));
    expect(hints).toEqual([{ status: 's0' }, { status: 's9' }]);
  });

  test('a stream that sends more than four megabytes in a second is broken', () => {
    const events = Array.from({ length: 50 }, () => event('content', { x: 'x'.repeat(100_000) }));
    expect(read(...events).broken).toBe('too_large');
  });

  test('run events that are not UTF-8 are read without their text', () => {
    const bytes = Buffer.concat([
      Buffer.from('data: {"type":"state","data":{"status":"run'),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('"}}\n\n'),
    ]);
    expect(read(bytes).broken).toBeNull();
  });

  test.each([
    ['one line', Array.from({ length: 600 }, () => 'x'.repeat(1_000))],
    ['many lines', Array.from({ length: 600 }, () => `data: ${'x'.repeat(1_000)}\n`)],
  ])('an endless event in %s breaks the stream', (_, pieces) => {
    expect(read('data: ', ...pieces).broken).toBe('too_large');
  });
});
