#!/usr/bin/env node
// Gets a fresh clone ready: npm packages, the build, and a Redis server where none is installed.
// It needs Node and nothing else, does only what is missing, and says so before it does it.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withLock } from './bootstrap/lock.mjs';
import { arePackagesCurrent, markPackagesCurrent } from './bootstrap/packages.mjs';
import { ensureBrowser, isBrowserCovered } from './bootstrap/chromium.mjs';
import { ensureRedisServer, isRedisCovered } from './bootstrap/redis-server.mjs';
import { BootstrapError, run, say } from './bootstrap/shell.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
/** `--tests` also gets what only the tests need. */
const needsBrowser = process.argv.includes('--tests');
const OLDEST_NODE = [20, 19];

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  throw new BootstrapError(
    `runwatch needs Node ${OLDEST_NODE.join('.')} or later, and this is Node ${process.versions.node}.`,
  );
}

function npm(...args) {
  // Under `npm run`, the npm that is running; its own path works where `npm` is a shell alias.
  const self = process.env.npm_execpath;
  const [command, first] = self?.endsWith('.js') ? [process.execPath, [self]] : ['npm', []];
  if (run(command, [...first, ...args], { cwd: ROOT }) !== 0) {
    throw new BootstrapError(`npm ${args[0]} failed; what it wrote above says why.`);
  }
}

function ensurePackages() {
  if (arePackagesCurrent(ROOT)) return;
  say('installing the npm packages of package-lock.json (npm ci)');
  // The build needs the development packages, whatever NODE_ENV says.
  npm('ci', '--include=dev', '--no-audit', '--no-fund');
  markPackagesCurrent(ROOT);
}

function ensureBuild() {
  if (isBuilt()) return;
  say('building dist/ (npm run build)');
  npm('run', 'build');
}

/** A build empties dist/ first, writes the dashboard last, and then link-bin.mjs touches dist/main.js. */
function isBuilt() {
  const main = join(ROOT, 'dist', 'main.js');
  const page = join(ROOT, 'dist', 'ui', 'index.html');
  if (!existsSync(main) || !existsSync(page)) return false;
  const inputs = ['src', 'tsconfig.json', 'vite.config.ts'];
  return statSync(main).mtimeMs >= Math.max(...inputs.map((input) => newest(join(ROOT, input))));
}

function newest(path) {
  const own = statSync(path);
  if (!own.isDirectory()) return own.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name))));
}

async function bootstrap() {
  requireNode();
  const hasBrowser = !needsBrowser || isBrowserCovered();
  if (arePackagesCurrent(ROOT) && isBuilt() && isRedisCovered() && hasBrowser) return;
  await withLock(ROOT, () => {
    ensurePackages();
    ensureBuild();
    ensureRedisServer();
    if (needsBrowser) ensureBrowser();
  });
}

try {
  await bootstrap();
} catch (error) {
  if (!(error instanceof BootstrapError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
