import { afterEach, expect, test } from '@jest/globals';
import { isPager } from '../../src/core/delivery/delivery.ts';
import { FOLD_MOST } from '../../src/core/delivery/fold.ts';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { expectNothingLeft } from '../support/delivery-invariants.ts';
import { deliveryRig } from '../support/delivery-rig.ts';
import { RECEIVERS } from '../support/endpoint-models.ts';
import { sampleEvent } from '../support/sample-events.ts';
import type { Receiver } from '../support/services/service.ts';
import { startTeams } from '../support/services/teams.ts';

/** Shown in the message about the one run that the receiver refuses. */
const REFUSED = 'refused-workflow';
const RUNS = 12;
const REFUSED_AT = 2;

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const PROXY = 'a proxy before Teams';

/** A pager gets a message for each alert, so that its deliveries are never folded. */
const FOLDING: { name: string; start: () => Promise<Receiver> }[] = [
  ...RECEIVERS.filter(({ type }) => !isPager(type)),
  { name: PROXY, start: () => startTeams({ status: 413 }) },
];

test.each(FOLDING)(
  'of many folded events that $name gets, one that it refuses is dead and all others are delivered',
  async ({ name, start }) => {
    const { channel, messages, rejectBy, close } = await start();
    closers.push(close);
    rejectBy(REFUSED);
    const wasRefused = () => messages().map((message) => message.includes(REFUSED));
    const rig = deliveryRig({
      limits: { most: 4, rate: 1, foldMost: FOLD_MOST },
      routeOf: async (_delivery, { retry }) => ({ channel, retry }),
      eventOf(id, type, runId) {
        const workflow = { id: runId, name: runId === `run-${REFUSED_AT + 1}` ? REFUSED : runId };
        const event = sampleEvent(type, { workflow });
        return { ...event, id, data: { ...event.data, run_id: runId } } as unknown as RunwatchEvent;
      },
    });
    closers.push(rig.close);
    const ids: string[] = [];
    for (let at = 0; at < RUNS; at += 1) {
      ids.push(...(await rig.plan(rig.newRun(), 'chat', ['run.failed'])));
    }
    await rig.settle();
    // The next one may go at once, where the pace of a second has passed by the clock of Redis.
    expect(wasRefused()[0]).toBe(true);
    while ((await rig.states(ids)).includes('pending')) {
      await rig.advance(60_000);
      await rig.settle();
    }
    expect(await rig.states(ids)).toEqual(
      ids.map((_, at) => (at === REFUSED_AT ? 'dead' : 'delivered')),
    );
    // 12 events, then 6 and 6, then each of the refused six alone; what is no final answer has a retry.
    expect(wasRefused()).toHaveLength(1 + 2 + 6 + (name === PROXY ? 1 : 0));
    await expectNothingLeft(rig);
  },
);
