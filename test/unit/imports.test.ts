import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve, dirname } from 'node:path';
import { expect, test } from '@jest/globals';
import { circlesOf } from '../../scripts/figures/imports.ts';

const SRC = join(import.meta.dirname, '../../src');

/** Files beside the folders that do without anything of runwatch but its core. */
const SHARED = [
  'deadline.ts',
  'fault-log.ts',
  'periodic.ts',
  'names.ts',
  'host-shortage.ts',
  'proxy-tunnel.ts',
  'lifecycle.ts',
  'package-root.ts',
];

/** What every part may import: the process, and what that has. */
const PART = ['core', 'config', 'redis', 'telemetry', 'daemon', 'process.ts', ...SHARED];

/**
 * What each folder may import of the others. The core is pure. Adapters know nothing of one another, nor of
 * the parts, which import the process. The command line and the dashboard talk HTTP.
 */
const ALLOWED: Record<string, string[]> = {
  core: [],
  'deadline.ts': ['core'],
  'names.ts': [],
  'host-shortage.ts': ['core'],
  'proxy-tunnel.ts': ['core', 'names.ts'],
  'lifecycle.ts': ['core'],
  'package-root.ts': [],
  config: ['core'],
  fetch: ['core', 'deadline.ts', 'host-shortage.ts', 'names.ts', 'proxy-tunnel.ts'],
  noxus: ['core', 'fetch'],
  declared: ['core', 'fetch'],
  redis: ['core', 'names.ts', 'package-root.ts'],
  queue: [],
  telemetry: ['core'],
  source: [...PART, 'declared', 'noxus', 'queue', 'watches'],
  watches: [...PART, 'source'],
  deliver: PART,
  alert: [...PART, 'deliver', 'source'],
  batches: [...PART, 'deliver'],
  http: [...PART, 'source', 'watches', 'deliver', 'alert', 'batches', 'daemon.ts'],
  client: ['core', 'config', 'http/schemas'],
  ui: ['core', 'client'],
  simulator: ['core', 'client'],
  cli: ['core', 'config', 'client', 'simulator', 'source/followed-run.ts', 'package-root.ts'],
  'cli/local': [
    'core',
    'config',
    'client',
    'cli',
    'daemon',
    'declared/trial.ts',
    'start-daemon.ts',
    'deliver',
    'demo',
    'noxus',
    'simulator',
    'source/kinds.ts',
    'telemetry',
    'watches/run-keys.ts',
    'lifecycle.ts',
    'package-root.ts',
  ],
  demo: [
    'core',
    'config',
    'client',
    'cli',
    'simulator',
    'telemetry',
    'lifecycle.ts',
    'package-root.ts',
    'http/schemas',
  ],
  'fault-log.ts': ['core', 'redis', 'telemetry'],
  'periodic.ts': ['core'],
  daemon: [...PART, 'source', 'watches', 'deliver', 'alert'],
  'process.ts': [...PART, 'queue', 'source', 'deliver', 'alert'],
  'daemon.ts': [...PART, 'source', 'watches', 'deliver', 'alert', 'batches', 'http/tokens.ts'],
  'start-daemon.ts': [...PART, 'http', 'daemon.ts'],
  'main.ts': ['cli'],
};

/** The folders that may import a package, of packages that belong to a part of runwatch. */
const PACKAGES: Record<string, string[]> = {
  bullmq: ['queue'],
  ioredis: ['redis', 'queue'],
  fastify: ['http'],
  got: ['fetch', 'client'],
  nodemailer: ['deliver'],
  'prom-client': ['telemetry'],
  pino: ['telemetry'],
  commander: ['cli'],
  preact: ['ui'],
};

