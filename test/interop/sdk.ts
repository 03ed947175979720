import { join } from 'node:path';
import { startSimulator } from '../../src/simulator/server.ts';
import { SHIPPED_MAIN } from '../support/built-main.ts';
import { readTap, type Part } from './part.ts';
import { SOURCES } from './places.ts';
import { mustRun, pythonWith, run, type Tools } from './tools.ts';

/** How many times as fast as for people the stories play. */
const SPEED = 5;

/** The official SDK of Noxus against the simulator: every method that touches runs. */
export function sdkPart({ python }: Tools): Part {
  return {
    title: 'noxus-sdk against runwatch simulate',
    missing: python === null ? 'there is no python3 (3.11 or later)' : null,
    async play() {
      const bin = await pythonWith(python ?? '', 'sdk');
      const help = await mustRun(process.execPath, [SHIPPED_MAIN, 'simulate', '--help']);
      const noxus = await startSimulator({ speed: SPEED });
      const output = await run(join(bin, 'python'), [join(SOURCES, 'python/sdk.py')], {
        env: { NOXUS_BACKEND_URL: noxus.url, NOXUS_API_KEY: noxus.apiKey, SIMULATE_HELP: help },
        limitMs: 120_000,
      });
      await noxus.close();
      return readTap(output);
    },
  };
}
