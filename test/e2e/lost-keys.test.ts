import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { sum } from '../../src/core/arrays.ts';
import { NEEDED } from '../../src/redis/server-check.ts';
import {
  startReceiver,
  type ReceivedWebhook,
  type Receiver,
} from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startInside } from '../support/inside-daemon.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
const READ = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

/** The kinds of keys that the file of keys names, in its order. */
function classesOfKeys(): string[] {
  const text = READ('src/redis/keys.ts');
  const found = [...text.matchAll(/\bkey\(\s*'([a-z-]+)'|\$\{tag\}:([a-z-]+)/g)];
  return [...new Set(found.map(([, named, ofTag]) => named ?? ofTag ?? ''))];
}

/** Those that the description of the store explains. */
function classesOfPage(): string[] {
  const [, table = ''] = READ('docs/store.md').split('## Keys\n');
  const [rows = ''] = table.split('\n## ');
  return [...rows.matchAll(/^\| `([a-z-]+)`/gm)].map(([, name = '']) => name);
}

const CLASSES = classesOfKeys();

/** Kinds of keys that are lost together; the keys of the queue besides. */
const ROUNDS = Array.from({ length: 5 }, (_, round) =>
  [...CLASSES, 'poll-default'].filter((_name, at) => at % 5 === round),
);

let noxus: Simulator;
let receiver: Receiver;
let accepted: ReceivedWebhook[] = [];
let server: PrivateRedis;
let control: Redis;
/** Prefixes of the daemons with a second endpoint that is down. */
const down = new Set<string>();
const lives: Life[] = [];

beforeAll(async () => {
  noxus = await startSimulator();
  receiver = await startReceiver({
    secrets: [SECRET],
    respond(webhook) {
      if (down.has(webhook.headers['x-late'] ?? '')) return { status: 500 };
      accepted.push(webhook);
      return { status: 204 };
    },
  });
  server = await startPrivateRedis();
  control = new Redis(server.url);
});

afterEach(async () => {
  for (const life of lives.splice(0)) await life.stop();
  await control.flushall();
  accepted = [];
});

afterAll(async () => {
  control.disconnect();
  await server.stop();
  await receiver.close();
  await noxus.close();
});

interface Life extends ReturnType<typeof openStores> {
  daemon: Awaited<ReturnType<typeof startInside>>;
  prefix: string;
  stop: () => Promise<void>;
}

/** So few attempts fail while the endpoint is down that its circuit breaker does not open. */
const RETRY = ['1s', ...Array(49).fill('2s')];

/** A daemon with a rule, and an endpoint besides that is down at times. */
async function begin(prefix: string): Promise<Life> {
  const dataDir = await mkdtemp(join(tmpdir(), 'runwatch-keys-'));
  const ofHooks = { type: 'webhook', url: receiver.url, secret: SECRET, timeout: '2s' };
  const hooks = { ...ofHooks, default: true };
  const daemon = await startInside({
    data_dir: dataDir,
    redis: { url: `unix://${server.url}`, prefix },
    sources: {
      default: {
        base_url: noxus.url,
        api_key: noxus.apiKey,
        rate_limit: { requests: 1_000, per: '1s' },
      },
    },
    polling: { min_interval: '50ms', max_interval: '200ms' },
    rules: [{ name: 'ends', events: ['run.completed'], notify: ['pages'], group_wait: '50ms' }],
    endpoints: {
      hooks: { ...hooks, events: ['*', 'store.data_lost'] },
      late: { ...hooks, headers: { 'x-late': prefix }, retry: RETRY },
      pages: ofHooks,
    },
  });
  const stores = openStores({ url: server.url, prefix });
  const life: Life = {
    ...stores,
    daemon,
    prefix,
    async stop() {
      await stores.close();
      await daemon.stop();
      await rm(dataDir, { recursive: true });
    },
  };
  lives.push(life);
  return life;
}

async function post(life: Life, path: string, body: object): Promise<number> {
  const headers = { 'content-type': 'application/json' };
  const init = { method: 'POST', headers, body: JSON.stringify(body) };
  return (await fetch(`${life.daemon.url}${path}`, init)).status;
}

const BATCH = 'story';

/** Registers new runs in the batch of the story, however often that takes. */
async function register(life: Life, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => {
    return noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id;
  });
  const watches = ids.map((run_id) => ({ run_id }));
  const list = { watches, batch: BATCH, open: true };
  await waitFor(async () => (await post(life, '/v1/watches/batch', list)) === 200);
  return ids;
}

