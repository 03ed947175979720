import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { buildOfVersion } from '../../test/support/daemon-process.ts';
import { NEXT_VERSION } from '../../test/support/next-form.ts';
import type { BenchContext } from './context.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const ENTRY = fileURLToPath(new URL('../../test/support/next-form-daemon.ts', import.meta.url));

/** Builds the version that knows the next form, as the product is built. @returns its entry point */
export async function nextBuild({ dir }: BenchContext): Promise<string> {
  const root = join(dir, 'next');
  await mkdir(root);
  await buildOfVersion(NEXT_VERSION, root);
  const outDir = join(root, 'dist');
  await build({
    root: ROOT,
    configFile: join(ROOT, 'vite.config.ts'),
    build: { outDir, emptyOutDir: false, rolldownOptions: { input: { next: ENTRY } } },
  });
  return join(outDir, 'next.js');
}
