import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** All that users read and paste from: pages, files to copy, help texts and the dashboard. */
const TEXTS = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'Dockerfile',
  'docker-compose.yml',
  'docs',
  'deploy',
  'examples',
  'config',
  'src',
];

interface PackageJson {
  name: string;
  version: string;
  private?: boolean;
  bin: Record<string, string>;
  exports: Record<string, unknown>;
}

const json = (path: string) => JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as unknown;
const own = json('package.json') as PackageJson;

describe('package name', () => {
  test('package.json and the lock file agree on the name, and only the owner can publish it', () => {
    const lock = json('package-lock.json') as { name: string; packages: { '': PackageJson } };
    expect([lock.name, lock.packages[''].name]).toEqual([own.name, own.name]);
    expect([own.name, own.private, Object.keys(own.bin)]).toEqual([
      'runwatchd',
      true,
      ['runwatch'],
    ]);
  });

  test('the lock file and the chart have the version of package.json', () => {
    const lock = json('package-lock.json') as { version: string; packages: { '': PackageJson } };
    expect([lock.version, lock.packages[''].version]).toEqual([own.version, own.version]);
    const chart = readFileSync(join(ROOT, 'deploy/helm/runwatch/Chart.yaml'), 'utf8');
    const versions = [...chart.matchAll(/^(?:version|appVersion): (.+)$/gm)].map(
      ([, text]) => text,
    );
    expect(versions).toEqual([own.version, own.version]);
  });

  test('no text runs or installs a package that a registry would have to provide', () => {
    expect(linesThat(isFetch)).toEqual([]);
  });

  test('every import and mention of an entry of the package is by its name', () => {
    const entries = Object.keys(own.exports).map((path) => path.slice('./'.length));
    const mention = new RegExp(`['"\`](runwatchd?)/(${entries.join('|')})['"\`]`, 'g');
    const found = texts().flatMap(({ path, text }) =>
      [...text.matchAll(mention)].map(([, name]) => [path, name]),
    );
    expect(found.length).toBeGreaterThan(5);
    expect(found.filter(([, name]) => name !== own.name)).toEqual([]);
  });

  test.each([
    ['npx runwatch list', true],
    ['npx --yes runwatchd wait x', true],
    ['claude mcp add runwatch -- npx runwatch mcp', true],
    ['npm install --global runwatch', true],
    ['npm i runwatchd', true],
    ['pnpm dlx runwatch list', true],
    ['npm exec runwatch', true],
    ['npx --no-install runwatch list', false],
    ['npm install --global ./runwatchd-*.tgz', false],
    ['npm install express standardwebhooks', false],
  ])('the search takes `%s` for a fetch from a registry: %p', (line, expected) => {
    expect(isFetch(line)).toBe(expected);
  });
});

/** True where a line would have a registry's package of ours, or of a stranger, installed or run. */
function isFetch(line: string): boolean {
  const isRun = /\b(?:npx|bunx|npm exec|(?:yarn|pnpm) dlx)\b(?! --no-install runwatch\b)/.test(
    line,
  );
  const isInstall = /\b(?:npm (?:i|install|add)|(?:yarn|pnpm|bun) add)\b[^#]*\s['"]?runwatchd?\b/;
  return isRun || isInstall.test(line);
}

function linesThat(isWanted: (line: string) => boolean): string[] {
  return texts().flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => {
      return isWanted(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [];
    }),
  );
}

function texts(): { path: string; text: string }[] {
  return TEXTS.flatMap((path) => filesIn(join(ROOT, path))).map((path) => ({
    path: relative(ROOT, path),
    text: readFileSync(path, 'utf8'),
  }));
}

function filesIn(path: string): string[] {
  if (!statSync(path).isDirectory()) return /\.(?:png|svg)$/.test(path) ? [] : [path];
  return readdirSync(path).flatMap((name) =>
    name.startsWith('.') ? [] : filesIn(join(path, name)),
  );
}
