#!/usr/bin/env node
// Fails where a package that runs in production does not run on the oldest Node that this one names.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import semver from 'semver';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
const oldest = semver.minVersion(packages[''].engines.node);
const production = Object.entries(packages).filter(([path, { dev }]) => path !== '' && !dev);
const refused = production
  .map(([path, { version, engines }]) => {
    return { name: `${path.replace(/^.*node_modules\//, '')}@${version}`, node: engines?.node };
  })
  .filter(({ node }) => node !== undefined && !semver.satisfies(oldest, node));

for (const { name, node } of refused) console.error(`${name}: it needs Node ${node}`);
console.log(
  `on Node ${oldest} ${production.length - refused.length} packages run, ${refused.length} do not`,
);
process.exitCode = refused.length === 0 ? 0 : 1;
