import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readCliEnv } from '../../src/config/cli-env.ts';
import { loadConfig } from '../../src/config/load.ts';
import { formatProblem } from '../../src/config/problems.ts';
import { readRegularFile } from '../../src/config/read-file.ts';
import { isRoot, OTHER_USER } from '../support/other-user.ts';

let cwd: string;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'runwatch-files-'));
});

afterEach(() => rmSync(cwd, { recursive: true }));

const at = (name: string) => join(cwd, name);

function problemsOf(given: { env?: NodeJS.ProcessEnv; configPath?: string } = {}): string[] {
  const result = loadConfig({ purpose: 'command', env: {}, cwd, ...given });
  return result.kind === 'invalid' ? result.problems.map(formatProblem) : [];
}

function pipe(name: string): string {
  execFileSync('sh', ['-c', 'mkfifo "$0"', at(name)]);
  return at(name);
}

const ENDLESS = '/dev/zero';

describe('a configuration file that was found by looking', () => {
  test('a found configuration file is used if it belongs to this user, even if its group may write to it', () => {
    writeFileSync(at('runwatch.yaml'), 'server: { port: 1 }');
    chmodSync(at('runwatch.yaml'), 0o664);
    expect(problemsOf()).toEqual([]);
  });

  test('a found configuration file that all users may write to is refused, and used where it is named', () => {
    writeFileSync(at('runwatch.yaml'), 'server: { port: 1 }');
    chmodSync(at('runwatch.yaml'), 0o666);
    expect(problemsOf()).toEqual([
      `runwatch.yaml: every user of this machine may write to ${at('runwatch.yaml')}: ` +
        `chmod o-w ${at('runwatch.yaml')}, or name the file with --config if you trust it`,
    ]);
    expect(problemsOf({ configPath: 'runwatch.yaml' })).toEqual([]);
    expect(problemsOf({ env: { RUNWATCH_CONFIG: 'runwatch.yaml' } })).toEqual([]);
  });

  test('a found configuration file of another user is refused, unless that user ran sudo', () => {
    if (!isRoot('only root can make a file of another user')) return;
    writeFileSync(at('runwatch.yaml'), 'server: { port: 1 }');
    chownSync(at('runwatch.yaml'), OTHER_USER, OTHER_USER);
    expect(problemsOf()).toEqual([
      expect.stringContaining(`${at('runwatch.yaml')} belongs to user ${OTHER_USER}, neither`),
    ]);
    expect(problemsOf({ env: { SUDO_UID: String(OTHER_USER) } })).toEqual([]);
    expect(problemsOf({ env: { SUDO_UID: '1' } })).toHaveLength(1);
    expect(problemsOf({ configPath: 'runwatch.yaml' })).toEqual([]);
  });
});

describe('files that are no regular files', () => {
  test.each([
    ['--config', (path: string) => ({ configPath: path })],
    ['RUNWATCH_CONFIG', (path: string) => ({ env: { RUNWATCH_CONFIG: path } })],
    ['NOXUS_API_KEY_FILE', (path: string) => ({ env: { NOXUS_API_KEY_FILE: path } })],
  ])('files that are not regular are refused at once as %s', (label, given) => {
    for (const path of [pipe('fifo'), ENDLESS]) {
      expect(problemsOf(given(path))).toEqual([`${label}: ${path} is not a regular file`]);
    }
  });

  test('files that are not regular are refused as a found configuration', () => {
    pipe('runwatch.yaml');
    expect(problemsOf()).toEqual(['runwatch.yaml: runwatch.yaml is not a regular file']);
  });

  test("files that are not regular are refused as an endpoint's certificate", () => {
    writeFileSync(
      at('f.yaml'),
      `endpoints: { a: { type: webhook, url: 'https://a.example', tls: { ca_file: ${pipe('ca')} } } }`,
    );
    const env = { NOXUS_API_KEY: 'nox' };
    const result = loadConfig({ purpose: 'serve', env, cwd, configPath: 'f.yaml' });
    expect(result).toMatchObject({
      kind: 'invalid',
      problems: [{ message: `${at('ca')} is not a regular file` }],
    });
  });

  test('files that are not regular are refused as a secret of the command line', () => {
    const env = readCliEnv({ RUNWATCH_API_TOKEN_FILE: ENDLESS });
    expect(() => env.apiToken()).toThrow(
      'RUNWATCH_API_TOKEN_FILE: /dev/zero is not a regular file',
    );
  });
});

test('a secret file may hold 64 KiB and no more', () => {
  writeFileSync(at('key'), 'k'.repeat(65_536));
  expect(problemsOf({ env: { NOXUS_API_KEY_FILE: at('key') } })).toEqual([]);
  writeFileSync(at('key'), 'k'.repeat(65_537));
  expect(problemsOf({ env: { NOXUS_API_KEY_FILE: at('key') } })).toEqual([
    `NOXUS_API_KEY_FILE: ${at('key')} is larger than 64 KiB`,
  ]);
});

test('a file of unknown size is read within the limit', () => {
  const path = '/proc/self/status';
  const read = readRegularFile(path, { maxBytes: 64 });
  // Only Linux has such a file.
  const message = process.platform === 'linux' ? 'larger than' : 'cannot read';
  expect(read).toMatchObject({ kind: 'unreadable', message: expect.stringContaining(message) });
});
