import { join } from 'node:path';
import { defineConfig } from 'vite';

const file = (name: string) => join(import.meta.dirname, name);

// What programs import of the package. What it takes of other packages is part of it, so that a program needs
// none of the daemon's.
export default defineConfig({
  ssr: { noExternal: true },
  build: {
    ssr: true,
    outDir: '../../dist/client',
    // The types of it stand there.
    emptyOutDir: false,
    target: 'es2023',
    minify: false,
    sourcemap: true,
    reportCompressedSize: false,
    license: { fileName: 'LICENSES.md' },
    rolldownOptions: {
      input: { client: file('client.ts'), webhook: file('webhook.ts') },
      output: { chunkFileNames: 'chunks/[name].js', minifyInternalExports: false },
    },
  },
  logLevel: 'warn',
});
