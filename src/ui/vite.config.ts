import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

const OUT = '../../dist/ui';

export default defineConfig({
  // Assets are found from wherever the page is served: see the base of index.html.
  base: './',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: false,
    reportCompressedSize: false,
  },
  plugins: [compress()],
  logLevel: 'warn',
});

/** Writes each asset compressed as well, so that the daemon compresses nothing while it serves. */
function compress(): Plugin {
  return {
    name: 'compress',
    apply: 'build',
    writeBundle() {
      const folder = join(import.meta.dirname, OUT, 'assets');
      for (const name of readdirSync(folder)) {
        const content = readFileSync(join(folder, name));
        writeFileSync(join(folder, `${name}.gz`), gzipSync(content, { level: 9 }));
        writeFileSync(join(folder, `${name}.br`), brotliCompressSync(content));
      }
    },
  };
}
