import { afterEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { NAME_WAIT_MS } from '../../src/core/delivery/name-wait.ts';
import { deliveryRig, type DeliveryRig } from '../support/delivery-rig.ts';

const FAILED = 'run.failed' as const;
const LIMITS = { most: 2, rate: null, deadlineMs: 10_000 };

let rig: DeliveryRig;
/** Until when a name of a run is expected, by the clock of the rig. */
let expectedUntil: Map<string, number>;

function start(options: Parameters<typeof deliveryRig>[0] = {}): void {
  expectedUntil = new Map();
  const isNameExpected = (runId: string, at: number) => at < (expectedUntil.get(runId) ?? 0);
  rig = deliveryRig({ limits: LIMITS, isNameExpected, ...options });
}

afterEach(() => rig.close());

/** Plans the event of a new run, of which a name is expected for so many ms. */
async function plan(endpoint: string, expectedMs: number, types = [FAILED]): Promise<string> {
  const runId = rig.newRun();
  expectedUntil.set(runId, rig.now() + 1 + expectedMs);
  await rig.plan(runId, endpoint, types);
  return runId;
}

const sentTo = (endpoint: string) =>
  rig.sent.filter((one) => one.endpoint === endpoint).map(({ runId }) => runId);

/** Advances the clock in steps, with a sweep after each, and says yes to every request. */
async function pass(ms: number, stepMs = 100): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    await rig.advance(Math.min(stepMs, ms - passed));
    await rig.answerAll('ok');
  }
}

describe('a message that lacks a name', () => {
  test('is sent at once where none is expected, at the first check at which it is known, and after 2 s without it', async () => {
    start();
    const soon = await plan('people', 200);
    const late = await plan('people', 900);
    const never = await plan('people', Infinity);
    const none = await plan('people', 0);
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([none]);
    await pass(300);
    expect(sentTo('people')).toEqual([none, soon]);
    await pass(700);
    expect(sentTo('people')).toEqual([none, soon, late]);
    await pass(990);
    expect(sentTo('people')).toEqual([none, soon, late]);
    await pass(100);
    expect(sentTo('people')).toEqual([none, soon, late, never]);
  });

  test('holds up no webhook, and no slot of its endpoint', async () => {
    start();
    await plan('hook', Infinity);
    for (let at = 0; at < 5; at += 1) await plan('people', Infinity);
    const named = await plan('people', 0);
    await rig.answerAll('ok');
    expect([sentTo('hook').length, sentTo('people')]).toEqual([1, [named]]);
  });

  test('takes nothing of the pace of its endpoint', async () => {
    start({ limits: { ...LIMITS, rate: 1 } });
    for (let at = 0; at < 5; at += 1) await plan('people', Infinity);
    const named = await plan('people', 0);
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([named]);
    await rig.answerAll('ok');
    const next = await plan('people', 0);
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([named]);
    await pass(1_000);
    expect(sentTo('people')).toEqual([named, next]);
  });

  test('is followed by the next of its run, which waits behind it', async () => {
    start();
    const runId = await plan('people', 900, [FAILED, FAILED]);
    const other = await plan('people', 0);
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([other]);
    await pass(1_000);
    expect(sentTo('people')).toEqual([other, runId, runId]);
    expect(rig.sent.map(({ eventId }) => eventId)).toEqual(['evt_3', 'evt_1', 'evt_2']);
  });

  test('is left out of the message that covers the others of its type', async () => {
    start({ limits: { ...LIMITS, most: 20, foldMost: 500 } });
    const waiting: string[] = [];
    for (let at = 0; at < 12; at += 1) {
      const runId = await plan('people', at % 2 === 0 ? 0 : Infinity);
      if (at % 2 === 1) waiting.push(runId);
    }
    await rig.answerAll('ok');
    const covered = () => rig.sent.map(({ others }) => 1 + others.length);
    expect(covered().reduce((a, b) => a + b)).toBe(6);
    await pass(2_200);
    expect(covered().reduce((a, b) => a + b)).toBe(12);
    expect(waiting).toContain(rig.sent.at(-1)?.runId);
  });

  test('is not checked again once it was attempted, nor where a user wants it', async () => {
    start();
    const runId = await plan('people', Infinity);
    await rig.settle();
    const [id = ''] = (await rig.deliveries.list({}, { limit: 1 })).items.map((one) => one.id);
    await rig.replayMany([id]);
    await rig.settle();
    expect(sentTo('people')).toEqual([runId]);
    rig.open()[0]?.answer('fail');
    await rig.settle();
    await rig.advance(rig.retry[0] ?? 0);
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([runId, runId]);
    expect(await rig.states([id])).toEqual(['delivered']);
  });

  test('is sent once by another process where its own was killed in the wait', async () => {
    start();
    const runId = await plan('people', 500);
    await rig.settle();
    rig.kill('a');
    rig.startProcess('b');
    await rig.takeOver('b', 'a');
    await rig.advance(1_100);
    await rig.answerAll('ok', 'b');
    await rig.advance(5_000);
    await rig.answerAll('ok', 'b');
    expect(sentTo('people')).toEqual([runId]);
  });

  test('does not hold up the stop of its process, and is sent by the next', async () => {
    start();
    const runId = await plan('people', Infinity);
    await rig.settle();
    await rig.stop('a');
    expect(rig.sent).toEqual([]);
    rig.startProcess('b');
    await rig.advance(NAME_WAIT_MS);
    await rig.answerAll('ok', 'b');
    expect(sentTo('people')).toEqual([runId]);
  });

  test('is not held up after a step forward of the clock was taken out', async () => {
    start();
    const runId = await plan('people', Infinity);
    await rig.advance(-3_600_000);
    await rig.retryAll('people');
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([runId]);
  });
});

