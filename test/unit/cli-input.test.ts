import * as fc from 'fast-check';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { afterAll, describe, expect, test } from '@jest/globals';
import { splitBatches } from '../../src/cli/verbs/watch.ts';
import { outputOf } from '../../src/cli/output.ts';
import { collectPages } from '../../src/client/client.ts';
import { readGoodRunIds, readRunIds, findRun } from '../../src/cli/run-ids.ts';
import { readCliEnv } from '../../src/config/cli-env.ts';

const directory = mkdtempSync(join(tmpdir(), 'runwatch-cli-'));
afterAll(() => rmSync(directory, { recursive: true }));

function input(stdin = '') {
  const output = outputOf(new Writable({ write: (_c, _e, done) => done() }), { noColor: true });
  const typed = Readable.from([Buffer.from(stdin)]);
  return {
    io: { stdout: output, stderr: output, stdin: typed },
    signal: new AbortController().signal,
  };
}

describe('reading run ids', () => {
  test('the CLI skips blank lines, comments, repeated ids and a byte order mark', async () => {
    const stdin = '\u{feff}run-1\r\n\n# all of them\n  run-2  # the second\nrun-1\nrun-3';
    const { ids, problems } = await readRunIds(['run-0', '-'], undefined, input(stdin));
    expect(ids).toEqual(['run-0', 'run-1', 'run-2', 'run-3']);
    expect(problems).toEqual([]);
  });

  test('the CLI names each bad line by its number, and each bad argument by its position', async () => {
    const file = join(directory, 'ids.txt');
    writeFileSync(file, 'good\nbad//one\n\nworse one\n');
    const { ids, problems } = await readRunIds(['ok', 'not/../good'], file, input());
    expect(ids).toEqual(['ok', 'good']);
    expect(problems).toEqual([
      'argument 2: "not/../good" is not a run id',
      `line 2 of ${file}: "bad//one" is not a run id`,
      `line 4 of ${file}: "worse one" is not a run id`,
    ]);
  });

  test('the CLI counts many bad lines, and spells out the first twenty', async () => {
    const stdin = Array.from({ length: 25 }, () => '..').join('\n');
    const failure = await readGoodRunIds(['-'], undefined, input(stdin)).catch(String);
    expect(failure).toContain('line 20 of standard input');
    expect(failure).not.toContain('line 21 of standard input');
    expect(failure).toContain('and 5 more');
  });

  test('an unreadable file of ids is a usage error that names it', async () => {
    await expect(readRunIds([], join(directory, 'absent'), input())).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('absent'),
    });
  });

  test('no ids at all is a usage error, an empty list is not', async () => {
    await expect(readRunIds([], undefined, input())).rejects.toMatchObject({ code: 'usage' });
    expect((await readRunIds(['-'], undefined, input(''))).ids).toEqual([]);
  });
});

