import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const ASSETS = join(import.meta.dirname, '../../dist/ui/assets');

test('scripts of the dashboard have at most 72 kB when they are compressed by gzip', async () => {
  const names = (await readdir(ASSETS)).filter((name) => name.endsWith('.js.gz'));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(ASSETS, name))).size));
  expect(names.length).toBeGreaterThan(0);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(72_000);
});
