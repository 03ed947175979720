import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { release as prepareRelease } from '../../scripts/release.ts';
import { compareVersions, nextVersion, parseVersion } from '../../scripts/release/version.ts';
import { RENAMED_KEYS } from '../../src/config/renamed-keys.ts';
import { surfaceTexts } from '../../scripts/surface.ts';
import { cleanEnv } from '../support/daemon-process.ts';

const ROOT = join(import.meta.dirname, '../..');
const CHART = 'deploy/helm/runwatch/Chart.yaml';

/** What a release reads, apart from changes/. */
const COPIED = [
  'package.json',
  'package-lock.json',
  CHART,
  'config/runwatch.schema.json',
  'docs/configuration.md',
  'test/goldens',
  'test/fixtures/surface',
  'src/client',
  'src/core/errors.ts',
];

/** Where a release stands: nothing was released, or one version. */
const CHANGELOG = '# Changelog\n\n## Unreleased\n\n### API\n\n- What is old.\n';
const released = (version: string) => `${CHANGELOG}\n## ${version} (2026-01-01)\n\n- First.\n`;

let root: string;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'runwatch-release-'));
  for (const path of COPIED) cpSync(join(ROOT, path), join(root, path), { recursive: true });
  mkdirSync(join(root, 'changes'));
  mkdirSync(join(root, 'bin'));
  write({
    'CHANGELOG.md': released('0.1.0'),
    'changes/page.md': 'Dashboard\nA page is new.\n',
    'package.json': read('package.json').replace(/"version": ".+"/, '"version": "0.1.0"'),
    ...(await surfaceTexts(ROOT)),
  });
});

afterEach(() => rmSync(root, { recursive: true }));

const read = (path: string) => readFileSync(join(root, path), 'utf8');

function write(files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) writeFileSync(join(root, path), text);
}

/** Prepares a release of the copy, in which git says what `status` is. */
async function release(wanted: string, status = ''): Promise<string> {
  const path = process.env['PATH'] ?? '';
  process.env['PATH'] = pathWithGit(status);
  try {
    return await prepareRelease(root, [wanted], '2026-02-03');
  } finally {
    process.env['PATH'] = path;
  }
}

/** Runs the command in the copy, in which git says that nothing is changed. */
function runCommand(wanted: string) {
  const args = ['--import', import.meta.resolve('tsx'), join(ROOT, 'scripts/release.ts'), wanted];
  const env = { ...cleanEnv(), PATH: pathWithGit('') };
  return promisify(execFile)(process.execPath, args, { cwd: root, env });
}

function pathWithGit(status: string): string {
  writeFileSync(join(root, 'bin/git'), `#!/bin/sh\nprintf '%s' '${status}'\n`, { mode: 0o755 });
  return `${join(root, 'bin')}:${process.env['PATH']}`;
}

async function refusal(wanted: string, status = ''): Promise<string> {
  const before = snapshot();
  const said = await release(wanted, status).catch(({ message }: Error) => message);
  expect(snapshot()).toEqual(before);
  return said;
}

/** All files of the copy, but the git that plays along. */
function snapshot(): Record<string, string> {
  const paths = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'git')
    .map(({ parentPath, name }) => join(parentPath, name));
  return Object.fromEntries(paths.sort().map((path) => [path, readFileSync(path, 'utf8')]));
}

test('a release writes its version everywhere, gathers changes/ and records what users rely on', async () => {
  const more = '"/v1/lookups": {},\n    "/v1/lookup": {';
  write({
    'test/goldens/openapi.json': read('test/goldens/openapi.json').replace(
      '"/v1/lookup": {',
      more.replace('{}', '{ "get": { "responses": {} } }'),
    ),
  });
  const { stdout: said } = await runCommand('minor');
  expect(said).toMatch(/^0\.2\.0 is written, and CHANGELOG\.md has the files of changes\/: 1\./);
  expect(said).toContain('git tag --annotate v0.2.0');
  expect(said).not.toMatch(/npm publish|git push/);
  const lock = JSON.parse(read('package-lock.json')) as {
    version: string;
    packages: { '': { version: string } };
  };
  const manifest = JSON.parse(read('package.json')) as { version: string; private: boolean };
  expect([lock.version, lock.packages[''].version]).toEqual(['0.2.0', '0.2.0']);
  expect([manifest.version, manifest.private]).toEqual(['0.2.0', true]);
  expect(read(CHART)).toMatch(/^version: 0\.2\.0\nappVersion: 0\.2\.0$/m);
  const today =
    /## 0\.2\.0 \((\d{4}-\d\d-\d\d)\)\n\n### API\n\n- What is old\.\n\n### Dashboard\n\n- A page is new\./;
  expect(read('CHANGELOG.md')).toMatch(today);
  expect(existsSync(join(root, 'changes/page.md'))).toBe(false);
  expect(read('test/fixtures/surface/api-answers.txt')).toContain('GET /v1/lookups: route\n');
  expect(await refusal('0.2.0')).toContain('after 0.2.0 that is 0.2.1, 0.3.0, 1.0.0');
});

