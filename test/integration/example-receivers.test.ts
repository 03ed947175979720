import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { cleanEnv } from '../support/daemon-process.ts';
import { AS_IT_SHOULD, EXAMPLE_ENV, listening, tryOut } from '../support/example-receiver.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples/receivers/', import.meta.url));
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

const hasPython = spawnSync('python3', ['--version']).status === 0;

// Those in Go and with FastAPI run in test/interop.
const RECEIVERS: [name: string, command: string][] = [
  ['node-http.mjs', process.execPath],
  ['node-express.mjs', process.execPath],
  ['node-fastify.mjs', process.execPath],
  ...(hasPython ? [['python_stdlib.py', 'python3'] as [string, string]] : []),
];

test.each(RECEIVERS)(
  'the example %s verifies, drops repeats and refuses the rest',
  async (name, command) => {
    const child = spawn(command, [EXAMPLES + name], {
      env: cleanEnv(EXAMPLE_ENV),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    expect(await tryOut(await listening(child))).toEqual(AS_IT_SHOULD);
  },
);
