import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { cleanEnv } from '../support/daemon-process.ts';
import {
  AS_IT_SHOULD,
  EXAMPLE_ENV,
  listening,
  SECRET,
  signed,
  tryOut,
} from '../support/example-receiver.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
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

/** Loaded first: a server takes a free port in place of its own, and says which. */
const ANY_PORT = `
  import { Server } from 'node:net';
  const { listen } = Server.prototype;
  Server.prototype.listen = function () {
    return listen.call(this, 0, '127.0.0.1', () =>
      console.log('http://127.0.0.1:' + this.address().port));
  };
`;

test('the receiver of the README answers 401 to requests that are not signed, and goes on', async () => {
  const readme = readFileSync(`${ROOT}README.md`, 'utf8');
  const [, program = ''] = /```js\n(.*?)```/s.exec(readme) ?? [];
  const preload = `data:text/javascript,${encodeURIComponent(ANY_PORT)}`;
  const child = spawn(process.execPath, ['--import', preload, '--input-type=module'], {
    cwd: ROOT,
    env: cleanEnv({ RUNWATCH_WEBHOOK_SECRET: SECRET }),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  children.push(child);
  child.stdin.end(program);
  const { url, said } = await listening(child);
  const { headers } = signed('evt_1');
  const requests: RequestInit[] = [
    {},
    { method: 'POST', body: '{}' },
    { method: 'POST', body: '{}', headers },
    signed('evt_1'),
  ];
  const statuses: number[] = [];
  for (const request of requests) statuses.push((await fetch(url, request)).status);
  expect(statuses).toEqual([401, 401, 401, 204]);
  expect(said()).toContain('run.failed run-of-evt_1');
});
