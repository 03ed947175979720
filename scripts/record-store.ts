import { randomBytes } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { Redis } from 'ioredis';
import { createKeys } from '../src/redis/keys.ts';
import { readAll, type DeliveryJson } from '../test/support/daemon-listings.ts';
import { recordKeys, recordingPath, type RecordingHead } from '../test/support/recorded-store.ts';
import { startPrivateRedis } from '../test/support/redis.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { playStage, type Stage } from './goldens/stage.ts';

/**
 * Records the store of this version's form in test/fixtures/store, once: versions to come are tried on it. It plays what
 * there is to play, leaves some things under way, and writes the keys as commands.
 */

const PREFIX = 'runwatch';

/** Refuses connections: what goes there stays pending. */
const CLOSED_URL = 'http://127.0.0.1:9/hook';

/** Kinds of keys that must be in the recording; others come and go. */
const EXPECTED = [
  'alert',
  'alert-group',
  'attempts',
  'audit',
  'batch',
  'delivery',
  'discovery-cursor',
  'endpoint-secrets',
  'endpoint-state',
  'event',
  'kept-answers',
  'packed',
  'parked',
  'run-figures',
  'silences',
  'source',
  'statistics',
  'watch',
  'workflow-names',
];

const encryptionKey = randomBytes(32).toString('base64');
const server = await startPrivateRedis();
const redis = new Redis(server.url);
const keys = createKeys(PREFIX);
try {
  const form = await recordStage();
  const { size } = await stat(recordingPath(form));
  process.stdout.write(`form ${form}: ${size} bytes\n`);
} finally {
  redis.disconnect();
  await server.stop();
}

async function recordStage(): Promise<string> {
  const stage = await playStage({
    REDIS_URL: server.url,
    RUNWATCH_ENCRYPTION_KEY: encryptionKey,
  });
  try {
    await leaveUnderWay(stage);
    await stage.daemon.stop();
    return await write();
  } finally {
    await stage.close();
  }
}

/** What is not over when the daemon stops. */
async function leaveUnderWay({ daemon, noxus }: Stage): Promise<void> {
  const post = async (path: string, body: object) => {
    const answer = await daemon.api(path, body);
    if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
    return answer.body as { id: string };
  };
  await post('/v1/silences', {
    matchers: { rule: ['failed-runs'], workflow_id: ['none'] },
    until: '30d',
    by: 'ana',
    comment: 'no alerts of none',
  });
  await post('/v1/endpoints/derived/pause', {});
  await post('/v1/endpoints/all/rotate', {});
  const webhook = { url: CLOSED_URL, headers: { authorization: 'Bearer of-the-webhook' } };
  const add = (status: string) => noxus.add({ steps: [{ after_ms: 0, status }] }).id;
  for (const status of ['running', 'awaiting_human_feedback']) {
    await post('/v1/watches', { run_id: add(status), batch: 'open', metadata: { part: 'active' } });
  }
  const failed = add('failed');
  await post('/v1/watches', { run_id: failed, endpoints: ['derived'], webhook });
  await waitFor(async () => {
    const { body } = await daemon.api<{ data: object[] }>('/v1/alerts?state=firing');
    return body.data.length > 0;
  });
  const states = async () =>
    new Set((await readAll<DeliveryJson>(daemon, '/v1/deliveries')).map(({ state }) => state));
  await waitFor(async () => {
    const found = await states();
    return found.has('pending') && found.has('parked');
  });
  await fetch(`${daemon.url}/v1/watches/${failed}/poll`, {
    method: 'POST',
    headers: { 'idempotency-key': 'recorded' },
  });
  // Runs are packed once nothing of them is under way.
  await waitFor(async () => Number(await redis.hget(keys.packed, 'watches')) > 5);
}

async function write(): Promise<string> {
  const recorded = await recordKeys(redis, PREFIX);
  const kinds = new Set(
    recorded.map(({ command: [, key] }) => (typeof key === 'string' ? key.split(':')[1] : '')),
  );
  const missing = EXPECTED.filter((kind) => !kinds.has(kind));
  if (missing.length > 0) throw new Error(`nothing is of the kinds ${missing.join(', ')}`);
  const form = (await redis.get(keys.schema)) ?? '';
  const [, at = '0'] = (await redis.get(keys.clock))?.split(' ') ?? [];
  const manifest = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
  const { version } = manifest;
  const head: RecordingHead = { form, version, at: Number(at), prefix: PREFIX, encryptionKey };
  const lines = [head, ...recorded].map((line) => JSON.stringify(line));
  await writeFile(recordingPath(form), `${lines.join('\n')}\n`);
  return form;
}
