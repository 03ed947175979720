import { afterEach, describe, expect, test } from '@jest/globals';
import { expectNothingLeft } from '../support/delivery-invariants.ts';
import { deliveryRig, type DeliveryRig } from '../support/delivery-rig.ts';

const PERMITS = 4;
const PLACES = 2;

const rigs: DeliveryRig[] = [];

afterEach(async () => {
  await Promise.all(rigs.splice(0).map((rig) => rig.close()));
});

const isHanging = (endpoint: string) => endpoint.startsWith('hangs');

/** A process that may do four things at a time, and receivers some of which do not answer. */
function rigWithHanging() {
  const hanging = { isOver: false };
  const rig = deliveryRig({
    permits: PERMITS,
    capacity: PERMITS * 16,
    limits: { most: PLACES },
    autoAnswer: ({ endpoint }) => (isHanging(endpoint) && !hanging.isOver ? null : 'ok'),
  });
  rigs.push(rig);
  return { rig, hanging };
}

async function planFor(rig: DeliveryRig, endpoints: string[], each: number): Promise<string[]> {
  const all = endpoints.flatMap((endpoint) => Array.from({ length: each }, () => endpoint));
  const plan = (endpoint: string) => rig.plan(rig.newRun(), endpoint, ['run.failed']);
  return (await Promise.all(all.map(plan))).flat();
}

const named = (name: string, count: number) =>
  Array.from({ length: count }, (_, at) => `${name}-${at}`);

describe('receivers that hang', () => {
  test.each([
    ['one with 100 queued', named('hangs', 1), 100],
    ['thirty at once', named('hangs', 30), 5],
  ])(
    'receivers that hang, such as %s, do not delay other receivers',
    async (_what, names, each) => {
      const { rig, hanging } = rigWithHanging();
      const late = await planFor(rig, names, each);
      await rig.settle();
      const healthy = await planFor(rig, named('well', 10), 20);
      await rig.settle();
      expect(new Set(await rig.states(healthy))).toEqual(new Set(['delivered']));
      // All of that before any of the hanging ones has come to its deadline.
      expect(rig.open()).toHaveLength(names.length * PLACES);
      expect(rig.sent.filter(({ endpoint }) => isHanging(endpoint))).toHaveLength(
        names.length * PLACES,
      );
      hanging.isOver = true;
      await rig.answerAll('ok');
      expect(new Set(await rig.states(late))).toEqual(new Set(['delivered']));
      await expectNothingLeft(rig);
    },
    60_000,
  );
});