interface Given {
  endpoint: 'people' | 'hook';
  /** When the name is known, ms after the event; at or before 0 it was known before. */
  knownMs: number;
  fails: boolean;
  /** How long after the one before it comes, ms. */
  afterMs: number;
  killsBefore: boolean;
}

const given = fc.record<Given>({
  endpoint: fc.constantFrom('people', 'hook'),
  knownMs: fc.constantFrom(-1, 0, 250, 700, 1_500, Infinity),
  fails: fc.boolean(),
  afterMs: fc.constantFrom(0, 100, 400),
  killsBefore: fc.boolean(),
});

test('whenever names become known and processes die, each event is delivered once, webhooks at once, messages within 2 s, and as soon as a check finds the name', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(given, { minLength: 1, maxLength: 8 }), async (all) => {
      start({ limits: { ...LIMITS, most: 50 } });
      let process = 'a';
      const failing = new Set<string>();
      const answer = ({ runId }: { runId: string }) => (failing.delete(runId) ? 'fail' : 'ok');
      const turn = async (ms: number) => {
        for (let passed = 0; passed < ms; passed += 100) {
          await rig.advance(100);
          await rig.answerAll(answer, process);
        }
      };
      const planned: { runId: string; at: number; one: Given }[] = [];
      try {
        for (const one of all) {
          await turn(one.afterMs);
          if (one.killsBefore) {
            const dead = process;
            rig.kill(dead);
            process += 'a';
            rig.startProcess(process);
            await rig.takeOver(process, dead);
          }
          const runId = await plan(one.endpoint, one.knownMs);
          if (one.fails) failing.add(runId);
          planned.push({ runId, at: rig.now(), one });
          await rig.answerAll(answer, process);
        }
        await turn(NAME_WAIT_MS + 200);
        await rig.advance(rig.retry[0] ?? 0);
        await rig.answerAll(answer, process);
        for (const { runId, at, one } of planned) {
          const own = rig.sent.filter((sent) => sent.runId === runId);
          expect(own).toHaveLength(one.fails ? 2 : 1);
          const waitedMs = (own[0]?.at ?? Infinity) - at;
          const checks = one.endpoint === 'hook' || one.knownMs <= 0 ? [0] : [300, 1_000, 2_000];
          const due = checks.find((ms) => ms >= one.knownMs) ?? checks.at(-1) ?? 0;
          expect(waitedMs).toBeGreaterThanOrEqual(due);
          // The clock goes on by steps.
          expect(waitedMs).toBeLessThan(due + 100 + 2 * all.length);
        }
      } finally {
        await rig.close();
      }
    }),
    { numRuns: 15 },
  );
});
