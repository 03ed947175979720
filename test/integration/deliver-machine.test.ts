import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { webhookReceiver } from '../../src/core/delivery/receiver.ts';
import type { Delivery } from '../../src/core/delivery/delivery.ts';
import { isOutstanding } from '../../src/core/delivery/state.ts';
import { pause, resume, type EndpointLimits } from '../../src/core/delivery/endpoint-state.ts';
import { expectInvariants, expectNothingLeft } from '../support/delivery-invariants.ts';
import { deliveryRig, type Answer, type DeliveryRig, type Sent } from '../support/delivery-rig.ts';

const RETRY = [5_000, 60_000];
const LIMITS = { most: 2, rate: null, deadlineMs: 10_000 };
const HELD_MS = 2 * LIMITS.deadlineMs;

/** A configured endpoint, and webhooks of watches at one origin, two of them at one URL. */
const ENDPOINTS = [
  'ops',
  ...[['a', 'default'] as const, ['a', 'other'] as const, ['b', 'default'] as const].map(
    ([path, source]) => webhookReceiver(`https://hooks.example/${path}`, source),
  ),
];

type Step =
  | { do: 'plan'; run: number; endpoint: number; count: number }
  | { do: 'burst'; endpoint: number }
  | { do: 'answer'; which: number; answer: Answer }
  | { do: 'answerAll'; answer: Answer }
  | { do: 'advance'; ms: number }
  | { do: 'turn'; by: 'pause' | 'resume'; endpoint: number }
  | { do: 'redeliver'; which: number }
  | { do: 'redeliverMany'; from: number; count: number }
  | { do: 'retry'; endpoint: number }
  | { do: 'takeOver' | 'look' | 'stall' | 'kill' };

/** How each of them is taken. */
type Steps = { [Kind in Step['do']]: (one: Extract<Step, { do: Kind }>) => Promise<unknown> };

const endpoint = fc.nat(ENDPOINTS.length - 1);
const answer: fc.Arbitrary<Answer> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Answer>('ok') },
  { weight: 5, arbitrary: fc.constant<Answer>('fail') },
  { weight: 1, arbitrary: fc.constantFrom<Answer>('gone', 'reject') },
  {
    weight: 1,
    arbitrary: fc.record({ retryAfterMs: fc.constantFrom(0, 2_000, 90_000) }),
  },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('plan' as const),
      run: fc.nat(3),
      endpoint,
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('burst' as const), endpoint }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('answer' as const), which: fc.nat(9), answer }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('answerAll' as const), answer }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('advance' as const),
      ms: fc.constantFrom(500, 5_000, HELD_MS, 60_000, 700_000, 5 * 86_400_000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('turn' as const),
      by: fc.constantFrom('pause', 'resume'),
      endpoint,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('retry' as const), endpoint }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('redeliver' as const), which: fc.nat(30) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('redeliverMany' as const),
      from: fc.nat(30),
      count: fc.nat(30),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('takeOver', 'look', 'stall', 'kill'),
    }),
  },
);

