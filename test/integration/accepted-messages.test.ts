import { afterEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { anyEvents } from '../support/any-event.ts';
import { RECEIVERS } from '../support/endpoint-models.ts';
import { messageOf } from '../support/messages.ts';
import { sampleEvent } from '../support/sample-events.ts';
import type { Receiver } from '../support/services/service.ts';

const RUNS = 200;

const receivers: Receiver[] = [];

async function started(start: () => Promise<Receiver>): Promise<Receiver> {
  const receiver = await start();
  receivers.push(receiver);
  return receiver;
}

afterEach(async () => {
  await Promise.all(receivers.splice(0).map(({ close }) => close()));
});

test.each(RECEIVERS)(
  '$name refuses no message, whatever the events that it covers',
  async ({ start }) => {
    const { channel, refusals } = await started(start);
    await fc.assert(
      fc.asyncProperty(anyEvents, async (events) => {
        refusals.length = 0;
        const { kind } = await channel.send(messageOf(...events));
        expect([kind, refusals]).toEqual(['delivered', []]);
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  },
  60_000,
);

test.each(RECEIVERS)('an answer of $name that rejects a message is final', async ({ start }) => {
  const { channel, rejectBy } = await started(start);
  rejectBy('invoices');
  expect((await channel.send(messageOf(sampleEvent('run.failed')))).kind).toBe('rejected');
});
