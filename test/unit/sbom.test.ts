import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { cleanEnv } from '../support/daemon-process.ts';

const ROOT = join(import.meta.dirname, '../..');

interface Sbom {
  bomFormat: string;
  metadata: { component: { name: string; version: string } };
  components: { name: string; version: string; hashes: unknown[]; licenses: unknown[] }[];
}

interface Lock {
  version: string;
  packages: Record<string, { version: string; dev?: boolean }>;
}

test('the bill of materials names each package that runs with its licence, and none that only builds', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
  try {
    const args = ['run', '--silent', 'sbom', '--', join(folder, 'sbom.json')];
    await promisify(execFile)('npm', args, { cwd: ROOT, env: cleanEnv() });
    expect(await readdir(folder)).toEqual(['sbom.json']);
    const sbom = JSON.parse(await readFile(join(folder, 'sbom.json'), 'utf8')) as Sbom;
    const lock = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8')) as Lock;
    const production = Object.entries(lock.packages)
      .filter(([path, { dev }]) => path !== '' && dev !== true)
      .map(([path, { version }]) => `${path.replace(/^.*node_modules\//, '')}@${version}`);
    const listed = sbom.components.map(({ name, version }) => `${name}@${version}`);
    expect([...new Set(listed)].sort()).toEqual([...new Set(production)].sort());
    expect(listed).toEqual(expect.arrayContaining([expect.stringMatching(/^zod@/)]));
    expect(sbom).toMatchObject({
      bomFormat: 'CycloneDX',
      metadata: { component: { name: 'runwatchd', version: lock.version } },
    });
    expect(sbom.components.filter(({ licenses }) => licenses.length === 0)).toEqual([]);
    expect(sbom.components.filter(({ hashes }) => hashes.length === 0)).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
