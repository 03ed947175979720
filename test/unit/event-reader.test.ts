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
  test('tell of the status and of nothing else', () => {
    const stream = event('state', { workflow_status: 'completed', output: 'private' });
    expect(read(stream)).toEqual({
      hints: [{ kind: 'state', status: 'completed' }],
      broken: null,
    });
  });

  test('may be content, may tell no status, and may end lines as they like', () => {
    const stream = `${event('content', { text: 'private' })}${event('state', {})}`;
    expect(read(stream.replaceAll('\n', '\r\n')).hints).toEqual([
      { kind: 'content', status: null },
      { kind: 'state', status: null },
    ]);
  });

  test('are read alike however the stream is cut', () => {
    const stream = Buffer.from(
      `: ping\n\n${event('content', { text: 'naïve ☃' })}${event('state', { workflow_status: 'running' })}`,
    );
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length)), (cuts) => {
        const ends = [...cuts.toSorted((a, b) => a - b), stream.length];
        const pieces = ends.map((end, at) => stream.subarray(ends[at - 1] ?? 0, end));
        expect(read(...pieces)).toEqual(read(stream));
      }),
    );
  });

  test('of other names, and comments, are passed over', () => {
    expect(read(': ping\n\n', 'event: ping\ndata: {}\n\n', 'id: 7\n\n')).toEqual({
      hints: [],
      broken: null,
    });
  });

  test.each([
    ['no JSON', 'data: {"type"\n\n'],
    ['without a type', 'data: {"data":{}}\n\n'],
  ])('that are %s break the stream', (_, stream) => {
    expect(read(stream)).toEqual({ hints: [], broken: 'garbage' });
  });

  test('of a type that is not known are passed over', () => {
    const stream = 'data: {"type":"other"}\n\ndata: {"type":"state","data":7}\n\n';
    expect(read(stream)).toEqual({ hints: [{ kind: 'state', status: null }], broken: null });
  });

  test.each([
    ['one line', Array.from({ length: 300 }, () => 'x'.repeat(1_000))],
    ['many lines', Array.from({ length: 300 }, () => `data: ${'x'.repeat(1_000)}\n`)],
  ])('without end in %s are given up', (_, pieces) => {
    expect(read('data: ', ...pieces).broken).toBe('too_large');
  });
});
