import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { waitFor } from '../support/wait-for.ts';
import { builtGo } from './go.ts';
import type { CaseResult, Part } from './part.ts';
import { SOURCES } from './places.ts';
import { SECRET, TOKEN, type RawWebhook, type Stage } from './stage.ts';
import { endWithParts, pythonWith, type Tools } from './tools.ts';

/** How long a webhook may take, ms. */
const PATIENCE = { timeoutMs: 60_000 };

/** A receiver of the official library of a language, running. */
interface Receiver {
  url: string;
  stop: () => void;
}

/** What runwatch sent, and the secrets by which it has to verify. */
interface Sent {
  webhook: RawWebhook;
  perWatch: { webhook: RawWebhook; secret: string };
  rotated: { webhook: RawWebhook; secret: string };
}

/** Receivers that verify by the official libraries of Standard Webhooks. */
export function receiverParts(tools: Tools, stage: Stage): Part[] {
  let sent: Promise<Sent> | null = null;
  const verify = async (receiver: Receiver) => {
    sent ??= collect(stage);
    return judge(receiver, await sent).finally(receiver.stop);
  };
  return [
    {
      title: 'a receiver in Python (standardwebhooks)',
      missing: tools.python === null ? 'there is no python3 (3.11 or later)' : null,
      async play() {
        const bin = await pythonWith(tools.python ?? '', 'tools');
        return verify(await start(join(bin, 'python'), [join(SOURCES, 'python/receiver.py')]));
      },
    },
    {
      title: 'a receiver in Go (standard-webhooks)',
      missing: tools.go === null ? 'there is no go (1.26 or later)' : null,
      async play() {
        return verify(await start(await builtGo(tools.go ?? '', 'receiver'), []));
      },
    },
  ];
}

/** Starts a receiver, which says where it listens. */
async function start(command: string, args: string[]): Promise<Receiver> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  endWithParts(child);
  let said = '';
  child.stdout.on('data', (piece: Buffer) => (said += piece.toString()));
  const url = await waitFor(() => /^http:\S+/.exec(said)?.[0], PATIENCE);
  return { url, stop: () => child.kill('SIGKILL') };
}

/** Lets runwatch send an event to its endpoint, to a webhook of a watch, and after a rotation. */
async function collect(stage: Stage): Promise<Sent> {
  const webhook = await notified(stage, '/ops', {});
  const secret = `whsec_${randomBytes(32).toString('base64')}`;
  const url = stage.receiverUrl.replace('/ops', '/of-a-watch');
  const perWatch = await notified(stage, '/of-a-watch', { webhook: { url, secret } });
  const rotated = await call(stage, '/v1/endpoints/ops/rotate');
  const after = await notified(stage, '/ops', {});
  return {
    webhook,
    perWatch: { webhook: perWatch, secret },
    rotated: { webhook: after, secret: (rotated as { secret: string }).secret },
  };
}

async function notified(stage: Stage, path: string, options: object): Promise<RawWebhook> {
  const run = stage.noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] });
  await call(stage, '/v1/watches', { run_id: run.id, ...options });
  return waitFor(
    () => stage.webhooks.find((one) => one.path === path && one.body.includes(run.id)),
    { ...PATIENCE, describe: `a webhook at ${path}` },
  );
}

async function call({ daemon }: Stage, path: string, body?: object): Promise<unknown> {
  const response = await fetch(`${daemon.url}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${TOKEN}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

async function judge(receiver: Receiver, sent: Sent): Promise<CaseResult[]> {
  const { webhook, perWatch, rotated } = sent;
  const other = `whsec_${randomBytes(32).toString('base64')}`;
  const old = { ...webhook.headers, 'webhook-timestamp': String(Date.now() / 1_000 - 600) };
  const early = String(Math.floor(Date.now() / 1_000) + 600);
  const cases: [title: string, expected: number, webhook: RawWebhook, secret: string][] = [
    ['takes an event of an endpoint', 204, webhook, SECRET],
    ['takes an event of a webhook of a watch', 204, perWatch.webhook, perWatch.secret],
    ['takes an event after a rotation by the old secret', 204, rotated.webhook, SECRET],
    ['takes an event after a rotation by the new secret', 204, rotated.webhook, rotated.secret],
    ['refuses another secret', 401, webhook, other],
    ["refuses another watch's secret", 401, webhook, perWatch.secret],
    ['refuses a body that was changed', 401, { ...webhook, body: `${webhook.body} ` }, SECRET],
    ['refuses an id that was changed', 401, withHeader(webhook, 'webhook-id', 'evt_1'), SECRET],
    ['refuses an old time', 401, { ...webhook, headers: whole(old) }, SECRET],
    ['refuses a time to come', 401, withHeader(webhook, 'webhook-timestamp', early), SECRET],
  ];
  return Promise.all(
    cases.map(async ([title, expected, one, secret]) => {
      const status = await replay(receiver, one, secret);
      const problem = status === expected ? null : `expected ${expected}, got ${status}`;
      return { title, problem };
    }),
  );
}

function whole(headers: RawWebhook['headers']): RawWebhook['headers'] {
  const seconds = Math.floor(Number(headers['webhook-timestamp']));
  return { ...headers, 'webhook-timestamp': String(seconds) };
}

function withHeader(webhook: RawWebhook, name: string, value: string): RawWebhook {
  return { ...webhook, headers: { ...webhook.headers, [name]: value } };
}

async function replay({ url }: Receiver, { headers, body }: RawWebhook, secret: string) {
  const named = Object.entries(headers).filter(([name]) => name.startsWith('webhook-'));
  const response = await fetch(`${url}?secret=${encodeURIComponent(secret)}`, {
    method: 'POST',
    headers: Object.fromEntries(named) as Record<string, string>,
    body,
  });
  await response.arrayBuffer();
  return response.status;
}
