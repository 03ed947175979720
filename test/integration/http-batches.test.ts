import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { AlertRules } from '../../src/alert/rules.ts';
import { Batches } from '../../src/batches/batches.ts';
import { configSchema } from '../../src/config/schema.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { createServer, listen } from '../../src/http/server.ts';
import { Services } from '../../src/http/services.ts';
import { createTokens } from '../../src/http/tokens.ts';
import { NOON, observeContext, snapshot } from '../support/builders.ts';
import { callAs } from '../support/call-as.ts';
import { runCli, startCli } from '../support/cli-harness.ts';
import { testDaemon, testProcess } from '../support/daemon.ts';
import { delivererOf } from '../support/deliverer.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const ALL = 'token-of-all-sources';
const MINE = 'token-of-one-source';
const BOTH = 'token-of-two-sources';
const THREE = 'token-of-three-sources';
const OVERLAPPING = 'token-of-two-others-of-them';
const WRITER = 'token-that-may-only-write';

const config = configSchema.parse({
  data_dir: '/nowhere',
  sources: { default: { api_key: 'a' }, mine: { api_key: 'b' }, other: { api_key: 'c' } },
  endpoints: { ops: { type: 'log' } },
  auth: {
    tokens: [
      { name: 'all', token: ALL },
      { name: 'mine', token: MINE, sources: ['mine'] },
      { name: 'both', token: BOTH, sources: ['mine', 'default'] },
      { name: 'three', token: THREE, sources: ['other', 'mine', 'default'] },
      { name: 'overlapping', token: OVERLAPPING, sources: ['other', 'mine'] },
      { name: 'writer', token: WRITER, scopes: ['write'] },
    ],
  },
});
const stores = openStores(undefined, { isClockManual: true });
let now = NOON;
const daemon = testDaemon({
  config,
  stores,
  now: () => now,
  tokens: createTokens(config.auth.tokens),
  connections: { state: () => ({ kind: 'ok' }) },
  poller: {
    sourceOf: () => undefined,
    sources: [],
    overdue: () => [],
    discovery: { troubles: async () => [] },
  },
  eventLog: { trouble: () => null },
  alerting: { process: testProcess({ stores }), rules: new AlertRules(config) },
});
Object.assign(daemon.poller, { process: daemon });
const judge = new Batches(daemon);
const egressGuard = { check: () => ({ allowed: true }) };
const deliverer = Object.assign(delivererOf(daemon), { egressGuard });
Object.assign(daemon, { batches: judge, deliverer });
const server = createServer(daemon, new Services(daemon), new AbortController().signal);
let url: string;

beforeAll(async () => {
  url = await listen(server, { host: '127.0.0.1', port: 0 });
});
beforeEach(async () => {
  await stores.redis.del(...(await stores.keysLeft()), 'none');
  now = NOON;
  await stores.redis.set(stores.keys.clock, NOON);
});
afterAll(async () => {
  await server.close();
  await stores.close();
});

const call = (method: string, path: string, body?: unknown, token = ALL) =>
  callAs({ url }, token, method, path, body);
const registerAll = (runs: string[], more: object, token = ALL, source = 'default') => {
  const watches = runs.map((run_id) => ({ run_id, source }));
  return call('POST', '/v1/watches/batch', { watches, ...more }, token);
};
const stateOf = async (name: string, token = ALL) => {
  const { body } = await call('GET', `/v1/batches/${name}`, undefined, token);
  return body as Record<string, unknown>;
};

/** Deliveries of events of batches, the newest first. */
async function sentOf(): Promise<{ id: string; event_type: string; endpoint: string }[]> {
  const { body } = await call('GET', '/v1/deliveries');
  const all = body.data as { id: string; event_type: string; endpoint: string }[];
  return all.filter(({ event_type: type }) => type.startsWith('batch.'));
}

async function ends(runId: string, status: string, source = 'default'): Promise<void> {
  const before = (await stores.watches.get({ source, runId }))!;
  const run = snapshot({ id: runId, status });
  const { watch: after, events } = observe(before.watch, { kind: 'run', run }, observeContext(now));
  await stores.watches.commit({ before, after, events, deliveries: [] });
}

