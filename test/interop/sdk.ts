import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readTap, type Part } from './part.ts';
import { SOURCES } from './places.ts';
import type { Stage } from './stage.ts';
import { mustRun, pythonWith, run, type Tools } from './tools.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** The official SDK of Noxus against the simulator: every method that touches runs. */
export function sdkPart({ python }: Tools, { noxus }: Stage): Part {
  return {
    title: 'noxus-sdk against runwatch simulate',
    missing: python === null ? 'there is no python3 (3.11 or later)' : null,
    async play() {
      const bin = await pythonWith(python ?? '', 'sdk');
      const help = await mustRun(process.execPath, [MAIN, 'simulate', '--help']);
      const output = await run(join(bin, 'python'), [join(SOURCES, 'python/sdk.py')], {
        env: { NOXUS_BACKEND_URL: noxus.url, NOXUS_API_KEY: noxus.apiKey, SIMULATE_HELP: help },
        limitMs: 120_000,
      });
      return readTap(output);
    },
  };
}
