#!/usr/bin/env node
// Fails where a package that runs in production has a licence that is not on the list.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

const ALLOWED = new Set([
  'MIT',
  'MIT-0',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'Apache-2.0',
  '0BSD',
  'BlueOak-1.0.0',
  'CC0-1.0',
]);

/** Packages with another licence that was read and found good, with the reason. */
const EXCEPTIONS = new Map([
  // Of standardwebhooks. A dedication to the public domain, as CC0 is.
  ['fast-sha256', 'Unlicense'],
]);

/** Whether an SPDX expression lets us choose a licence of the list; `AND` asks for all of its parts. */
function isAllowed(expression) {
  const bare = expression.replace(/^\((.*)\)$/, '$1');
  if (/ OR /.test(bare)) return bare.split(' OR ').some(isAllowed);
  if (/ AND /.test(bare)) return bare.split(' AND ').every(isAllowed);
  return ALLOWED.has(bare);
}

const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
const production = Object.entries(packages).filter(([path, { dev }]) => path !== '' && !dev);
const refused = production
  .map(([path, { license = 'none' }]) => ({ name: path.replace(/^.*node_modules\//, ''), license }))
  .filter(({ name, license }) => !isAllowed(license) && EXCEPTIONS.get(name) !== license);

for (const { name, license } of refused) {
  console.error(`${name}: its licence ${license} is not on the list of scripts/licenses.mjs`);
}
console.log(`${production.length} packages run in production, ${refused.length} refused`);
process.exitCode = refused.length === 0 ? 0 : 1;