describe('batches of the API', () => {
  test('a list makes a batch and closes it; one that is left open is closed by a call', async () => {
    const replaced = jest.spyOn(stores.batches, 'replace');
    const { body } = await registerAll(['a', 'b'], { batch: 'nightly' });
    // The last of its runs has closed it.
    expect(replaced).not.toHaveBeenCalled();
    replaced.mockRestore();
    expect(body.results.map(({ status }: { status: number }) => status)).toEqual([201, 201]);
    expect(await stateOf('nightly')).toMatchObject({
      name: 'nightly',
      state: 'closed',
      closed_by: 'closed',
      total: 2,
      expected: null,
      by_status: { unseen: 2 },
      failed: [],
      endpoints: null,
      created_at: '2026-01-01T00:00:00.000Z',
    });
    await registerAll(['c'], { batch: 'hourly', open: true });
    await call('POST', '/v1/watches', { run_id: 'd', source: 'default', batch: 'hourly' });
    expect(await stateOf('hourly')).toMatchObject({ state: 'open', total: 2 });
    expect((await call('POST', '/v1/batches/hourly/close')).body).toMatchObject({
      state: 'closed',
    });
    await ends('c', 'completed');
    await ends('d', 'completed');
    await judge.judgeDue();
    expect((await call('POST', '/v1/batches/hourly/close')).body).toMatchObject({
      state: 'completed',
      completed_at: expect.any(String),
    });
    // Also a list of which all are members already.
    await registerAll(['e', 'f'], { batch: 'daily', open: true });
    await registerAll(['f', 'e'], { batch: 'daily' });
    expect(await stateOf('daily')).toMatchObject({ state: 'closed', total: 2 });
  });

  test('a closed batch refuses further runs by name, and takes its own members again', async () => {
    await registerAll(['a'], { batch: 'nightly' });
    const refused = await call('POST', '/v1/watches', {
      run_id: 'b',
      source: 'default',
      batch: 'nightly',
    });
    expect([refused.status, refused.body]).toMatchObject([
      409,
      { code: 'batch_closed', detail: expect.stringContaining('"nightly" is closed') },
    ]);
    expect((await call('GET', '/v1/watches/b')).status).toBe(404);
    const { body } = await registerAll(['a', 'b'], { batch: 'nightly' });
    expect(body.results).toMatchObject([
      { status: 200 },
      { run_id: 'b', status: 409, error: { code: 'batch_closed' } },
    ]);
  });

  test('a batch that has completed shows its counts, and its event is listed', async () => {
    await registerAll(['a', 'b'], { batch: 'nightly' });
    await ends('a', 'failed');
    await ends('b', 'completed');
    await judge.judgeDue();
    const batch = await stateOf('nightly');
    expect(batch).toMatchObject({
      state: 'completed',
      by_status: { failed: 1, completed: 1 },
      failed: ['a'],
      completed_at: '2026-01-01T00:00:00.000Z',
    });
    const { body } = await call('GET', '/v1/events');
    const events = body.data.filter(({ type }: { type: string }) => type === 'batch.completed');
    expect(events).toMatchObject([{ data: { batch: 'nightly', batch_id: batch['id'] } }]);
    expect(await stateOf(String(batch['id']))).toEqual(batch);
  });

  test('PUT sets up a batch before and after its runs, and takes back what it leaves out', async () => {
    const settings = { expected: 2, max_failed: 1, endpoints: ['ops'] };
    const made = await call('PUT', '/v1/batches/nightly', settings);
    expect([made.status, made.body]).toMatchObject([201, { ...settings, state: 'open', total: 0 }]);
    const changed = await call('PUT', '/v1/batches/nightly', { max_failed: 3 });
    expect([changed.status, changed.body]).toMatchObject([
      200,
      { expected: null, max_failed: 3, endpoints: null },
    ]);
    await registerAll(['a', 'b'], { batch: 'nightly', open: true });
    expect((await call('PUT', '/v1/batches/nightly', { expected: 2 })).body).toMatchObject({
      state: 'closed',
      closed_by: 'expected',
    });
    const late = await call('PUT', '/v1/batches/nightly', { expected: 3 });
    expect([late.status, late.body.code]).toEqual([409, 'batch_closed']);
  });

  test('webhooks of batches are listed with those of watches until the batch completes', async () => {
    const hook = { webhook: { url: 'https://example.com/of-both' } };
    const nightly = (await call('PUT', '/v1/batches/nightly', hook)).body;
    await call('PUT', '/v1/batches/mine', hook, MINE);
    await registerAll(['a'], { batch: 'hourly' });
    await call('POST', '/v1/watches', { run_id: 'b', source: 'default', ...hook });
    const listed = async (query = '', token = ALL) => {
      const { body } = await call('GET', `/v1/webhooks${query}`, undefined, token);
      return body.data;
    };
    const shown = { url: nightly.webhook, health: { state: 'active' } };
    expect(await listed()).toMatchObject([
      { ...shown, watches: 1, batches: 2, sources: ['default', 'mine'] },
    ]);
    const ofMine = [{ ...shown, watches: 0, batches: 1, registered_by: ['mine'] }];
    expect(await listed('', MINE)).toMatchObject(ofMine);
    expect(await listed('?token=mine')).toMatchObject(ofMine);
    expect(await listed('?source=mine')).toMatchObject(ofMine);
    expect(await listed('?source=other')).toEqual([]);
    await call('POST', '/v1/batches/nightly/close');
    await judge.judgeDue();
    expect(await stateOf('nightly')).toMatchObject({ state: 'completed' });
    await call('DELETE', '/v1/batches/mine', undefined, MINE);
    expect(await listed()).toMatchObject([{ watches: 1, batches: 0 }]);
    await call('PUT', '/v1/batches/other', hook);
    await call('PUT', '/v1/batches/other', {});
    expect(await listed()).toMatchObject([{ watches: 1, batches: 0 }]);
    expect(await stores.redis.exists(stores.keys.batchWebhooks)).toBe(0);
  });

  test('webhooks of a token end in batches too, which go on by their endpoints, or by what hears of their runs', async () => {
    const webhook = { url: 'https://example.com/ended' };
    await call('PUT', '/v1/batches/hooked', { webhook, max_failed: 0, expected: 2 });
    await call('PUT', '/v1/batches/both', { webhook, endpoints: ['ops'] });
    await call('PUT', '/v1/batches/of-mine', { webhook }, MINE);
    for (const runId of ['a', 'b']) {
      const about = { source: 'default', batch: 'hooked', endpoints: ['ops'] };
      await call('POST', '/v1/watches', { run_id: runId, ...about });
    }
    await ends('a', 'failed');
    await judge.judgeDue();
    const [failed] = await sentOf();
    expect(failed).toMatchObject({ event_type: 'batch.failed' });
    expect((await call('DELETE', '/v1/webhooks?source=other')).body).toEqual({ count: 0 });
    const ended = await call('DELETE', '/v1/webhooks?token=all');
    expect([ended.status, ended.body]).toEqual([200, { count: 2 }]);
    expect((await call('DELETE', '/v1/webhooks?token=all')).body).toEqual({ count: 0 });
    expect(await stateOf('hooked')).toMatchObject({
      webhook: null,
      endpoints: null,
      max_failed: 0,
      expected: 2,
    });
    expect(await stateOf('both')).toMatchObject({ webhook: null, endpoints: ['ops'] });
    expect((await stateOf('of-mine', MINE))['webhook']).not.toBeNull();
    // What was planned is still sent.
    const { delivery } = (await stores.deliveries.get(failed?.id ?? ''))!;
    expect(await deliverer.routes.routeOf(delivery)).not.toBeNull();
    await ends('b', 'completed');
    await judge.judgeDue();
    expect(await sentOf()).toMatchObject([
      { event_type: 'batch.completed', endpoint: 'ops' },
      { event_type: 'batch.failed' },
    ]);
  });

  test('a webhook that is replaced after batch.failed is still sent that', async () => {
    const webhookAt = (path: string) => ({ webhook: { url: `https://example.com/${path}` } });
    await call('PUT', '/v1/batches/nightly', { ...webhookAt('one'), max_failed: 0 });
    await registerAll(['a'], { batch: 'nightly', open: true });
    await ends('a', 'failed');
    await judge.judgeDue();
    const [failed] = await sentOf();
    await call('PUT', '/v1/batches/nightly', webhookAt('other'));
    const { delivery } = (await stores.deliveries.get(failed?.id ?? ''))!;
    expect(await deliverer.routes.routeOf(delivery)).not.toBeNull();
  });

  test('a webhook of a batch is masked, and the answer alone has the secret that signs for it', async () => {
    const webhook = { url: 'https://example.com/secret-path' };
    const { body, text } = await call('PUT', '/v1/batches/nightly', { webhook });
    expect(body.webhook_secret).toMatch(/^whsec_/);
    expect(text).not.toContain('secret-path');
    const shown = await stateOf('nightly');
    expect(shown['webhook']).toMatch(/^https:\/\/example\.com\/…#[0-9a-f]{6}$/);
    expect(shown).not.toHaveProperty('webhook_secret');
  });

  test.each([
    ['PUT', '/v1/batches/bat_1', {}, 'path.name'],
    ['PUT', '/v1/batches/nightly', { expected: 0 }, 'expected'],
    ['PUT', '/v1/batches/nightly', { max_failed: 1.5 }, 'max_failed'],
    ['PUT', '/v1/batches/nightly', { endpoints: ['away'] }, 'endpoints.0'],
    ['PUT', '/v1/batches/nightly', { closed: true }, 'closed'],
    ['POST', '/v1/watches', { run_id: 'a', source: 'default', batch: 'a b' }, 'batch'],
    ['GET', '/v1/watches?batch=unheard-of', undefined, 'query.batch'],
  ])('%s %s of %j is refused by the field', async (method, path, body, field) => {
    const answer = await call(method, path, body);
    expect(answer.status).toBe(422);
    expect(answer.body.errors[0].path).toBe(field);
  });

  test('a batch that is forgotten sends nothing, and leaves its runs watched', async () => {
    await registerAll(['a'], { batch: 'nightly' });
    expect((await call('DELETE', '/v1/batches/nightly')).status).toBe(204);
    expect((await call('GET', '/v1/batches/nightly')).status).toBe(404);
    expect((await call('DELETE', '/v1/batches/nightly')).status).toBe(404);
    await ends('a', 'completed');
    await judge.judgeDue();
    expect((await call('GET', '/v1/events?type=batch.*')).body.data).toEqual([]);
    expect((await call('GET', '/v1/watches/a')).body.state).toBe('finished');
  });

  test('a batch whose record is lost is not found any more, and its name is free', async () => {
    await registerAll(['a'], { batch: 'nightly' });
    const id = String((await stateOf('nightly'))['id']);
    await stores.redis.del(stores.keys.batch(id));
    for (const meant of ['nightly', id]) {
      for (const method of ['GET', 'DELETE']) {
        expect((await call(method, `/v1/batches/${meant}`)).status).toBe(404);
      }
      expect((await call('POST', `/v1/batches/${meant}/close`)).status).toBe(404);
      expect((await call('GET', `/v1/watches?batch=${meant}`)).status).toBe(422);
    }
    await ends('a', 'completed');
    await judge.judgeDue();
    expect((await call('GET', '/v1/events?type=batch.*')).body.data).toEqual([]);
    expect((await call('GET', '/v1/watches/a')).body).toMatchObject({
      state: 'finished',
      batches: [],
    });
    expect((await registerAll(['a', 'b'], { batch: 'nightly' })).status).toBe(200);
    expect(await stateOf('nightly')).toMatchObject({ state: 'closed', total: 2 });
  });

  test('batches are listed newest first, page by page, by state', async () => {
    for (const name of ['one', 'two', 'three']) {
      await registerAll([name], { batch: name, open: name === 'two' });
      now += 1;
    }
    const names = (body: { data: { name: string }[] }) => body.data.map(({ name }) => name);
    const first = (await call('GET', '/v1/batches?limit=2')).body;
    expect(names(first)).toEqual(['three', 'two']);
    const next = (await call('GET', `/v1/batches?limit=2&cursor=${first.next_cursor}`)).body;
    expect([names(next), next.next_cursor]).toEqual([['one'], null]);
    expect(names((await call('GET', '/v1/batches?state=open')).body)).toEqual(['two']);
    expect((await call('GET', '/v1/batches?cursor=x')).status).toBe(422);
  });

  test('a batch that is left open stands in attention, until it is closed', async () => {
    await registerAll(['a'], { batch: 'nightly', open: true });
    await ends('a', 'completed');
    const attention = async (token = ALL) =>
      (await call('GET', '/v1/attention', undefined, token)).body.data;
    expect(await attention()).toEqual([]);
    now += 600_000;
    expect(await attention()).toMatchObject([{ kind: 'batch', batch: 'nightly', count: 1 }]);
    expect(await attention(MINE)).toEqual([]);
    await call('POST', '/v1/batches/nightly/close');
    expect(await attention()).toEqual([]);
  });

  test('a watch that is shown alone names its batches, each name once, without those that were forgotten', async () => {
    await registerAll(['a'], { batch: 'nightly' });
    await ends('a', 'completed');
    await judge.judgeDue();
    await registerAll(['c'], { batch: 'nightly', open: true });
    for (const batch of ['nightly', 'weekly', 'wrong']) await registerAll(['a'], { batch });
    expect(await stateOf('nightly')).toMatchObject({ total: 2 });
    await call('DELETE', '/v1/batches/wrong');
    await registerAll(['b'], {});
    const batchesOf = async (run: string) => (await call('GET', `/v1/watches/${run}`)).body.batches;
    expect(await batchesOf('a')).toEqual(['nightly', 'weekly']);
    expect(await batchesOf('b')).toEqual([]);
    const listed = (await call('GET', '/v1/watches')).body.data;
    expect(listed.map((watch: object) => 'batches' in watch)).toEqual([false, false, false]);
  });

  test('a token that may only write gets a receipt', async () => {
    const made = await call('PUT', '/v1/batches/nightly', { expected: 2 }, WRITER);
    expect([made.status, Object.keys(made.body)]).toEqual([201, ['id', 'name']]);
    const closed = await call('POST', '/v1/batches/nightly/close', undefined, WRITER);
    expect(Object.keys(closed.body)).toEqual(['id', 'name']);
    expect((await call('GET', '/v1/batches/nightly', undefined, WRITER)).status).toBe(403);
  });
});

describe('batches at the command line', () => {
  const env = () => ({ RUNWATCH_URL: url, RUNWATCH_API_TOKEN: ALL });
  const cli = (args: string) => runCli(args.split(' '), { env: env(), now: () => now });

  test('batches and list --batch show a batch, and wait --batch exits by its runs', async () => {
    await registerAll(['a', 'b'], { batch: 'nightly' });
    await registerAll(['c'], { batch: 'hourly', open: true });
    await ends('a', 'failed');
    await ends('b', 'completed');
    await ends('c', 'completed');
    const listed = JSON.parse((await cli('batches --state open --json')).stdout);
    expect(listed.data).toMatchObject([{ name: 'hourly', state: 'open', total: 1 }]);
    expect((await cli('batches')).stdout).toMatch(/nightly +closed +2 +1 +1/);
    const runs = JSON.parse((await cli('list --batch nightly --json')).stdout);
    expect(runs.data).toHaveLength(2);
    const waited = await cli('wait --batch nightly');
    expect([waited.exitCode, waited.stdout.split('\n').sort().join(' ')]).toEqual([
      1,
      ' a failed b completed',
    ]);
    expect((await cli('wait --batch hourly --any')).exitCode).toBe(0);
  });

  test('wait --batch waits for runs that join later, until the batch is closed', async () => {
    await registerAll(['a'], { batch: 'nightly', open: true });
    await ends('a', 'completed');
    const wait = startCli(['wait', '--batch', 'nightly', '--json'], { env: env() });
    await waitFor(() => wait.stderr().includes('nightly is open (1 run so far)'), {
      describe: 'the note that the batch is open',
    });
    await call('POST', '/v1/watches', { run_id: 'b', source: 'default', batch: 'nightly' });
    await ends('b', 'failed');
    await call('POST', '/v1/batches/nightly/close');
    expect(await wait.exitCode).toBe(1);
    expect(JSON.parse(wait.stdout())).toMatchObject({
      exit_code: 1,
      batch: { name: 'nightly', state: expect.stringMatching(/closed|completed/) },
      results: [
        { run_id: 'a', result: 'completed' },
        { run_id: 'b', result: 'failed' },
      ],
    });
    expect(wait.stderr().match(/is open/g)).toHaveLength(1);
  });

  test('wait --batch waits for the first run to join, and says so', async () => {
    await call('PUT', '/v1/batches/nightly', {});
    const wait = startCli(['wait', '--batch', 'nightly'], { env: env() });
    await waitFor(() => wait.stderr().includes('nightly is open (no run so far)'), {
      describe: 'the note that the batch is open',
    });
    await registerAll(['a'], { batch: 'nightly' });
    await ends('a', 'stopped');
    expect([await wait.exitCode, wait.stdout()]).toEqual([3, 'a stopped\n']);
  });

  test('wait --batch ends with --timeout while the batch is open, and exits by its counts once its runs are forgotten', async () => {
    await registerAll(['a'], { batch: 'nightly', open: true });
    await ends('a', 'completed');
    expect((await cli('wait --batch nightly --timeout 1s')).exitCode).toBe(124);
    await registerAll(['b'], { batch: 'nightly' });
    await ends('b', 'failed');
    await judge.judgeDue();
    for (const runId of ['a', 'b']) {
      expect(await stores.retention.forget({ source: 'default', runId })).toBe('forgotten');
    }
    const { exitCode, stdout, stderr } = await cli('wait --batch nightly');
    expect([exitCode, stdout, stderr]).toEqual([
      1,
      '',
      'The runs of nightly are forgotten; of 2, 1 completed, 1 failed, 0 stopped.\n',
    ]);
    await call('PUT', '/v1/batches/none', {});
    await call('POST', '/v1/batches/none/close');
    await judge.judgeDue();
    const none = await cli('wait --batch none');
    expect([none.exitCode, none.stderr]).toEqual([
      2,
      expect.stringContaining('no run has joined the batch "none", and none can any more'),
    ]);
  });

  test.each([
    ['failed', 1],
    ['stopped', 3],
  ])('wait --batch counts a run that %s and is forgotten', async (status, exitCode) => {
    await registerAll(['a', 'b'], { batch: 'nightly' });
    await ends('a', 'completed');
    await ends('b', status);
    await judge.judgeDue();
    const forgotten = await stores.retention.forget({ source: 'default', runId: 'b' });
    expect(forgotten).toBe('forgotten');
    const waited = await cli('wait --batch nightly');
    expect([waited.exitCode, waited.stdout]).toEqual([exitCode, 'a completed\n']);
    expect(waited.stderr).toContain('Some runs of nightly are forgotten; of 2, 1 completed, ');
    expect((await cli('wait --batch nightly --source default')).exitCode).toBe(0);
  });

  test('wait --batch --any ends with a run that joins later and ends first', async () => {
    await registerAll(['a'], { batch: 'nightly', open: true });
    const wait = startCli(['wait', '--batch', 'nightly', '--any'], { env: env() });
    await waitFor(() => wait.stderr().includes('a not seen yet'), { describe: 'the read of a' });
    await registerAll(['b'], { batch: 'nightly', open: true });
    await ends('b', 'failed');
    await waitFor(() => wait.stdout() !== '', { describe: 'the result of b' });
    expect([await wait.exitCode, wait.stdout()]).toEqual([1, 'b failed\n']);
  });

  test('wait --batch --any with --timeout exits 124 while no run has ended', async () => {
    await registerAll(['a'], { batch: 'nightly', open: true });
    const waited = await cli('wait --batch nightly --any --timeout 2500ms');
    expect([waited.exitCode, waited.stdout]).toEqual([
      124,
      'a timed_out (the time for waiting is up)\n',
    ]);
  });

  test('wait --batch exits 5 where the batch is deleted meanwhile', async () => {
    await call('PUT', '/v1/batches/nightly', {});
    const { id } = await stateOf('nightly');
    const wait = startCli(['wait', '--batch', 'nightly'], { env: env() });
    await waitFor(() => wait.stderr().includes('is open'), { describe: 'the note' });
    await call('DELETE', '/v1/batches/nightly');
    expect([await wait.exitCode, wait.stderr()]).toEqual([
      5,
      expect.stringContaining(`there is no batch "${String(id)}"`),
    ]);
  });

  test('wait --batch exits 5 where the record of the batch is lost meanwhile', async () => {
    await call('PUT', '/v1/batches/nightly', {});
    const { id } = await stateOf('nightly');
    const wait = startCli(['wait', '--batch', 'nightly'], { env: env() });
    await waitFor(() => wait.stderr().includes('is open'), { describe: 'the note' });
    await stores.redis.del(stores.keys.batch(String(id)));
    expect([await wait.exitCode, wait.stderr()]).toEqual([
      5,
      expect.stringContaining(`there is no batch "${String(id)}"`),
    ]);
    expect((await call('PUT', '/v1/batches/nightly', {})).status).toBe(201);
  });

  test('wait --batch takes an unwatched and an expired run as ended, and registers neither', async () => {
    await registerAll(['a', 'b'], { batch: 'nightly', open: true });
    await call('POST', '/v1/watches', {
      run_id: 'c',
      source: 'default',
      batch: 'nightly',
      timeout: '10m',
    });
    await call('POST', '/v1/batches/nightly/close');
    await ends('a', 'completed');
    await call('DELETE', '/v1/watches/b');
    now += 3_600_000;
    await stores.redis.set(stores.keys.clock, now);
    await ends('c', 'running');
    await judge.judgeDue();
    const counts = { completed: 1, cancelled: 1, expired: 1 };
    expect(await stateOf('nightly')).toMatchObject({ state: 'completed', by_status: counts });
    const waited = await cli('wait --batch nightly --timeout 10s');
    expect([waited.exitCode, waited.stdout.trimEnd().split('\n').sort()]).toEqual([
      5,
      ['a completed', 'b cannot_tell (its watch was cancelled)', 'c timed_out (its watch expired)'],
    ]);
    const { data } = (await call('GET', '/v1/watches')).body;
    const states = data.map((watch: { run_id: string; state: string }) => [
      watch.run_id,
      watch.state,
    ]);
    expect(Object.fromEntries(states)).toEqual({ a: 'finished', b: 'cancelled', c: 'expired' });
  });

  test('show names the batches of a run, if it is in any', async () => {
    await registerAll(['a'], { batch: 'nightly' });
    await registerAll(['a'], { batch: 'weekly' });
    await registerAll(['b'], {});
    expect((await cli('show a')).stdout).toMatch(/^ *batches +nightly, weekly$/m);
    expect((await cli('show b')).stdout).not.toContain('batches');
  });

  test.each([
    ['watch a --open', '--open needs --batch'],
    ['wait a --batch nightly', '--batch names the runs'],
    ['wait --batch unheard-of', 'there is no batch "unheard-of"'],
  ])('%s says what is wrong', async (args, why) => {
    const { exitCode, stderr } = await cli(args);
    expect([exitCode > 0, stderr]).toEqual([true, expect.stringContaining(why)]);
  });
});

describe('batches of tokens that are limited to sources', () => {
  test('one name is another batch for each, and none shows that of another', async () => {
    await registerAll(['a'], { batch: 'nightly' });
    const mine = await registerAll(['b'], { batch: 'nightly', open: true }, MINE, 'mine');
    expect(mine.body.results[0].status).toBe(201);
    expect(await stateOf('nightly')).toMatchObject({ sources: null, state: 'closed', total: 1 });
    expect(await stateOf('nightly', MINE)).toMatchObject({ sources: ['mine'], state: 'open' });
    const theirs = String((await stateOf('nightly'))['id']);
    for (const path of [`/v1/batches/${theirs}`, `/v1/batches/${theirs}/close`]) {
      const method = path.endsWith('close') ? 'POST' : 'GET';
      expect((await call(method, path, undefined, MINE)).status).toBe(404);
    }
    expect((await call('DELETE', `/v1/batches/${theirs}`, undefined, MINE)).status).toBe(404);
    expect((await call('GET', `/v1/watches?batch=${theirs}`, undefined, MINE)).status).toBe(422);
    await registerAll(['b'], { batch: 'of-all' }, ALL, 'mine');
    const batchesFor = async (token: string) =>
      (await call('GET', '/v1/watches/b', undefined, token)).body.batches;
    expect([await batchesFor(ALL), await batchesFor(MINE)]).toEqual([
      ['nightly', 'of-all'],
      ['nightly'],
    ]);
    await call('DELETE', '/v1/batches/of-all');
    const listed = (await call('GET', '/v1/batches', undefined, MINE)).body.data;
    expect(listed.map(({ sources }: { sources: string[] }) => sources)).toEqual([['mine']]);
    const all = (await call('GET', '/v1/batches')).body.data;
    expect(all).toHaveLength(2);
  });

  test('a token of all sources finds by name what one limited token has, and by id where several have it', async () => {
    await registerAll(['a'], { batch: 'nightly' }, MINE, 'mine');
    expect(await stateOf('nightly')).toMatchObject({ sources: ['mine'] });
    expect(await stateOf('nightly', BOTH)).toMatchObject({ sources: ['mine'] });
    await registerAll(['c'], { batch: 'of-both' }, BOTH, 'default');
    expect(await stateOf('of-both', THREE)).toMatchObject({ sources: ['default', 'mine'] });
    expect((await call('GET', '/v1/batches/of-both', undefined, MINE)).status).toBe(404);
    await registerAll(['b'], { batch: 'nightly' }, BOTH, 'default');
    const { status, body } = await call('GET', '/v1/batches/nightly');
    expect([status, body.code]).toEqual([409, 'several_batches']);
    const [id = ''] = /bat_[0-9a-z]+/.exec(body.detail) ?? [];
    expect(await stateOf(id)).toMatchObject({ id });
  });

  test('the event of a batch is for tokens of all of its sources', async () => {
    await registerAll(['a'], { batch: 'of-mine' }, MINE, 'mine');
    await registerAll(['b'], { batch: 'of-both' }, BOTH, 'default');
    await registerAll(['c'], { batch: 'of-all' });
    await ends('a', 'completed', 'mine');
    await ends('b', 'completed');
    await ends('c', 'completed');
    await judge.judgeDue();
    const heard = async (token: string) => {
      const { body } = await call('GET', '/v1/events?type=batch.*', undefined, token);
      return body.data.map(({ data }: { data: { batch: string } }) => data.batch).sort();
    };
    expect(await heard(MINE)).toEqual(['of-mine']);
    expect(await heard(BOTH)).toEqual(['of-both', 'of-mine']);
    expect(await heard(THREE)).toEqual(['of-both', 'of-mine']);
    expect(await heard(OVERLAPPING)).toEqual(['of-mine']);
    expect(await heard(ALL)).toEqual(['of-all', 'of-both', 'of-mine']);
  });

  test('the deliveries of a batch are for tokens of all of its sources, to see and to send again', async () => {
    await call('PUT', '/v1/batches/nightly', { endpoints: ['ops'] }, BOTH);
    await registerAll(['a'], { batch: 'nightly' }, BOTH, 'default');
    await ends('a', 'completed');
    await judge.judgeDue();
    const deliveriesFor = async (token: string, query = '') => {
      const { body } = await call('GET', `/v1/deliveries${query}`, undefined, token);
      return { ids: body.data.map(({ id }: { id: string }) => id), total: body.total };
    };
    const { ids } = await deliveriesFor(ALL);
    const [id = ''] = ids;
    const { body: shown } = await call('GET', `/v1/deliveries/${id}`);
    const ofEvent = `?event_id=${shown.event_id}`;
    expect(shown).toMatchObject({ batch: 'nightly', batch_id: (await stateOf('nightly'))['id'] });
    const answers = async (token: string) => {
      const one = await call('GET', `/v1/deliveries/${id}`, undefined, token);
      const again = await call('POST', `/v1/deliveries/${id}/redeliver`, {}, token);
      return [
        await deliveriesFor(token),
        await deliveriesFor(token, ofEvent),
        one.status,
        again.status,
      ];
    };
    const [all, none] = [
      { ids: [id], total: 1 },
      { ids: [], total: 0 },
    ];
    for (const token of [BOTH, THREE]) {
      expect([token, ...(await answers(token))]).toEqual([token, all, all, 200, 202]);
    }
    for (const token of [MINE, OVERLAPPING]) {
      expect([token, ...(await answers(token))]).toEqual([token, none, none, 404, 404]);
    }
  });
});