/** One life of the store with two daemons on it, and what it is laid beside. */
function life(limits: Partial<EndpointLimits>) {
  let now = () => 0;
  const rig = deliveryRig({
    limits: { ...LIMITS, ...limits },
    retry: RETRY,
    // By rule: a notice is out of date an hour after.
    isOvertaken: ({ eventType, createdAt }) =>
      eventType === 'run.awaiting_human_feedback' && now() - createdAt > 3_600_000,
  });
  ({ now } = rig);
  rig.startProcess('b');
  const planned: string[] = [];
  const requested = new Set<string>();
  /** Requests with jobs that another process has, or had. */
  const givenUp = new Set<Sent>();
  const giveUp = (some: Sent[]) => {
    for (const one of some) givenUp.add(one);
  };
  const wasDisabled = new Set<string>();
  let looked = 0;
  let generation = 0;
  let current = 'a';
  const furthest = new Map<string, number>();

  async function plan(runId: string, at: number, count: number): Promise<void> {
    const types = (['run.awaiting_human_feedback', 'run.progress', 'run.completed'] as const).slice(
      -count,
    );
    planned.push(...(await rig.plan(runId, ENDPOINTS[at] ?? '', [...types])));
  }

  const turns = { pause, resume };
  const steps: Steps = {
    plan: (one) => plan(`run-of-many-${one.run}`, one.endpoint, one.count),
    async burst(one) {
      for (let run = 0; run < 11; run += 1) await plan(rig.newRun(), one.endpoint, 1);
    },
    async answer(one) {
      const open = rig.open();
      const answered = open[one.which % Math.max(open.length, 1)];
      // What a second process may have sent of the same delivery is not waited for any more.
      giveUp(open.filter(({ deliveryId }) => deliveryId === answered?.deliveryId));
      answered?.answer(one.answer);
    },
    answerAll: (one) => rig.answerAll(one.answer, current),
    advance: (one) => rig.advance(one.ms),
    turn: (one) => rig.turn(ENDPOINTS[one.endpoint] ?? '', turns[one.by]),
    redeliver(one) {
      const id = planned[one.which % Math.max(planned.length, 1)] ?? '';
      requested.add(id);
      return rig.replay.one(id);
    },
    redeliverMany(one) {
      const ids = planned.slice(one.from, one.from + one.count);
      for (const id of ids) requested.add(id);
      return rig.replayMany(ids);
    },
    retry: (one) => rig.retryAll(ENDPOINTS[one.endpoint] ?? ''),
    takeOver: async () => rig.takeOver(current, `a${generation - 1}`),
    look: () => rig.settle('b'),
    // A process is held up for so long that its claims lapse.
    async stall() {
      giveUp(rig.open());
      await rig.advance(HELD_MS);
    },
    async kill() {
      rig.kill(current);
      generation += 1;
      current = `a${generation}`;
      rig.startProcess(current);
    },
  };

  /** Per run and endpoint a later event is never followed by an earlier one that was not requested. */
  function expectOrder(): void {
    for (const { deliveryId, runId, endpoint: to } of rig.sent.slice(looked)) {
      const order = `${runId} ${to}`;
      const at = planned.indexOf(deliveryId);
      if (!requested.has(deliveryId)) {
        expect(at).toBeGreaterThanOrEqual(furthest.get(order) ?? -1);
        furthest.set(order, at);
      }
    }
    looked = rig.sent.length;
  }

  /** No more attempts are in progress than there are slots, those of lost processes aside. */
  function expectPlaces(): void {
    const onTheirWay = new Map<string, Set<string>>();
    const isHeld = (one: Sent) => one.at + HELD_MS > rig.now() && !givenUp.has(one);
    for (const one of rig.open().filter(isHeld)) {
      const gate = one.endpoint;
      onTheirWay.set(gate, (onTheirWay.get(gate) ?? new Set()).add(one.deliveryId));
    }
    for (const some of onTheirWay.values()) expect(some.size).toBeLessThanOrEqual(LIMITS.most);
  }

  return {
    rig,
    planned,
    async step(one: Step): Promise<void> {
      await (steps[one.do] as (one: Step) => Promise<unknown>)(one);
      await rig.settle(current);
      for (const name of ENDPOINTS) {
        if ((await rig.state(name)).disabled !== null) wasDisabled.add(name);
      }
      await expectInvariants(rig, planned);
      expectOrder();
      expectPlaces();
    },
    heal: () => heal(rig, planned, current),
    expectEndsByRule: async () => {
      for (const id of planned) expectEndByRule(await rig.get(id), wasDisabled);
    },
  };
}

/** Every receiver is well again, and pauses are lifted. */
async function heal(rig: DeliveryRig, planned: string[], process: string): Promise<void> {
  for (const name of ENDPOINTS) {
    await rig.turn(name, resume);
  }
  for (let round = 0; round < 200; round += 1) {
    await rig.answerAll('ok', process);
    const left = (await rig.states(planned)).filter((state) => isOutstanding(state as never));
    if (left.length === 0) return;
    await rig.advance(30_000);
  }
  throw new Error(`not delivered: ${JSON.stringify(await rig.states(planned))}`);
}

function expectEndByRule(delivery: Delivery, wasDisabled: Set<string>): void {
  const { state, last, step: steps } = delivery;
  if (state === 'delivered') expect(last?.status).toBe(200);
  else if (state === 'dead') {
    expect([400, 410].includes(last?.status ?? 0) || steps === RETRY.length + 1).toBe(true);
  } else if (state === 'skipped') expect(wasDisabled).toContain(delivery.endpoint);
  else expect([state, delivery.eventType]).toEqual(['superseded', 'run.awaiting_human_feedback']);
}

async function live(steps: Step[], limits: Partial<EndpointLimits> = {}): Promise<void> {
  const one = life(limits);
  try {
    for (const each of steps) await one.step(each);
    await one.heal();
    await expectInvariants(one.rig, one.planned);
    await one.expectEndsByRule();
    await one.rig.advance(HELD_MS);
    await expectNothingLeft(one.rig);
  } finally {
    await one.rig.redis.del(...(await one.rig.keysLeft()), 'none');
    await one.rig.close();
  }
}

describe('random sequences of answers, pauses, restarts and losses', () => {
  test('no random sequence loses a delivery, breaks an order, or leaves keys behind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60, size: 'max' }), (steps) =>
        live(steps),
      ),
      { numRuns: 40 },
    );
  });

  test('no random sequence loses a delivery where a backlog becomes one message', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60, size: 'max' }), (steps) =>
        live(steps, { foldMost: 8 }),
      ),
      { numRuns: 20 },
    );
  });

  test('no random sequence holds up a delivery to an endpoint with a rate', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60, size: 'max' }), (steps) =>
        live(steps, { foldMost: 8, rate: 1 }),
      ),
      { numRuns: 20 },
    );
  });
});
