import { chmod, copyFile, mkdir, mkdtemp } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'vite';
import { escaped } from '../../../src/core/control-characters.ts';
import { startDaemonProcess } from '../daemon-process.ts';
import { testRedis } from '../redis.ts';

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Inside of the package, where the product finds its version and its dashboard. */
const FOLDER = pathOf('../../../node_modules/.cache/');

/** What loads BullMQ: a bundler follows no `require` that is made for a file. */
const LOADING = "createRequire(import.meta.url)('bullmq')";

const bullmq: Plugin = {
  name: 'bullmq',
  enforce: 'pre',
  transform(code, id) {
    if (!id.endsWith('/src/queue/slot-queue.ts')) return null;
    if (!code.includes(LOADING)) throw new Error(`expected ${LOADING} in ${id}`);
    return code.replace(LOADING, "require('bullmq')");
  },
};

/** The page of the API's documentation reads files that lie beside its own. */
const swaggerUi: Plugin = {
  name: 'swagger-ui',
  transform(code, id) {
    if (!id.includes('/@fastify/swagger-ui/')) return null;
    return code.replaceAll('__dirname', JSON.stringify(dirname(id)));
  },
};

/** V8 keeps each character of a source in two bytes where a single one does not fit into one. */
const ascii: Plugin = {
  name: 'ascii',
  generateBundle(_options, bundle) {
    for (const file of Object.values(bundle)) {
      if (file.type === 'chunk') file.code = file.code.replace(/[^\0-\x7f]+/g, escaped);
    }
  },
};

/**
 * Builds the product with its packages in one file, and keeps what V8 compiled of it. A daemon starts so in 40 % of
 * the CPU that the loading of 850 files takes, and tests start two hundred. What is shipped has tests of its own.
 * @returns the entry point, alone in a directory that the caller removes
 */
export async function buildOneFile(): Promise<string> {
  await mkdir(FOLDER, { recursive: true });
  const outDir = await mkdtemp(join(FOLDER, 'one-file-'));
  // Some tests start it as another user.
  await chmod(outDir, 0o755);
  await build({
    configFile: false,
    logLevel: 'warn',
    plugins: [bullmq, swaggerUi, ascii],
    ssr: { noExternal: true },
    build: {
      ssr: true,
      outDir,
      target: 'es2023',
      minify: false,
      reportCompressedSize: false,
      rolldownOptions: {
        input: pathOf('entry.ts'),
        output: {
          format: 'cjs',
          codeSplitting: false,
          // A script that V8 kept compiled has no `import()`.
          dynamicImportInCjs: false,
          // Without comments a quarter less is read; names stay, by which errors are known.
          minify: { compress: false, mangle: false },
          entryFileNames: 'runwatch.cjs',
        },
      },
    },
  });
  const main = join(outDir, 'start.cjs');
  await copyFile(pathOf('start.cjs'), main);
  await compileOnce(main);
  return main;
}

/** The first process that ends leaves what V8 compiled; that of a daemon serves all others best. */
async function compileOnce(main: string): Promise<void> {
  const { url, prefix } = testRedis();
  const daemon = await startDaemonProcess({
    main,
    config: {
      redis: { url, prefix },
      sources: { default: { base_url: 'http://127.0.0.1:9', api_key: 'key' } },
    },
  });
  await daemon.stop();
}
