import type { ChildProcess } from 'node:child_process';
import { Webhook } from 'standardwebhooks';
import { waitFor } from './wait-for.ts';

/** A secret that the examples take. */
export const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const OLDER = `whsec_${Buffer.alloc(32, 8).toString('base64')}`;
const WRONG = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;

/** The environment of an example of a receiver: a port of its choice, and two secrets, as while one is rotated. */
export const EXAMPLE_ENV = {
  PORT: '0',
  RUNWATCH_WEBHOOK_SECRET: `${OLDER} ${SECRET}`,
  PYTHONUNBUFFERED: '1',
};

/** What an example writes, and where it says that it listens. */
export async function listening(child: ChildProcess): Promise<{ url: string; said: () => string }> {
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (piece: Buffer) => (said += piece.toString()));
  }
  const url = await waitFor(() => /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0], {
    describe: () => said,
  });
  return { url, said: () => said };
}

/** A webhook as it is sent, signed. */
export function signed(id: string, secret = SECRET, at = new Date()) {
  const body = JSON.stringify({ id, type: 'run.failed', data: { run_id: `run-of-${id}` } });
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
  };
  return { method: 'POST', headers, body };
}

/** Sends webhooks to a receiver, some of them forged. @returns its answers, and the runs it handled */
export async function tryOut({ url, said }: { url: string; said: () => string }) {
  const send = async (request: RequestInit) => (await fetch(`${url}/`, request)).status;
  const answers: Record<string, number> = {};
  for (const [title, request] of [
    ['first', signed('evt_1')],
    ['repeat', signed('evt_1')],
    ['older secret', signed('evt_2', OLDER)],
    ['wrong secret', signed('evt_3', WRONG)],
    ['old', signed('evt_3', SECRET, new Date(Date.now() - 600_000))],
    ['changed', { ...signed('evt_3'), body: '{}' }],
  ] as const) {
    answers[title] = await send(request);
  }
  await waitFor(() => said().includes('run-of-evt_2'), { describe: said });
  return { answers, handled: said().match(/run-of-evt_\d/g) ?? [] };
}

/** What every example does in {@link tryOut}. */
export const AS_IT_SHOULD = {
  answers: {
    first: 204,
    repeat: 204,
    'older secret': 204,
    'wrong secret': 401,
    old: 401,
    changed: 401,
  },
  handled: ['run-of-evt_1', 'run-of-evt_2'],
};
