import { afterAll, describe, expect, test } from '@jest/globals';
import { AlertRules } from '../../src/alert/rules.ts';
import { configSchema } from '../../src/config/schema.ts';
import type { ClosedSource } from '../../src/core/source/throttle.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { WatchService, type WatchName } from '../../src/http/watches.ts';
import { createEndpointGuard } from '../../src/deliver/egress/egress-guard.ts';
import { newDelivery } from '../../src/core/delivery/delivery.ts';
import { observe } from '../../src/core/watch/observe.ts';
import {
  A_USER,
  newWatch,
  NOON,
  observeContext,
  snapshot,
  webhookTo,
} from '../support/builders.ts';
import { testDaemon, testProcess, testSource, type GivenDaemon } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
afterAll(() => stores.close());

const settings = {
  data_dir: '/nowhere',
  watches: { timeout: '1m' },
  sources: { default: { api_key: 'a' }, staging: { api_key: 'b' }, empty: { api_key: 'c' } },
  endpoints: { ops: { type: 'webhook', url: 'https://example.com/ops', default: true } },
};
const config = configSchema.parse(settings);

const openService = ({ poller, ...changes }: GivenDaemon = {}) => {
  const daemon = testDaemon({
    config,
    stores,
    now: () => NOON,
    deliverer: { egressGuard: createEndpointGuard() },
    poller: { sourceOf: () => undefined, ...poller },
    alerting: { process: testProcess({ stores }), rules: new AlertRules(config) },
    ...changes,
  });
  Object.assign(daemon.poller, { process: daemon });
  return new WatchService(daemon);
};

const service = openService();

async function store(changes: Partial<Watch>): Promise<void> {
  const after = newWatch(changes);
  await stores.watches.commit({ before: null, after, events: [], deliveries: [] });
}

describe('a watch that is named without a source', () => {
  test('a watch named without a source is found in the only source that has it', async () => {
    await store({ source: 'staging', runId: 'one' });
    expect(await service.get({ runId: 'one' })).toMatchObject({ source: 'staging' });
    expect(await service.pollNow({ runId: 'one' })).toEqual({ closed: null });
    expect(await service.unwatch({ runId: 'one' })).toBe('done');
    expect(await service.get({ runId: 'one' })).toMatchObject({ state: 'cancelled' });
    expect(await service.get({ runId: 'none' })).toBeNull();
    expect(await service.unwatch({ runId: 'none' })).toBe('not_found');
  });

  test('a watch named without a source that several sources have is a conflict that names them', async () => {
    await store({ source: 'default', runId: 'both' });
    await store({ source: 'staging', runId: 'both' });
    const calls = [
      (name: WatchName) => service.get(name),
      (name: WatchName) => service.pollNow(name),
      (name: WatchName) => service.unwatch(name),
    ];
    for (const call of calls) {
      await expect(call({ runId: 'both' })).rejects.toMatchObject({
        code: 'several_sources',
        message: expect.stringContaining('default, staging;'),
      });
    }
    expect(await service.get({ runId: 'both', sources: ['staging'] })).toMatchObject({
      source: 'staging',
    });
  });

  test('a watch of an unconfigured source is found by the name of that source', async () => {
    await store({ source: 'removed', runId: 'old' });
    expect(await service.get({ runId: 'old' })).toBeNull();
    expect(await service.unwatch({ runId: 'old', sources: ['removed'] })).toBe('done');
  });
});

