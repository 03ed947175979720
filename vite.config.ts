import { defineConfig } from 'vite';

// The product itself, without the dashboard: that is src/ui/vite.config.ts. Node opens a few files
// instead of hundreds, which takes a fifth off the start of a daemon. Packages stay packages.
export default defineConfig({
  build: {
    ssr: true,
    outDir: 'dist',
    emptyOutDir: true,
    target: 'es2023',
    minify: false,
    sourcemap: true,
    reportCompressedSize: false,
    rolldownOptions: {
      input: {
        main: 'src/main.ts',
      },
      output: { chunkFileNames: 'chunks/[name].js', minifyInternalExports: false },
    },
  },
  logLevel: 'warn',
});
