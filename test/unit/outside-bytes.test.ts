import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { findRun } from '../../src/cli/run-ids.ts';
import { readSse } from '../../src/client/event-stream.ts';
import { loadConfig } from '../../src/config/load.ts';
import { parseRetryAfter } from '../../src/core/backoff.ts';
import { parseDuration } from '../../src/core/time.ts';
import { RunwatchError } from '../../src/core/errors.ts';
import { readTimestamp } from '../../src/core/run/timestamp.ts';
import { EventReader } from '../../src/fetch/event-stream.ts';
import { toSnapshot, wireRunSchema } from '../../src/noxus/run.ts';
import { noteOf } from '../../src/noxus/run-events.ts';
import { openCursor } from '../../src/redis/cursor.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { anyText } from '../support/any-text.ts';

let cwd: string;

beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'runwatch-outside-'));
});

afterAll(() => rmSync(cwd, { recursive: true }));

/** The declared outcome of a parser; any other error fails the test. */
async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work();
    return 'fine';
  } catch (error) {
    if (error instanceof RunwatchError) return error.code;
    throw error;
  }
}

async function readStream(text: string): Promise<void> {
  async function* chunks() {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
  }
  for await (const message of readSse(chunks())) expect(message).toHaveProperty('data');
}

function readWireRun(text: string): void {
  let value: unknown = text;
  try {
    value = JSON.parse(text);
  } catch {
    // Invalid JSON is judged as plain text.
  }
  const read = wireRunSchema.safeParse(value);
  if (read.success) expect(toSnapshot(read.data, 0).id).not.toBe('');
}

function readCursor(cursor: string): Promise<unknown> {
  const empty = { mget: () => Promise.resolve(['a1', '7']) };
  return openCursor(empty as never, createKeys('p'), 'c', cursor);
}

function readConfig(text: string): void {
  writeFileSync(join(cwd, 'f.yaml'), text);
  const loaded = loadConfig({ purpose: 'command', env: {}, cwd, configPath: 'f.yaml' });
  expect(['loaded', 'invalid']).toContain(loaded.kind);
}

/**
 * Each parser of bytes from outside, fragments of nearly valid input, and the errors it may throw.
 */
const PARSERS: [string, (text: string) => unknown, string[], string[]][] = [
  ['durations', parseDuration, ['1', '.', 'ms', 's', 'd', ' ', '-', 'e9'], []],
  ['Retry-After', (text) => parseRetryAfter(text, 0), ['1', '.', ' ', 'Sun, ', '06 Nov', '-'], []],
  ['times', readTimestamp, ['2025-01-01', 'T', '10:00', ':00', '.', '9', 'Z', '+', '02', ' '], []],
  ['run ids', findRun, ['{', 'a', '-', '://', '/runs/', '#', '?', '%', ' '], []],
  [
    'event streams of the daemon',
    readStream,
    ['id:', 'data:', '\n', '\r', '\0', 'x'],
    ['not_a_daemon'],
  ],
  [
    'event streams of Noxus',
    (text) => new EventReader((json) => void noteOf(json, 'run')).take(Buffer.from(text)),
    ['data: ', '{"type":"state","data":{"status":"', 'failed', '"}}', '\n', '\r', '{', ':'],
    [],
  ],
  [
    'runs on the wire',
    readWireRun,
    ['{"id":"a","status":"b"', ',"progress":', '1e999', 'null', '}', '[', '"__proto__":', '{}'],
    [],
  ],
  ['cursors', readCursor, ['1', '-', 'a1-', ':', ' ', '\n'], ['invalid_cursor', 'stale_cursor']],
  [
    'configurations',
    readConfig,
    [
      'server:',
      '\n',
      '  ',
      '- ',
      '? ',
      '{',
      '}',
      '[',
      ']',
      '&a',
      '*a',
      '<<:',
      '"',
      '${A',
      '}',
      '!!x',
      '|',
      '#',
    ],
    [],
  ],
];

test('a configuration with endless nesting is refused before it is parsed', () => {
  for (const deep of ['{', '[', '- ', '? ', '{"a":[']) {
    writeFileSync(join(cwd, 'deep.yaml'), deep.repeat(100_000));
    const loaded = loadConfig({ purpose: 'command', env: {}, cwd, configPath: 'deep.yaml' });
    expect(loaded).toMatchObject({
      kind: 'invalid',
      problems: [{ message: 'nested too deeply, or too large' }],
    });
  }
});

describe.each(PARSERS)('%s from outside', (_name, parse, pieces, declared) => {
  test('bytes from outside are read, or refused as declared, whatever they are', async () => {
    const nearly = fc.array(fc.constantFrom(...pieces), { maxLength: 40 });
    const anything = fc.oneof(
      anyText(),
      nearly.map((parts) => parts.join('')),
    );
    await fc.assert(
      fc.asyncProperty(anything, async (text) => {
        expect(['fine', ...declared]).toContain(await codeOf(() => parse(text)));
      }),
      { numRuns: 200 },
    );
  });

  // Quadratic time would exceed the test's timeout.
  test('parsing bytes from outside takes linear time, however often one piece is repeated', async () => {
    // The YAML parser takes 40 µs for each of its errors.
    const length = parse === readConfig ? 10_000 : 500_000;
    for (const piece of pieces) {
      const text = piece.repeat(Math.floor(length / piece.length));
      expect(['fine', ...declared]).toContain(await codeOf(() => parse(text)));
    }
  });
});