function end(ids: readonly string[]): void {
  for (const id of ids) noxus.setStatus(id, 'completed');
}

/** How often each endpoint has taken the end of a run. */
function timesTold(id: string): { hooks: number; late: number } {
  const found = accepted.filter(({ type, body }) => type === 'run.completed' && body.includes(id));
  const late = found.filter(({ headers }) => headers['x-late'] !== undefined).length;
  return { hooks: found.length - late, late };
}

/** Runs with an end that an endpoint has not taken. */
function untold(ids: readonly string[]): string[] {
  return ids.filter((id) => {
    const { hooks, late } = timesTold(id);
    return hooks === 0 || late === 0;
  });
}

async function keysOf(life: Life, name: string): Promise<string[]> {
  const [alone, beginning] = [`{${life.prefix}}:${name}`, `{${life.prefix}}:${name}:`];
  return (await life.keysLeft()).filter((key) => key === alone || key.startsWith(beginning));
}

/** Deletes all keys of some kinds. */
async function lose(life: Life, classes: readonly string[]): Promise<void> {
  const found: string[] = [];
  for (const name of classes) found.push(...(await keysOf(life, name)));
  if (found.length > 0) await control.del(found);
}

/** Waits while something that is wrong has its effect. */
async function passing(ms: number): Promise<void> {
  const until = performance.now() + ms;
  await waitFor(() => performance.now() > until);
}

/** For how long keys are of another type: claims, polls and deliveries meet them. */
const FOREIGN_MS = 400;

/** Puts values of another type in place of all keys of some kinds for a while, and deletes these. */
async function makeForeign(life: Life, classes: readonly string[]): Promise<void> {
  const found: string[] = classes.map((name) => `{${life.prefix}}:${name}`);
  for (const name of classes) found.push(...(await keysOf(life, name)));
  const multi = control.multi();
  for (const key of new Set(found)) {
    const isText = (await control.type(key)) === 'string';
    multi.del(key);
    if (isText) multi.lpush(key, 'foreign');
    else multi.set(key, 'foreign');
  }
  await multi.exec();
  await passing(FOREIGN_MS);
  await control.del(...found);
}

/** Breaks the daemon's connections, after which it compares all that it knows. */
async function reconnect(): Promise<void> {
  await control.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
}

interface Loss {
  reason: string;
  known: { events: number };
  found: { events: number };
  events_missing: number;
  deliveries_missing: number;
}

/** What `store.data_lost` has said of records that are missing; of a store that is another, what was known before. */
function lossesSaid(life: Life) {
  const said = life.daemon.lines.map((line) => JSON.parse(line) as Loss & { msg: string });
  const losses = said.filter(({ msg }) => msg === 'store.data_lost');
  const events = losses.map(({ reason, known, found, events_missing: missing }) =>
    reason === 'damaged' ? missing : Math.max(0, known.events - found.events),
  );
  const deliveries = losses.map(({ deliveries_missing: missing }) => missing);
  return { events: sum(events), deliveries: sum(deliveries) };
}

/** Where the store contradicts what was registered, but for records that are said to be lost. */
async function contradictions(life: Life): Promise<string[]> {
  const found: string[] = [];
  const { items, total } = await life.watches.list({}, { limit: 200 });
  if (total !== items.length) found.push(`${total} watches counted, ${items.length} listed`);
  let endless = 0;
  for (const { runId, state } of items) {
    if (state !== 'finished') found.push(`${runId} is ${state}`);
    const { items: told } = await life.events.list(
      { runs: [{ source: 'default', runId }] },
      { limit: 20 },
    );
    if (!told.some(({ event }) => event.type === 'run.completed')) endless += 1;
  }
  if (endless > lossesSaid(life).events) found.push(`${endless} runs have ended without an event`);
  const { planned, byState, byEndpoint } = await life.deliveries.counts();
  const counts = [...byEndpoint.values()].flatMap((one) => Object.values(one));
  if (counts.some((one) => one < 0)) found.push('a negative count');
  if (sum(Object.values(byState)) !== planned) found.push(`deliveries are not ${planned}`);
  if (byState.pending + byState.parked > 0) found.push(`${byState.pending} pending`);
  return found;
}

