import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { cleanEnv } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples/receivers/', import.meta.url));
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const OTHER = `whsec_${Buffer.alloc(32, 8).toString('base64')}`;
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

const hasPython = spawnSync('python3', ['--version']).status === 0;

const RECEIVERS: [name: string, command: string][] = [
  ['node-http.mjs', process.execPath],
  ...(hasPython ? [['python_stdlib.py', 'python3'] as [string, string]] : []),
];

async function started(name: string, command: string) {
  const child = spawn(command, [EXAMPLES + name], {
    env: cleanEnv({ PORT: '0', RUNWATCH_WEBHOOK_SECRET: `${OTHER} ${SECRET}` }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (piece: Buffer) => (said += piece.toString()));
  }
  const url = await waitFor(() => /^http:\S+/.exec(said)?.[0], { describe: () => said });
  return { url, said: () => said };
}

function signed(id: string, secret = SECRET, at = new Date()) {
  const body = JSON.stringify({ id, type: 'run.failed', data: { run_id: `run-of-${id}` } });
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
  };
  return { method: 'POST', headers, body };
}

test.each(RECEIVERS)(
  'the example %s verifies, drops repeats and refuses the rest',
  async (...one) => {
    const { url, said } = await started(...one);
    const send = async (request: RequestInit) => (await fetch(url, request)).status;
    expect(await send(signed('evt_1'))).toBe(204);
    expect(await send(signed('evt_1'))).toBe(204);
    expect(await send(signed('evt_2'))).toBe(204);
    const wrong = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
    expect(await send(signed('evt_3', wrong))).toBe(401);
    expect(await send(signed('evt_3', SECRET, new Date(Date.now() - 600_000)))).toBe(401);
    expect(await send({ ...signed('evt_3'), body: '{}' })).toBe(401);
    await waitFor(() => said().includes('run-of-evt_2'), { describe: said });
    expect(said().match(/run-of-evt_\d/g)).toEqual(['run-of-evt_1', 'run-of-evt_2']);
  },
);
