import { beforeAll, describe, expect, test } from '@jest/globals';
import {
  PER_ENDPOINT,
  runHistoryKillTest,
  tally,
  type Holdings,
  type HistoryOutcome,
} from '../support/kill-history.ts';

const KILLS = { packing: 5, forgetting: 2 };

let outcome: HistoryOutcome;

beforeAll(async () => {
  outcome = await runHistoryKillTest({ seed: 3, kills: KILLS });
});

const idsOf = (items: readonly { id: string }[]) => items.map(({ id }) => id).toSorted();
const moments = (): Holdings[] => {
  const { before, duringPacking, after, duringForgetting, end } = outcome;
  return [before, ...duringPacking, after, ...duringForgetting, end];
};

describe('a daemon that is killed while it packs, unpacks and forgets runs', () => {
  test('the kills found runs packed and unpacked, and some forgotten', () => {
    const { before, duringPacking, duringForgetting } = outcome;
    expect(duringPacking.some(({ packed }) => packed < before.watches.size)).toBe(true);
    // Most kills come before all are forgotten; on a busy machine none may.
    expect(duringForgetting.every(({ watches }) => watches.size < before.watches.size)).toBe(true);
  });

  test('the delivery counters agree with the listing of deliveries after every kill', () => {
    for (const { listed, counted, planned, deliveries } of moments()) {
      expect(counted).toEqual(listed);
      expect(planned).toBe(deliveries.length);
    }
  });

  test('packing and unpacking lose no event and add none', () => {
    const { before, duringPacking, after } = outcome;
    for (const { events } of [...duringPacking, after]) expect(events).toEqual(before.events);
  });

  test('packing and unpacking lose no delivery, and a new subscription adds one for each run', () => {
    const { before, duringPacking, after, registered } = outcome;
    for (const { deliveries } of [...duringPacking, after]) {
      expect(idsOf(deliveries)).toEqual(expect.arrayContaining(idsOf(before.deliveries)));
      expect(new Set(idsOf(deliveries)).size).toBe(deliveries.length);
    }
    const late = after.deliveries.filter(({ endpoint }) => endpoint === 'late');
    const runs = late.map(({ runId }) => runId);
    expect(new Set(runs).size).toBe(runs.length);
    expect(runs).toEqual(expect.arrayContaining([...registered]));
  });

  test('every redelivery that the daemon accepted arrives, with the text of the first one', () => {
    const { after, accepted, redelivered } = outcome;
    const sent = tally(accepted.hooks.map(({ id }) => String(id)));
    for (const { id, eventId } of after.deliveries.filter(({ id: one }) => redelivered.has(one))) {
      expect([id, (sent.get(eventId) ?? 0) > 1]).toEqual([id, true]);
    }
    const all = [...accepted.hooks, ...accepted.late];
    const texts = new Set(all.map(({ id, body }) => `${id} ${body}`));
    expect(texts.size).toBe(new Set(all.map(({ id }) => id)).size);
    expect(after.deliveries.every(({ state }) => state === 'delivered')).toBe(true);
  });

  test('webhooks repeat only for redeliveries, and for attempts in flight at the kills', () => {
    const { after, accepted, redelivered } = outcome;
    const wanted = after.deliveries.length + redelivered.size;
    const kills = KILLS.packing + KILLS.forgetting;
    const arrived = accepted.hooks.length + accepted.late.length;
    expect(arrived).toBeGreaterThanOrEqual(wanted);
    // A request that got no answer may have been made: the user repeats it.
    expect(arrived).toBeLessThanOrEqual(wanted + kills * (2 * PER_ENDPOINT + 1));
  });

  test('a run is forgotten with all that belongs to it, or not at all', () => {
    const { after, duringForgetting } = outcome;
    for (const { watches, events, deliveries } of duringForgetting) {
      for (const [run, { events: kept }] of watches)
        expect(kept).toBe(after.watches.get(run)?.events);
      for (const { data } of events) expect(watches.has(data.run_id)).toBe(true);
      for (const { runId } of deliveries) expect(watches.has(runId)).toBe(true);
    }
  });

  test('nothing is left of runs that are forgotten', () => {
    const { planned, watches, events, deliveries, keys, packed } = outcome.end;
    expect([planned, watches.size, events.length, deliveries.length, packed]).toEqual([
      0, 0, 0, 0, 0,
    ]);
    const ofRuns = /^\{runwatch\}:(watch|event|delivery|attempts|lane|live-\w+|due|parked|taken):/;
    expect(keys.filter((key) => ofRuns.test(key))).toEqual([]);
  });
});
