import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { EventReader } from '../../src/noxus/stream.ts';

const event = (type: string, data: object) =>
  `event: message\ndata: ${JSON.stringify({ type, data, redisId: '1-0' })}\n\n`;

/** The hints that the reader finds in a stream that arrives in pieces. */
function read(...pieces: (string | Buffer)[]) {
  const reader = new EventReader();
  const taken = pieces.map((piece) => reader.take(Buffer.from(piece)));
  return {
    hints: taken.flatMap(({ hints }) => hints),
    broken: taken.find(({ broken }) => broken !== null)?.broken ?? null,
  };
}

describe('the events of a run', () => {
  test("a state event names the run's status in `status`", () => {
    const stream = event('state', {
      status: 'stopped',
      progress_details: { run_logs: ['private'] },
    });
    expect(read(stream)).toEqual({ hints: [{ status: 'stopped' }], broken: null });
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
    expect(read(...stream)).toEqual({ hints: [], broken: null });
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
    expect(read(stream)).toEqual({ hints: [], broken: null });
  });

  test('run events that are not JSON break the stream', () => {
    expect(read('data: {"type"\n\n')).toEqual({ hints: [], broken: 'garbage' });
  });

  test.each([
    ['one line', Array.from({ length: 300 }, () => 'x'.repeat(1_000))],
    ['many lines', Array.from({ length: 300 }, () => `data: ${'x'.repeat(1_000)}\n`)],
  ])('an endless event in %s breaks the stream', (_, pieces) => {
    expect(read('data: ', ...pieces).broken).toBe('too_large');
  });
});
