import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { createSigner, generateSecret } from '../../src/deliver/secrets/sign.ts';
import { sampleEvent, sampleRun, settledWatch } from '../support/api-samples.ts';
import { cleanEnv } from '../support/daemon-process.ts';
import { startFakeDaemon } from '../support/fake-daemon.ts';
import { waitFor } from '../support/wait-for.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill();
});

/** An example as its own process, which imports the built package by its name. */
function example(name: string, args: string[], env: Record<string, string>) {
  const child = spawn(process.execPath, [`examples/${name}.mjs`, ...args], {
    cwd: ROOT,
    env: cleanEnv(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => (output[stream] += text));
  }
  return { child, output };
}

test('the example of the client registers runs, and follows them to their ends', async () => {
  const daemon = await startFakeDaemon();
  const watch = settledWatch('run-1', 'failed');
  daemon.on('POST /v1/watches/batch', {
    status: 200,
    body: {
      results: [
        { run_id: 'run-1', status: 200, watch },
        { run_id: 'run-2', status: 201, watch: { ...watch, run_id: 'run-2' } },
      ],
    },
  });
  daemon.on('GET /v1/watches', { status: 200, body: { data: [watch], next_cursor: null } });
  const { child, output } = example('client', ['run-1', 'run-2'], { RUNWATCH_URL: daemon.url });
  await waitFor(() => daemon.streams() === 1 && output.stdout.includes('run-1 failed'), {
    describe: () => output.stderr,
  });
  const run = sampleRun({ id: 'run-2', status: 'completed' });
  daemon.push('c1', sampleEvent('evt_2', { run_id: 'run-2', run }));
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(output).toEqual({ stdout: 'run-1 failed\nrun-2 completed\n', stderr: '' });
  await daemon.close();
});

test('the example of a receiver takes a signed webhook once, and refuses a forged one', async () => {
  const secret = generateSecret();
  const env = { RUNWATCH_WEBHOOK_SECRET: secret, PORT: '0' };
  const { output } = example('webhook-receiver', [], env);
  const port = await waitFor(() => /listening on (\d+)/.exec(output.stdout)?.[1] ?? null);
  const body = JSON.stringify(sampleEvent('evt_1'));
  const post = (headers: Record<string, string>) =>
    fetch(`http://127.0.0.1:${port}/hooks`, { method: 'POST', body, headers });
  const signed = createSigner([secret])({ eventId: 'evt_1', body }, Date.now());
  const forged = createSigner([generateSecret()])({ eventId: 'evt_1', body }, Date.now());
  expect((await post(forged)).status).toBe(401);
  expect((await post(signed)).status).toBe(204);
  expect((await post(signed)).status).toBe(204);
  await waitFor(() => output.stdout.includes('run.completed'));
  expect(output.stdout.match(/run\.completed run-1 completed \{\}/g)).toHaveLength(1);
});

test('the examples fit the types that the package declares', () => {
  const checked = spawnSync('npx', ['tsc', '-p', 'examples/tsconfig.json'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  expect(checked.stdout).toBe('');
  expect(checked.status).toBe(0);
});
