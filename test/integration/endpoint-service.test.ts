import { afterAll, expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import { DEFAULT_EVENTS, isoTime } from '../../src/core/event/event.ts';
import { webhookReceiver, shownReceiver } from '../../src/core/delivery/receiver.ts';
import type { RotateOptions } from '../../src/deliver/secrets/endpoint-secrets.ts';
import { EndpointService } from '../../src/http/endpoints.ts';
import { A_USER, NOON } from '../support/builders.ts';
import { testDaemon, testProcess } from '../support/daemon.ts';
import { delivererOf } from '../support/deliverer.ts';
import { deliveryRig } from '../support/delivery-rig.ts';

const rig = deliveryRig();
afterAll(() => rig.close());

const config = configSchema.parse({
  data_dir: '/d',
  sources: { default: { api_key: 'a key' }, team: { api_key: 'a key' } },
  endpoints: {
    ops: { type: 'webhook', url: 'https://ops.example' },
    all: { type: 'log', events: ['*'] },
  },
});
const given = { config, stores: rig, now: rig.now };
const deliverer = delivererOf(testProcess(given));
const rotations: RotateOptions[] = [];
Object.assign(deliverer.secrets, {
  derived: async () => 'whsec_derived',
  async rotate(_receiver: string, options: RotateOptions) {
    rotations.push(options);
    return { secret: 'whsec_new', previousExpiresAt: NOON };
  },
});
const unconfigured = { find: async () => ({ sources: [], endpoints: [] }) };
const service = new EndpointService(testDaemon({ ...given, deliverer, unconfigured }));
const named = (name: string) => ({ params: { name }, ...A_USER });
const listed = async () => (await service.list({ token: null })).data;

test('a webhook of a watch, by its masked form, has no secret to rotate', async () => {
  const receiver = webhookReceiver('https://hooks.example/rotated', 'default');
  await rig.plan(rig.newRun(), receiver, ['run.failed']);
  await rig.answerAll('fail');
  const rotate = (name: string) => service.rotate({ ...named(name), body: { overlap: 0 } });
  await expect(rotate(shownReceiver(receiver))).rejects.toMatchObject({ code: 'not_signed' });
  expect(await rotate('ops')).toEqual({
    secret: 'whsec_new',
    previous_expires_at: isoTime(NOON),
  });
  const unknown = 'https://hooks.example/…#000000';
  await expect(rotate(unknown)).rejects.toMatchObject({ code: 'endpoint_not_found' });
});

test('rotation without a body lets the old secret sign for another day', async () => {
  rotations.length = 0;
  await service.rotate({ ...named('ops'), body: {} });
  await service.rotate({ ...named('ops'), body: { now: true, overlap: 7_200_000 } });
  expect(rotations).toEqual([
    { overlapMs: 86_400_000, now: false },
    { overlapMs: 7_200_000, now: true },
  ]);
});

test('an endpoint that is not known is refused by its name, and by those that there are', async () => {
  const unknown = { ...named('opss'), body: {} };
  for (const refused of [
    service.test(unknown),
    service.pause(unknown),
    service.resume(unknown),
    service.retry(unknown),
    service.secret(unknown),
    service.rotate(unknown),
  ]) {
    await expect(refused).rejects.toMatchObject({
      code: 'endpoint_not_found',
      message: expect.stringMatching(/^no endpoint is named "opss"; expected one of: ops/),
    });
  }
});

test('the list of endpoints counts the deliveries of each failing per-watch webhook', async () => {
  const [gone, other] = ['one', 'two'].map((path) =>
    webhookReceiver(`https://hooks.example/${path}`, 'default'),
  );
  for (const receiver of [gone!, other!, other!, 'ops']) {
    await rig.plan(rig.newRun(), receiver, ['run.failed']);
  }
  await rig.answerAll(({ endpoint }) => (endpoint === 'ops' ? 'ok' : 'fail'));
  await rig.plan(rig.newRun(), gone!, ['run.failed']);
  await rig.answerAll('gone');
  await rig.plan(rig.newRun(), gone!, ['run.failed']);
  await rig.settle();

  const views = await listed();
  const countsOf = (receiver: string) =>
    views.find(({ name }) => name === shownReceiver(receiver))?.counts;
  expect(countsOf('ops')).toMatchObject({ delivered: 1, dead: 0 });
  expect(countsOf(gone!)).toMatchObject({ dead: 1, skipped: 1, pending: 1, delivered: 0 });
  expect(countsOf(other!)).toMatchObject({ pending: 2, dead: 0, skipped: 0, delivered: 0 });
  const oldestAt = (receiver: string) =>
    views.find(({ name }) => name === shownReceiver(receiver))?.oldest_pending_at;
  expect(oldestAt('ops')).toBeNull();
  const waiting = await rig.deliveries.list({ endpoint: shownReceiver(other!) }, { limit: 9 });
  expect(oldestAt(other!)).toBe(isoTime(waiting.items.at(-1)!.createdAt));
  const paused = await service.pause(named(shownReceiver(other!)));
  expect(paused.counts).toMatchObject({ pending: 2 });
});

test('a verb on a masked URL acts on the webhooks of all sources there, which are listed as one', async () => {
  const [mine = '', theirs = ''] = ['default', 'team'].map((source) =>
    webhookReceiver('https://hooks.example/shared', source),
  );
  const name = shownReceiver(mine);
  const [failing = ''] = await rig.plan(rig.newRun(), mine, ['run.failed']);
  await rig.answerAll('fail');
  const state = async (receiver: string) => (await rig.state(receiver)).paused;
  await service.pause(named(name));
  expect([await state(mine), await state(theirs)]).toEqual([true, true]);
  const [held = ''] = await rig.plan(rig.newRun(), theirs, ['run.failed']);
  await rig.settle();
  expect(await rig.states([held])).toEqual(['parked']);
  const shown = (await listed()).filter((one) => one.name === name);
  expect(shown).toMatchObject([{ health: { state: 'paused' }, counts: { parked: 1, pending: 1 } }]);
  await service.resume(named(name));
  expect([await state(mine), await state(theirs)]).toEqual([false, false]);
  expect(await service.retry(named(name))).toEqual({ count: 2 });
  await rig.answerAll('ok');
  expect(await rig.states([failing, held])).toEqual(['delivered', 'delivered']);
});

test('the list shows the events of an endpoint, default and system events where none are configured', async () => {
  const [ops, all] = await listed();
  expect(all).toMatchObject({ name: 'all', events: ['*'] });
  expect(ops).toMatchObject({ name: 'ops' });
  const ofSources = [
    'source.unreachable',
    'source.recovered',
    'source.inconsistent',
    'source.consistent',
    'workflow.stalled',
    'workflow.recovered',
    'discovery.waiting',
  ];
  expect(ops?.events).toEqual([...DEFAULT_EVENTS, ...ofSources]);
});
