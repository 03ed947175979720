import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { readSse } from '../../src/client/event-stream.ts';
import type { SseMessage } from '../../src/core/event/sse.ts';

async function read(...chunks: (string | Uint8Array)[]): Promise<SseMessage[]> {
  async function* source() {
    for (const chunk of chunks) {
      yield typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk;
    }
  }
  const messages: SseMessage[] = [];
  for await (const message of readSse(source())) messages.push(message);
  return messages;
}

describe('reading server-sent events', () => {
  test('an SSE message has the id and the data of its block', async () => {
    expect(await read('id: 7\nevent: x\ndata: {"a":1}\n\n')).toEqual([
      { id: '7', event: 'x', data: '{"a":1}' },
    ]);
  });

  test('SSE data lines are joined, and one space after the colon is dropped', async () => {
    expect(await read('data:a\ndata:  b\ndata\n\n')).toEqual([
      { id: null, event: null, data: 'a\n b\n' },
    ]);
  });

  test('SSE comments and blocks without data yield no message', async () => {
    expect(await read(': ping\n\nevent: x\n\n\n')).toEqual([]);
  });

  test('an SSE block with only an id moves the position', async () => {
    expect(await read('id: 9\n\ndata: a\n\n')).toEqual([
      { id: '9', event: null, data: null },
      { id: '9', event: null, data: 'a' },
    ]);
  });

  test('an SSE id applies to later messages without one', async () => {
    expect((await read('id: 1\ndata: a\n\ndata: b\n\n')).map(({ id }) => id)).toEqual(['1', '1']);
  });

  test('an SSE message that the end of the stream cuts off is dropped', async () => {
    expect(await read('data: a\n\ndata: b\n')).toEqual([{ id: null, event: null, data: 'a' }]);
  });

  test('an endless SSE event is an error before it fills the memory', async () => {
    const megabyte = 'x'.repeat(1024 * 1024);
    await expect(read(...Array<string>(5).fill(megabyte))).rejects.toThrow('endless event');
  });

  test('SSE messages are the same wherever the bytes are split', async () => {
    const text = fc.array(fc.string({ unit: 'grapheme' }).map((s) => s.replace(/[\r\n]/g, '')));
    await fc.assert(
      fc.asyncProperty(text, fc.array(fc.nat(40)), fc.boolean(), async (texts, cuts, crlf) => {
        const end = crlf ? '\r\n' : '\n';
        const stream = texts.map((one, id) => `id: ${id}${end}data: ${one}${end}${end}`).join('');
        const messages = await read(...cut(new TextEncoder().encode(stream), cuts));
        expect(messages).toEqual(texts.map((data, id) => ({ id: String(id), event: null, data })));
      }),
      { numRuns: 200 },
    );
  });
});

function cut(bytes: Uint8Array, sizes: number[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let at = 0;
  for (const size of sizes) chunks.push(bytes.subarray(at, (at += size)));
  return [...chunks, bytes.subarray(at)];
}