describe('registering', () => {
  const by = { token: null, mostWatches: null };

  test('the UUID of a Noxus run is kept in lower case, whatever case it is given in', async () => {
    const uuid = '3F1C9A52-7D7E-4A8E-9B53-0C1D2E3F4A5B';
    const [result] = await service.register([{ runId: uuid }], by);
    expect(result).toMatchObject({ kind: 'created', watch: { runId: uuid.toLowerCase() } });
    expect(await service.get({ runId: uuid })).toMatchObject({ runId: uuid.toLowerCase() });
  });

  test('a registration that several sources can have, none the default, names them', async () => {
    const { staging, empty } = settings.sources;
    const several = openService({
      config: configSchema.parse({ ...settings, sources: { staging, empty } }),
    });
    const results = await several.register([{ runId: 'r' }, { runId: 'r', source: 'empty' }], by);
    expect(results).toEqual([
      { kind: 'several_sources', sources: ['staging', 'empty'] },
      expect.objectContaining({ kind: 'created' }),
    ]);
    const [ofOne] = await several.register([{ runId: 'r2' }], { ...by, sources: ['staging'] });
    expect(ofOne).toMatchObject({ kind: 'created', watch: { source: 'staging' } });
  });

  test('a registration says what ids of its sources look like, where none can have its own', async () => {
    const [result] = await service.register([{ runId: 'a/b' }], by);
    const message = expect.stringMatching(/^expected 1 to 128 of/);
    expect(result).toEqual({ kind: 'invalid', issues: [{ path: 'run_id', message }] });
    await expect(service.get({ runId: 'a/b' })).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('a 51st webhook of a watch is refused without affecting other requests', async () => {
    const urls = Array.from({ length: 52 }, (_, at) => `https://example.com/${at}`);
    const results = await service.register(
      [...urls.map((url) => ({ runId: 'crowded', webhook: { url } })), { runId: 'other' }],
      { token: null, mostWatches: null },
    );
    const refused = results.flatMap((result, at) => (result.kind === 'invalid' ? [at] : []));
    expect(refused).toEqual([50, 51]);
    expect(results[51]).toEqual({
      kind: 'invalid',
      issues: [{ path: 'webhook', message: expect.stringContaining('up to 50 webhooks') }],
    });
    expect(results[52]).toMatchObject({ kind: 'created', watch: { runId: 'other' } });
    expect((await service.get({ runId: 'crowded' }))?.subscriptions).toHaveLength(50);
  });
});

describe('ending one subscription', () => {
  const url = 'https://example.com/hooks/secret';
  const webhook = webhookTo(url);
  const masked = webhook.receiver.slice(0, 'https://example.com/…#123456'.length);

  test.each([
    ['an endpoint by its name', 'ops', [webhook.receiver]],
    ['a webhook by its URL', url, ['ops']],
    ['a webhook by its masked URL', masked, ['ops']],
  ])('ending a subscription takes %s and keeps the others', async (what, asked, left) => {
    const subscriptions = [{ kind: 'endpoint' as const, endpoint: 'ops' }, webhook];
    await store({ runId: what.replaceAll(' ', '-'), subscriptions });
    const name = { runId: what.replaceAll(' ', '-') };
    expect(await service.unwatch(name, 'audit')).toBe('not_subscribed');
    expect(await service.unwatch(name, asked)).toBe('done');
    const watch = await service.get(name);
    expect(watch?.state).toBe('active');
    const receivers = watch?.subscriptions.map((one) =>
      one.kind === 'endpoint' ? one.endpoint : one.receiver,
    );
    expect(receivers).toEqual(left);
  });

  test('ending a subscription of an ended watch changes nothing', async () => {
    const subscriptions = [{ kind: 'endpoint' as const, endpoint: 'ops' }];
    await store({ runId: 'ended', state: 'finished', endedAt: NOON, subscriptions });
    expect(await service.unwatch({ runId: 'ended' }, 'ops')).toBe('done');
    expect(await service.get({ runId: 'ended' })).toMatchObject({
      state: 'finished',
      subscriptions,
    });
  });
});

test('the next poll of a watch is not before its paused source is tried again', async () => {
  await store({ source: 'default', runId: 'paused' });
  const probeAt = NOON + 600_000;
  const closed: ClosedSource = {
    reason: 'rate_limited',
    message: 'status 429',
    at: NOON,
    probeAt,
    failedProbes: 0,
  };
  const state = { since: NOON, row: [], closed, said: [], unsaid: [] };
  const record = { state, text: '', access: null, answeredAt: null, answeredBy: null };
  const throttle = { read: async () => ({ ...record, openSince: null }) };
  const requests: NonNullable<GivenDaemon['stores']>['requests'] = {
    dueTimes: async (_source, runIds) => runIds.map(() => NOON - 5_000),
  };
  const paused = openService({
    stores: { ...stores, requests },
    poller: { sourceOf: () => testSource({ throttle }) },
  });
  expect(await paused.get({ runId: 'paused' })).toMatchObject({ nextPollAt: probeAt });
  const { items } = await paused.list({ sources: ['default'], limit: 200 });
  expect(items.find(({ runId }) => runId === 'paused')).toMatchObject({ nextPollAt: probeAt });
});

describe('acknowledging a run', () => {
  test('an acknowledgement is kept until it expires or is taken back', async () => {
    let now = NOON;
    const timed = openService({ now: () => now });
    await store({ runId: 'ack', registeredAt: NOON });
    const until = { at: NOON + 1_000 };
    const asked = { by: 'ana', comment: 'mine', until };
    const shown = { acknowledged: { by: 'ana', comment: 'mine', at: NOON, until: until.at } };
    expect(await timed.acknowledge({ runId: 'ack' }, asked, A_USER)).toMatchObject(shown);
    now += 500;
    expect(await timed.acknowledge({ runId: 'ack' }, asked, A_USER)).toMatchObject(shown);
    now += 500;
    expect(await timed.get({ runId: 'ack' })).toMatchObject({ acknowledged: null });
    expect(await timed.acknowledge({ runId: 'ack' }, asked, A_USER)).toBe('past');
    expect(await timed.acknowledge({ runId: 'ack' }, { by: 'bob' }, A_USER)).toMatchObject({
      acknowledged: { by: 'bob', comment: null, at: NOON + 1_000, until: null },
    });
    expect(await timed.withdraw({ runId: 'ack' }, A_USER)).toBe(true);
    expect(await timed.withdraw({ runId: 'ack' }, A_USER)).toBe(true);
    expect(await timed.get({ runId: 'ack' })).toMatchObject({ acknowledged: null });
    expect(await timed.withdraw({ runId: 'nothing' }, A_USER)).toBe(false);
  });

  test('a run with a packed watch can be acknowledged', async () => {
    await store({ runId: 'packed-ack', state: 'finished', endedAt: NOON });
    const key = { source: 'default', runId: 'packed-ack' };
    expect(await stores.history.pack(key)).toBe('packed');
    await service.acknowledge(key, { by: 'ana' }, A_USER);
    expect(await stores.watches.get(key)).toMatchObject({
      isPacked: true,
      watch: { acknowledged: { by: 'ana' } },
    });
  });
});

describe('the timeline of a run', () => {
  test('the timeline of a run with very many events has the newest, and says that it is cut', async () => {
    const key = { source: 'default', runId: 'talkative' };
    await store(key);
    for (let poll = 1; poll <= 300; poll += 1) {
      const before = (await stores.watches.get(key))!;
      const run = snapshot({ status: 'running', progress: poll / 3 });
      const { watch: after, events } = observe(
        before.watch,
        { kind: 'run', run },
        observeContext(NOON + poll),
      );
      const deliveries = events.map((event) => newDelivery(after, event, 'ops', NOON + poll));
      await stores.watches.commit({ before, after, events, deliveries });
    }
    const timeline = (await service.timeline(key, null))!;
    expect(timeline.isCut).toBe(true);
    expect(timeline.polls).toHaveLength(60);
    const sequences = timeline.events.map(({ event }) => event.data.sequence);
    expect(sequences).toHaveLength(200);
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
    expect(timeline.deliveries).toHaveLength(200);
    expect(timeline.deliveries.at(-1)?.delivery.eventId).toBe(timeline.events.at(-1)?.event.id);
    expect(await service.timeline({ runId: 'nothing' }, null)).toBeNull();
  });
});

test('statuses and workflows are known within sources, and sources by watches', async () => {
  const run = snapshot({ status: 'dreaming', workflow_id: 'workflow-of-staging' });
  await store({ source: 'staging', runId: 'dreaming-1', run });
  for (const sources of [undefined, ['staging'], ['default', 'staging']]) {
    expect(await service.hasStatus('dreaming', sources)).toBe(true);
    expect(await service.hasWorkflow('workflow-of-staging', sources)).toBe(true);
  }
  expect(await service.hasStatus('dreaming', ['default'])).toBe(false);
  expect(await service.hasWorkflow('workflow-of-staging', ['default'])).toBe(false);
  const workflows = { configured: {} };
  const configured = openService({ config: configSchema.parse({ ...settings, workflows }) });
  expect(await configured.hasWorkflow('configured', ['default'])).toBe(true);
  // One that is configured no more may have a watch.
  await store({ source: 'removed', runId: 'removed-1', run });
  for (const source of ['empty', 'removed']) await service.refuseUnknownSource(source, null);
  await expect(service.refuseUnknownSource('stagign', null)).rejects.toMatchObject({
    message: expect.stringMatching(/"stagign"; expected one of: default, staging, empty$/),
  });
});

test('workflows are known from the first poll of a run of theirs on', async () => {
  await store({ runId: 'of-a-workflow', run: snapshot({ workflow_id: 'workflow-of-one-run' }) });
  expect(await service.someWorkflows()).toContain('workflow-of-one-run');
});

describe('the tokens of watches', () => {
  const by = (token: string, mostWatches: number | null = null) => ({ token, mostWatches });
  const url = 'https://example.com/hooks/of-two-tokens';

  test('a watch and its webhooks name the tokens that registered them, also again', async () => {
    await service.register([{ runId: 'named', webhook: { url } }], by('ci'));
    await service.register([{ runId: 'named' }], by('ops'));
    await service.register([{ runId: 'named', webhook: { url } }], by('ana'));
    const watch = await service.get({ runId: 'named' });
    expect(watch?.registeredBy).toEqual(['ci', 'ops', 'ana']);
    expect(watch?.subscriptions).toMatchObject([
      { kind: 'webhook', registeredBy: ['ci', 'ana'] },
      { kind: 'endpoint' },
    ]);
  });

  test('a watch that begins again names the tokens of its new registrations', async () => {
    await service.register([{ runId: 'again' }], by('ci'));
    await service.unwatch({ runId: 'again' });
    await service.register([{ runId: 'again' }], by('ops'));
    expect((await service.get({ runId: 'again' }))?.registeredBy).toEqual(['ops']);
  });

  test('a token registers as many active watches as it may, however many requests come at once', async () => {
    const requests = Array.from({ length: 40 }, (_, at) => ({ runId: `limited-${at}` }));
    const results = await Promise.all(
      requests.map(async (request) => (await service.register([request], by('few', 7)))[0]),
    );
    const kinds = results.map((result) => result?.kind);
    expect(kinds.filter((kind) => kind === 'created')).toHaveLength(7);
    expect(kinds.filter((kind) => kind === 'too_many_watches')).toHaveLength(33);
    const known = await Promise.all(requests.map(({ runId }) => service.get({ runId })));
    expect(known.filter((watch) => watch !== null)).toHaveLength(7);
  });

  test('a token at its limit registers its own watches again, and another once one has ended', async () => {
    const few = by('two', 2);
    const batch = ['mine-1', 'mine-2', 'mine-3'].map((runId) => ({ runId }));
    const kinds = async () => (await service.register(batch, few)).map(({ kind }) => kind);
    expect(await kinds()).toEqual(['created', 'created', 'too_many_watches']);
    expect(await kinds()).toEqual(['merged', 'merged', 'too_many_watches']);
    await service.unwatch({ runId: 'mine-1' });
    expect((await service.register([{ runId: 'mine-3' }], few))[0]?.kind).toBe('created');
    expect((await service.register([{ runId: 'mine-1' }], few))[0]?.kind).toBe('too_many_watches');
    expect((await service.register([{ runId: 'mine-1' }], by('ops')))[0]?.kind).toBe('created');
    expect((await service.get({ runId: 'mine-1' }))?.registeredBy).toEqual(['ops']);
  });

  test('a watch of another token counts for a token that registers it too', async () => {
    await service.register([{ runId: 'shared' }], by('ops'));
    const results = await service.register([{ runId: 'shared' }, { runId: 'own' }], by('one', 1));
    expect(results.map(({ kind }) => kind)).toEqual(['merged', 'too_many_watches']);
  });

  test('a watch that ended and was packed counts for no token until it begins again', async () => {
    await service.register([{ runId: 'packed' }], by('pack', 1));
    await service.unwatch({ runId: 'packed' });
    expect(await stores.history.pack({ source: 'default', runId: 'packed' })).toBe('packed');
    expect((await service.register([{ runId: 'beside-packed' }], by('pack', 1)))[0]?.kind).toBe(
      'created',
    );
    const [again] = await service.register([{ runId: 'packed' }], by('pack', 1));
    expect(again?.kind).toBe('too_many_watches');
    await service.unwatch({ runId: 'beside-packed' });
    expect((await service.register([{ runId: 'packed' }], by('pack', 1)))[0]?.kind).toBe('created');
  });
});
