#!/usr/bin/env node
// Writes the bill of materials of what runs in production, as CycloneDX: `npm run sbom`, or with another path
// than sbom.cdx.json. `npm sbom --omit dev` leaves out what packages for development need as well.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const target = resolve(process.argv[2] ?? 'sbom.cdx.json');

const read = (name) => JSON.parse(readFileSync(join(ROOT, name), 'utf8'));
const {
  devDependencies: _forDevelopment,
  scripts: _ofTheCheckout,
  ...manifest
} = read('package.json');
const lock = read('package-lock.json');
const { devDependencies: _locked, ...own } = lock.packages[''];
const others = Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && !dev);

// npm names the whole after its folder.
const scratch = mkdtempSync(join(tmpdir(), 'runwatch-sbom-'));
const folder = join(scratch, manifest.name);
try {
  mkdirSync(folder);
  const write = (name, value) => writeFileSync(join(folder, name), JSON.stringify(value));
  write('package.json', manifest);
  write('package-lock.json', { ...lock, packages: { '': own, ...Object.fromEntries(others) } });
  const args = ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx'];
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd: folder, encoding: 'utf8' });
  if (status === 0) {
    writeFileSync(`${target}.new`, stdout);
    renameSync(`${target}.new`, target);
    console.log(`${target}: ${JSON.parse(stdout).components.length} packages`);
  } else {
    console.error(`npm ${args.join(' ')} exits ${status}: ${stderr}`);
    process.exitCode = 1;
  }
} finally {
  rmSync(scratch, { recursive: true });
}
