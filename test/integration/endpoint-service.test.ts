import { afterAll, expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import { DEFAULT_EVENTS } from '../../src/core/event/event.ts';
import { webhookReceiver, shownReceiver } from '../../src/core/delivery/receiver.ts';
import { EndpointService } from '../../src/http/endpoints.ts';
import { testDaemon, testProcess } from '../support/daemon.ts';
import { delivererOf } from '../support/deliverer.ts';
import { deliveryRig } from '../support/delivery-rig.ts';

const rig = deliveryRig();
afterAll(() => rig.close());

const config = configSchema.parse({
  data_dir: '/d',
  sources: { default: { api_key: 'a key' }, team: { api_key: 'a key' } },
  endpoints: { ops: { type: 'webhook', url: 'https://ops.example' } },
});
const given = { config, stores: rig, now: rig.now };
const deliverer = delivererOf(testProcess(given));
Object.assign(deliverer.secrets, {
  derived: async () => 'whsec_derived',
  rotate: async () => ({ secret: 'whsec_new', previousExpiresAt: null }),
});
const unconfigured = { find: async () => ({ sources: [], endpoints: [] }) };
const service = new EndpointService(testDaemon({ ...given, deliverer, unconfigured }));

test('a webhook of a watch, by its masked form, has no secret to rotate', async () => {
  const receiver = webhookReceiver('https://hooks.example/rotated', 'default');
  await rig.plan(rig.newRun(), receiver, ['run.failed']);
  await rig.answerAll('fail');
  const rotate = (name: string) => service.rotate(name, { overlapMs: 0, now: false });
  await expect(rotate(shownReceiver(receiver))).rejects.toMatchObject({ code: 'not_signed' });
  expect(await rotate('ops')).toEqual({ secret: 'whsec_new', previousExpiresAt: null });
  expect(await rotate('https://hooks.example/…#000000')).toBeNull();
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

  const listed = await service.list();
  const countsOf = (receiver: string) =>
    listed.find(({ name }) => name === shownReceiver(receiver))?.counts;
  expect(countsOf('ops')).toMatchObject({ delivered: 1, dead: 0 });
  expect(countsOf(gone!)).toMatchObject({ dead: 1, skipped: 1, pending: 1, delivered: 0 });
  expect(countsOf(other!)).toMatchObject({ pending: 2, dead: 0, skipped: 0, delivered: 0 });
  const oldestAt = (receiver: string) =>
    listed.find(({ name }) => name === shownReceiver(receiver))?.oldestPendingAt;
  expect(oldestAt('ops')).toBeNull();
  const waiting = await rig.deliveries.list({ endpoint: shownReceiver(other!) }, { limit: 9 });
  expect(oldestAt(other!)).toBe(waiting.items.at(-1)?.createdAt);
  const paused = await service.pause(shownReceiver(other!));
  expect(paused?.counts).toMatchObject({ pending: 2 });
});

test('a verb on a masked URL acts on the webhooks of all sources there, which are listed as one', async () => {
  const [mine = '', theirs = ''] = ['default', 'team'].map((source) =>
    webhookReceiver('https://hooks.example/shared', source),
  );
  const name = shownReceiver(mine);
  const [failing = ''] = await rig.plan(rig.newRun(), mine, ['run.failed']);
  await rig.answerAll('fail');
  const state = async (receiver: string) => (await rig.state(receiver)).paused;
  await service.pause(name);
  expect([await state(mine), await state(theirs)]).toEqual([true, true]);
  const [held = ''] = await rig.plan(rig.newRun(), theirs, ['run.failed']);
  await rig.settle();
  expect(await rig.states([held])).toEqual(['parked']);
  const listed = (await service.list()).filter((one) => one.name === name);
  expect(listed).toMatchObject([
    { health: { state: 'paused' }, counts: { parked: 1, pending: 1 } },
  ]);
  await service.resume(name);
  expect([await state(mine), await state(theirs)]).toEqual([false, false]);
  expect(await service.retry(name)).toBe(2);
  await rig.answerAll('ok');
  expect(await rig.states([failing, held])).toEqual(['delivered', 'delivered']);
});

test('the list shows the system events that an endpoint without configured events gets', async () => {
  const [ops] = await service.list();
  expect(ops).toMatchObject({ name: 'ops' });
  const ofSources = [
    'source.unreachable',
    'source.recovered',
    'source.inconsistent',
    'source.consistent',
    'workflow.stalled',
    'workflow.recovered',
  ];
  expect(ops?.events).toEqual([...DEFAULT_EVENTS, ...ofSources]);
});