test('the command says on standard error why it refuses, and exits with 1', async () => {
  await expect(runCommand('v2')).rejects.toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/^expected a version or .* got "v2"\n$/),
  });
});

test('a release is refused while the checkout has changes, which it names', async () => {
  const said = await refusal('minor', ' M src/main.ts');
  expect(said).toContain('the checkout has changes: commit them first');
  expect(said).toContain('src/main.ts');
});

test.each([
  [
    '',
    'expected a version or patch, minor, major: after 0.1.0 that is 0.1.1, 0.2.0, 1.0.0; got ""',
  ],
  ['v0.2.0', 'got "v0.2.0"'],
  ['0.2.0-rc.1', 'expected a version or'],
  ['0.1.0', 'expected a step: after 0.1.0'],
  ['0.4.0', 'expected a step: after 0.1.0'],
])('a release of the version %j is refused', async (wanted, message) => {
  expect(await refusal(wanted)).toContain(message);
});

test('the first release may have the version of package.json', async () => {
  write({ 'CHANGELOG.md': CHANGELOG });
  expect(await refusal('0.0.9')).toContain('after no release that is 0.1.0, 0.1.1, 0.2.0, 1.0.0');
  expect(await release('0.1.0')).toContain('0.1.0 is written');
});

test('a release without a file in changes/ is refused', async () => {
  rmSync(join(root, 'changes/page.md'));
  expect(await refusal('minor')).toBe('changes/ has no file: there is nothing to release');
});

test('a release that no change announces, or that is too small a step, is refused', async () => {
  const codes = read('test/goldens/exit-codes.txt');
  write({ 'test/goldens/exit-codes.txt': codes.replace('wait: gone: 5', 'wait: gone: 1') });
  const line = 'Changed: cli-exits wait gone';
  expect(await refusal('minor')).toContain(`no file of changes/ has the line "${line}"`);
  write({ 'changes/page.md': `Dashboard\nA page is new.\n${line}\n` });
  expect(await refusal('patch')).toContain(`such as ${line}: take minor`);
  expect(await release('minor')).toContain('0.2.0 is written');
});

test('from 1.0.0 on what takes something away is a major version', async () => {
  const codes = read('test/goldens/exit-codes.txt');
  const line = 'Changed: cli-exits wait gone';
  write({
    'CHANGELOG.md': released('1.4.2'),
    'changes/page.md': `Dashboard\nA page is new.\n${line}\n`,
    'test/goldens/exit-codes.txt': codes.replace('wait: gone: 5', 'wait: gone: 1'),
  });
  expect(await refusal('minor')).toContain(`takes away 1, such as ${line}: take major`);
  // Their old names are due, too, as no table that is kept has them so long.
  const due = RENAMED_KEYS.map(
    ({ map, old, until }) => `${map}.${old} goes in ${until}: take it out`,
  );
  const said = await refusal('major');
  expect(due.filter((text) => !said.includes(text))).toEqual([]);
});

test('versions are compared by number, and each step makes a newer one', () => {
  const version = fc.tuple(fc.nat(20), fc.nat(20), fc.nat(20));
  fc.assert(
    fc.property(version, version, (a, b) => {
      const expected = a.findIndex((part, at) => part !== b[at]);
      const difference = expected === -1 ? 0 : (a[expected] ?? 0) - (b[expected] ?? 0);
      expect(Math.sign(compareVersions(a.join('.'), b.join('.')))).toBe(Math.sign(difference));
      expect(parseVersion(a.join('.'))).toEqual(a);
      const steps = (['patch', 'minor', 'major'] as const).map((s) => nextVersion(a.join('.'), s));
      const all = [a.join('.'), ...steps];
      expect(all.toSorted(compareVersions)).toEqual(all);
      expect(new Set(all).size).toBe(4);
    }),
  );
  expect(['1.2', '1.2.3.4', '01.2.3', 'v1.2.3', '1.2.3-rc.1', ''].map(parseVersion)).toEqual(
    Array(6).fill(null),
  );
});