const IMPORT = /^(?:import|export)\s[^;']*?from '([^']+)'|import\('([^']+)'\)/gm;

const IMPORTS = sourceFiles().flatMap((file) =>
  [...readFileSync(file, 'utf8').matchAll(IMPORT)].map(([text, named, loaded]) => ({
    file: relative(SRC, file),
    specifier: named ?? loaded ?? '',
    isLoadedAtOnce: named !== undefined && !/^(import|export) type /.test(text),
  })),
);

function sourceFiles(): string[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.tsx?$/.test(path) && !path.endsWith('/vite.config.ts'))
    .map((path) => join(SRC, path));
}

/** `source` for `source/schedule.ts`, `main.ts` for itself. Verbs that run here are apart from the others. */
const folderOf = (path: string) =>
  path.startsWith('cli/local/') ? 'cli/local' : (path.split('/')[0] ?? '');

const targetOf = (file: string, specifier: string) =>
  relative(SRC, resolve(SRC, dirname(file), specifier));

test('each folder imports only the folders that it may know', () => {
  const inner = IMPORTS.filter(({ specifier }) => specifier.startsWith('.'));
  expect(inner.length).toBeGreaterThan(1_000);
  const forbidden = inner.flatMap(({ file, specifier }) => {
    const [from, target] = [folderOf(file), targetOf(file, specifier)];
    const allowed = [from, ...(ALLOWED[from] ?? [])];
    const isAllowed = allowed.some((one) => target === one || target.startsWith(`${one}/`));
    return isAllowed ? [] : [`${file} imports ${target}`];
  });
  expect(forbidden).toEqual([]);
});

/** Files that a file imports, directly or by others, types included. */
function reachedFrom(first: string): Set<string> {
  const files = new Set([first]);
  for (const from of files) {
    for (const { file, specifier } of IMPORTS) {
      if (file === from && specifier.startsWith('.')) files.add(targetOf(file, specifier));
    }
  }
  return files;
}

const importersOf = (target: string) => [
  ...new Set(
    IMPORTS.flatMap(({ file, specifier }) =>
      specifier.startsWith('.') && targetOf(file, specifier) === target ? [file] : [],
    ),
  ),
];

test('parts import the process, and nothing that the process imports knows a part', () => {
  const reached = reachedFrom('process.ts');
  expect(reached.size).toBeGreaterThan(50);
  expect(importersOf('process.ts').filter((file) => reached.has(file))).toEqual([]);
});

test('only the root and the API read the parts of the daemon', () => {
  const isReader = (file: string) =>
    file === 'start-daemon.ts' || (file.startsWith('http/') && !file.startsWith('http/schemas/'));
  expect(importersOf('daemon.ts').filter((file) => !isReader(file))).toEqual([]);
});

test('only what opens a source knows Noxus: all else goes by its traits and its port', () => {
  const importers = IMPORTS.flatMap(({ file, specifier }) =>
    specifier.startsWith('.') && folderOf(targetOf(file, specifier)) === 'noxus' ? [file] : [],
  );
  const outside = new Set(importers.filter((file) => folderOf(file) !== 'noxus'));
  expect([...outside].toSorted()).toEqual(['cli/local/run-reader.ts', 'source/kinds.ts']);
});

test('no circle of imports leaves its folder, types included', () => {
  const inner = IMPORTS.filter(({ specifier }) => specifier.startsWith('.'));
  const imports = new Map(sourceFiles().map((file) => [relative(SRC, file), new Set<string>()]));
  for (const { file, specifier } of inner) imports.get(file)?.add(targetOf(file, specifier));
  const circles = circlesOf(imports);
  // Else no import was read: the parts of a source know one another.
  expect(circles.length).toBeGreaterThan(0);
  const leaving = circles.filter((circle) => new Set(circle.map(dirname)).size > 1);
  expect(leaving).toEqual([]);
});

test('a package that belongs to a part of runwatch is imported there alone', () => {
  const forbidden = IMPORTS.flatMap(({ file, specifier }) => {
    const allowed = PACKAGES[specifier];
    return allowed === undefined || allowed.includes(folderOf(file))
      ? []
      : [`${file} imports ${specifier}`];
  });
  expect(forbidden).toEqual([]);
});

test('the command line starts with few packages: each verb loads the others that it needs', () => {
  const files = new Set(['main.ts']);
  const packages = new Set<string>();
  for (const from of files) {
    for (const { file, specifier, isLoadedAtOnce } of IMPORTS) {
      if (file !== from || !isLoadedAtOnce) continue;
      if (specifier.startsWith('.')) files.add(targetOf(file, specifier));
      else if (!specifier.startsWith('node:')) packages.add(specifier);
    }
  }
  expect([...packages].toSorted()).toEqual(['cli-table3', 'commander', 'ipaddr.js', 'picocolors']);
});

test('core reads no files, makes no connections and uses no packages', () => {
  const outer = IMPORTS.filter(
    ({ file, specifier }) => folderOf(file) === 'core' && !specifier.startsWith('.'),
  );
  expect(outer.filter(({ specifier }) => specifier !== 'node:crypto')).toEqual([]);
});

test('the dashboard uses nothing of Node', () => {
  const outer = IMPORTS.filter(({ file }) => folderOf(file) === 'ui');
  expect(outer.filter(({ specifier }) => specifier.startsWith('node:'))).toEqual([]);
});

test('documents and comments name files that exist', () => {
  const root = join(SRC, '..');
  const documents = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
  const texts = [...documents.map((name) => join(root, 'docs', name)), ...sourceFiles()];
  const existing = ['src', 'test', 'bench', 'scripts'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(
      (path) => `/${folder}/${path}`,
    ),
  );
  const named = texts.flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/`([\w/-]+\.ts)`/g)].map(([, path = '']) => ({
      file: relative(root, file),
      path,
    })),
  );
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter(({ path }) => !existing.some((one) => one.endsWith(`/${path}`)))).toEqual([]);
});