/** Ends that an endpoint has not heard of, where no loss was said that explains it. */
function missed(life: Life, ids: readonly string[]): string[] {
  const found = untold(ids);
  const { events, deliveries } = lossesSaid(life);
  return found.length <= events + deliveries ? [] : found;
}

test('docs/store.md explains each kind of keys', () => {
  expect(CLASSES.length).toBeGreaterThan(80);
  expect(classesOfPage().sort()).toEqual([...CLASSES].sort());
});

/** Loses keys under a load of runs and deliveries. Ends are delivered, or counted as lost, and nothing stands still. */
async function survive(prefix: string, act: (life: Life) => Promise<void>): Promise<void> {
  const life = await begin(prefix);
  down.add(prefix);
  const early = await register(life, 2);
  const running = await register(life, 3);
  await waitFor(async () => {
    const { items } = await life.watches.list({ status: ['running'] }, { limit: 10 });
    return items.length === 5;
  });
  end(early);
  await waitFor(() => early.every((id) => timesTold(id).hooks > 0));
  end(running.slice(0, 1));
  await act(life);
  end(running.slice(1, 2));
  await reconnect();
  down.delete(prefix);
  end(running.slice(2));
  const later = await register(life, 2);
  end(later);
  const all = [...early, ...running];
  await waitFor(() => untold(later).length === 0, {
    describe: () => `runs of after the loss to be told, not ${untold(later).join()}`,
  });
  await waitFor(() => missed(life, all).length === 0, {
    describe: () => `runs to be told or counted as lost, not ${missed(life, all).join()}`,
  });
  // Its comparisons may have met keys of another type the first time.
  await reconnect();
  let found: string[] = [];
  await waitFor(async () => (found = await contradictions(life)).length === 0, {
    describe: () => `the store of ${prefix} to be whole again: ${found.join('; ')}`,
  });
  await waitFor(async () => (await post(life, `/v1/batches/${BATCH}/close`, {})) === 200);
  await waitFor(
    async () => {
      const [stored] = await life.batches.named([{ sources: null, name: BATCH }]);
      return stored?.batch.state === 'completed';
    },
    { describe: () => `the batch of ${prefix} to complete` },
  );
}

test.each(ROUNDS.map((classes) => ({ classes, names: classes.join(', ') })))(
  'ends are delivered or counted as lost after these keys were deleted, or of another type: $names',
  async ({ classes }) => {
    const name = classes[0] ?? '';
    await Promise.all([
      survive(`${name}-deleted`, (life) => lose(life, classes)),
      survive(`${name}-foreign`, (life) => makeForeign(life, classes)),
    ]);
  },
);

/** For how long the daemon's user may not give a command; long enough for polls and retries to need it. */
const FORBIDDEN_MS = 120;

/** The commands that write of those that are needed, and those that run scripts and publish. */
async function writeCommands(): Promise<string[]> {
  const writing = new Set((await control.call('ACL', 'CAT', 'write')) as string[]);
  const needed = new Set(NEEDED.map(([name = '']) => name));
  return [...[...needed].filter((name) => writing.has(name)), 'evalsha', 'publish'];
}

test('every end is delivered after each command that writes was forbidden for a while', async () => {
  const life = await begin('forbidden');
  const commands = await writeCommands();
  expect(commands.length).toBeGreaterThan(30);
  const runs = await register(life, commands.length);
  for (const [at, command] of commands.entries()) {
    await control.call('ACL', 'SETUSER', 'default', `-${command}`);
    end(runs.slice(at, at + 1));
    await passing(FORBIDDEN_MS);
    await control.call('ACL', 'SETUSER', 'default', '+@all');
  }
  await waitFor(() => untold(runs).length === 0, {
    describe: () => `the ends of ${untold(runs).join()} to be told`,
  });
  let found: string[] = [];
  await waitFor(async () => (found = await contradictions(life)).length === 0, {
    describe: () => `the store to be whole: ${found.join('; ')}`,
  });
  expect(lossesSaid(life)).toEqual({ events: 0, deliveries: 0 });
});
