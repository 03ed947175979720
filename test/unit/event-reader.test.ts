import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { EventReader } from '../../src/noxus/event-reader.ts';

const event = (type: string, data: object) =>
  `event: message\ndata: ${JSON.stringify({ type, data, redisId: '1-0' })}\n\n`;

/** What a reader makes of a stream that comes in pieces. */
function read(...pieces: (string | Buffer)[]) {
  const reader = new EventReader();
  const taken = pieces.map((piece) => reader.take(Buffer.from(piece)));
  return {
    hints: taken.flatMap(({ hints }) => hints),
    broken: taken.find(({ broken }) => broken !== null)?.broken ?? null,
  };
}

describe('the events of a run', () => {
  test('name the status of the run, in a state event by `status`', () => {
    const stream = event('state', {
      status: 'stopped',
      progress_details: { run_logs: ['private'] },
    });
    expect(read(stream)).toEqual({ hints: [{ status: 'stopped' }], broken: null });
  });

  test('name the status of the run in either type by `workflow_status`', () => {
    const ended = { id: 'node-1', status: 'running', workflow_status: 'completed' };
    expect(read(event('content', ended), event('state', ended)).hints).toEqual([
      { status: 'completed' },
      { status: 'completed' },
    ]);
  });

  test('give no hint where only the status of a node, or none, is named', () => {
    const stream = [
      event('content', { id: 'node-1', status: 'completed', content: 'private' }),
      event('state', { progress_details: {} }),
      event('state', { status: 7 }),
      'data: {"type":"state","data":null}\n\n',
    ];
    expect(read(...stream)).toEqual({ hints: [], broken: null });
  });

  test('may end lines as they like', () => {
    const stream = event('state', { status: 'running' }).replaceAll('\n', '\r\n');
    expect(read(stream).hints).toEqual([{ status: 'running' }]);
  });

  test('are read alike however the stream is cut', () => {
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
  ])('are passed over where they are %s', (_, stream) => {
    expect(read(stream)).toEqual({ hints: [], broken: null });
  });

  test('that are not JSON break the stream', () => {
    expect(read('data: {"type"\n\n')).toEqual({ hints: [], broken: 'garbage' });
  });

  test.each([
    ['one line', Array.from({ length: 300 }, () => 'x'.repeat(1_000))],
    ['many lines', Array.from({ length: 300 }, () => `data: ${'x'.repeat(1_000)}\n`)],
  ])('without end in %s are given up', (_, pieces) => {
    expect(read('data: ', ...pieces).broken).toBe('too_large');
  });
});
