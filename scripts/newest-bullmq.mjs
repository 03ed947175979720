#!/usr/bin/env node
// Runs the tests of the queue with the newest BullMQ of the major that this project uses, in a copy of it.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const LEFT_OUT = new Set(['.git', '.nodes', 'dist', 'node_modules']);
const TESTS = ['unit/source-slots', 'integration/short-limit', 'e2e/lost-jobs', 'e2e/delivery'];

const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const [major] = dependencies.bullmq.split('.');
const copy = mkdtempSync(join(tmpdir(), 'runwatch-bullmq-'));
const npm = (...args) => execFileSync('npm', args, { cwd: copy, stdio: 'inherit' });
try {
  cpSync(ROOT, copy, { recursive: true, filter: (path) => !LEFT_OUT.has(basename(path)) });
  npm('ci', '--ignore-scripts', '--no-audit', '--no-fund');
  npm('install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', `bullmq@${major}`);
  const used = JSON.parse(readFileSync(join(copy, 'node_modules/bullmq/package.json'), 'utf8'));
  console.log(`BullMQ ${used.version}, where ${dependencies.bullmq} is pinned`);
  npm('run', 'build');
  npm('run', 'test:all', '--', ...TESTS.map((name) => `test/${name}.test.ts`));
} catch (error) {
  // Npm has said above what went wrong with it; nobody has said anything else.
  if (error.status === undefined) throw error;
  process.exitCode = error.status ?? 1;
} finally {
  rmSync(copy, { recursive: true, force: true });
}