describe('splitting watches into batches', () => {
  test('batches keep all watches in order, within a thousand items and 1 MiB', () => {
    const watch = fc.record({
      run_id: fc.string({ minLength: 1, maxLength: 20 }),
      metadata: fc.constantFrom({}, { big: 'ä'.repeat(2_000) }),
    });
    fc.assert(
      fc.property(
        fc.array(watch, { maxLength: 20 }),
        fc.integer({ min: 1, max: 300 }),
        (few, n) => {
          const watches = Array.from({ length: n }, () => few).flat();
          const batches = splitBatches(watches);
          expect(batches.flat()).toEqual(watches);
          for (const batch of batches) {
            expect(batch.length).toBeGreaterThan(0);
            expect(batch.length).toBeLessThanOrEqual(1_000);
            const bytes = Buffer.byteLength(JSON.stringify({ watches: batch }));
            expect(bytes).toBeLessThanOrEqual(1_048_576);
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('following the cursors of a listing', () => {
  test('a listing follows cursors up to the limit, and returns the cursor to go on from', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(900), fc.integer({ min: 1, max: 1_000 }), async (size, limit) => {
        const { data, next_cursor } = await collectPages(async ({ limit: most, cursor }) => {
          expect(most).toBeGreaterThan(0);
          expect(most).toBeLessThanOrEqual(200);
          const from = Number(cursor ?? 0);
          const to = Math.min(from + most, size);
          const page = Array.from({ length: to - from }, (_, at) => from + at);
          return { data: page, next_cursor: to < size ? String(to) : null };
        }, limit);
        expect(data).toEqual(Array.from({ length: Math.min(size, limit) }, (_, at) => at));
        expect(next_cursor).toBe(limit < size ? String(limit) : null);
      }),
    );
  });
});

describe('what the command line takes from the environment', () => {
  test.each([
    [{}, 'http://127.0.0.1:8787'],
    [{ RUNWATCH_PORT: '9000' }, 'http://127.0.0.1:9000'],
    [{ RUNWATCH_HOST: '0.0.0.0' }, 'http://127.0.0.1:8787'],
    [{ RUNWATCH_HOST: '::' }, 'http://[::1]:8787'],
    [{ RUNWATCH_HOST: 'box' }, 'http://box:8787'],
    [{ RUNWATCH_PORT: 'tcp://10.0.0.1:8787' }, 'http://127.0.0.1:8787'],
    [{ RUNWATCH_URL: 'https://watch.example', RUNWATCH_PORT: '1' }, 'https://watch.example'],
    [{ RUNWATCH_URL: ' ' }, 'http://127.0.0.1:8787'],
  ])('with environment %j the CLI finds the daemon at %s', (env, url) => {
    expect(readCliEnv(env).daemonUrl).toBe(url);
  });

  test('the CLI takes a secret from its variable, else from the file named by NAME_FILE', () => {
    const file = join(directory, 'token');
    writeFileSync(file, 'from-file\n');
    const env = { RUNWATCH_API_TOKEN_FILE: file };
    expect(readCliEnv(env).apiToken()).toBe('from-file');
    expect(readCliEnv({ ...env, RUNWATCH_API_TOKEN: 'direct' }).apiToken()).toBe('direct');
    expect(readCliEnv({}).apiToken()).toBeUndefined();
  });

  test('an unreadable secret file is an error only once the secret is needed', () => {
    const env = readCliEnv({ NOXUS_API_KEY_FILE: join(directory, 'nowhere') });
    expect(() => env.noxusApiKey()).toThrow(/NOXUS_API_KEY_FILE: cannot read .*nowhere \(ENOENT\)/);
  });

  test('NO_COLOR counts when it is not empty', () => {
    expect(readCliEnv({ NO_COLOR: '' }).noColor).toBe(false);
    expect(readCliEnv({ NO_COLOR: '1' }).noColor).toBe(true);
  });
});

const UUID = '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d';
const WIDE_IDS = [
  '-leading',
  'acme/shop/123',
  'manual__2026-11-28T00:00:00+00:00',
  'arn:aws:states:eu-west-1:123456789012:execution:orders:run~1',
  `a,b;c#d%20e"f'g\`h(i)[j]<k>{l}m`,
  "'quoted'",
  'x'.repeat(255),
];

describe('where a run id is expected', () => {
  test.each([
    ['run-1', 'run-1'],
    [UUID, UUID],
    [UUID.toUpperCase(), UUID.toUpperCase()],
    [`  ${UUID}\n`, UUID],
    [`{${UUID}}`, UUID],
    [`"${UUID}",`, UUID],
    [`<(${UUID})>`, UUID],
    [` {acme/shop/123} `, 'acme/shop/123'],
    ['https://ci.example/acme/shop/123?tab=x', 'https://ci.example/acme/shop/123?tab=x'],
    ['{https://ci.example/123}', 'https://ci.example/123'],
    ['<https://ci.example/123>', 'https://ci.example/123'],
    ['"https://ci.example/123",', 'https://ci.example/123'],
    ['https://ci.example/(1)', 'https://ci.example/(1)'],
    ...WIDE_IDS.map((id) => [id, id] as const),
  ])('%j is read as %s', (text, run) => {
    expect(findRun(text)).toBe(run);
  });

  test.each([
    '',
    ' ',
    '{}',
    'null',
    'NULL',
    'undefined',
    'None',
    'NaN',
    'a b',
    'ünicode',
    'a//b',
    '/a',
    'a/',
    './a',
    'a/../b',
    'a%2Fb',
    'a%5cb',
    'https://',
    '://',
    'x'.repeat(256),
    `${'{'.repeat(5_000)}run-1`,
  ])('%j is read as no run', (text) => {
    expect(findRun(text)).toBeNull();
  });

  test('any text is read as no run, as an id of valid form, or as a URL', () => {
    const pieces = fc.array(
      fc.constantFrom('{', '}', ' ', '/', '://', '?', '#', 'runs', 'a', UUID),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          pieces.map((all) => all.join('')),
        ),
        (text) => {
          const run = findRun(text) ?? 'a';
          if (run.includes('://')) expect(URL.canParse(run)).toBe(true);
          else expect(run).toMatch(/^[!-~]{1,255}$/);
        },
      ),
    );
  });

  test('ids of any source come whole from a file, in which # begins a comment after white space', async () => {
    const stdin = WIDE_IDS.map((id, at) => (at % 2 === 0 ? id : `${id}\t# note`)).join('\n');
    const { ids, problems } = await readRunIds(['-'], undefined, input(`#all\n${stdin}`));
    expect({ ids, problems }).toEqual({ ids: WIDE_IDS, problems: [] });
  });
});
