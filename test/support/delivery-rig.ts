import type { Attempt, AttemptOutcome, Delivery } from '../../src/core/delivery.ts';
import { newDelivery } from '../../src/core/delivery.ts';
import type { SentEventType } from '../../src/core/event.ts';
import { createAlerts, type Alert } from '../../src/deliver/alerts.ts';
import { createDeliverEvent } from '../../src/deliver/deliver-event.ts';
import { turnGate } from '../../src/deliver/endpoint-control.ts';
import { createPermits } from '../../src/deliver/permits.ts';
import { createRedeliver } from '../../src/deliver/redeliver.ts';
import { createReleaseParked } from '../../src/deliver/release-parked.ts';
import type { Route } from '../../src/deliver/route.ts';
import type { GateLimits } from '../../src/core/gate.ts';
import { createSweep } from '../../src/deliver/sweep.ts';
import { gateKey, type Gate } from '../../src/core/gate.ts';
import { newWatch, NOON } from './builders.ts';
import { fakeJobs, type FakeJobs } from './fake-jobs.ts';
import { openStores } from './stores.ts';

const RELEASE_EVERY_MS = 500;

/** Runs that neither end nor send anything for this long never will, ms of the real clock. */
const PATIENCE_MS = 20_000;

/** How a request ended, in the words of a test. */
export type Answer = 'ok' | 'fail' | 'gone' | { retryAfterMs: number };

/** A request that its receiver has not answered yet. */
export interface Sent {
  deliveryId: string;
  eventId: string;
  endpoint: string;
  runId: string;
  /** Which process sent it, and when. */
  process: string;
  at: number;
  answer: (answer: Answer) => void;
}

interface RigOptions {
  limits?: Partial<GateLimits>;
  retry?: readonly number[];
  operatorEndpoint?: string | null;
  isOvertaken?: (delivery: Delivery) => boolean;
  /** What takes the place of a route; a throw is a fault of our own. */
  routeOf?: (delivery: Delivery, route: Route) => Promise<Route | null>;
  bodyOf?: (eventId: string) => string | null;
  /** Answers some requests at once, by what they are. */
  autoAnswer?: (sent: Sent) => Answer | null;
  /** How many jobs run at a time, and how many of them may use the process. */
  slots?: number;
  permits?: number;
}

/** One daemon, as far as delivering goes. */
interface RigProcess {
  name: string;
  isAlive: boolean;
  deliver: (id: string) => Promise<number | null>;
  inLine: Set<string>;
}

/**
 * The delivery half over the real stores and scripts, with receivers that answer when the test says
 * so, jobs that run when it says so, and a clock that it turns. `settle` lets everything go on until
 * all that is left waits for an answer, a job's time, or the test.
 */
export function deliveryRig(options: RigOptions = {}) {
  const stores = openStores();
  const { deliveries, gates } = stores;
  const retry = options.retry ?? [5_000, 60_000, 300_000];
  const limits: GateLimits = { concurrency: 2, rate: null, deadlineMs: 15_000, ...options.limits };
  let time = NOON;
  let eventCount = 0;
  let runCount = 0;
  const now = () => time;
  const jobs: FakeJobs = fakeJobs(now);
  const sent: Sent[] = [];
  const open = new Set<Sent>();
  const alerts: Alert[] = [];
  const running = new Set<Promise<void>>();
  const slots = options.slots ?? Infinity;
  const processes = new Map<string, RigProcess>();

  const dispatch = jobs.ensure;
  const limitsOf = () => limits;
  const shared = { deliveries, gates, limitsOf, dispatch, now };
  const redeliver = createRedeliver(shared);
  const release = createReleaseParked(shared, RELEASE_EVERY_MS);
  const sweep = createSweep({ deliveries, jobs, now });

  function send(process: RigProcess, delivery: Delivery): Promise<AttemptOutcome> {
    const { id: deliveryId, eventId, endpoint, runId } = delivery;
    return new Promise((resolve) => {
      const one: Sent = {
        deliveryId,
        eventId,
        endpoint,
        runId,
        process: process.name,
        at: time,
        answer(answer) {
          if (open.delete(one) && process.isAlive) resolve(outcomeOf(answer, time));
        },
      };
      sent.push(one);
      open.add(one);
      const answer = options.autoAnswer?.(one);
      if (answer) one.answer(answer);
    });
  }

  function startProcess(name: string): RigProcess {
    const inLine = new Set<string>();
    const process: RigProcess = { name, isAlive: true, inLine, deliver: async () => null };
    process.deliver = createDeliverEvent({
      ...shared,
      random: () => 0,
      defaultRetry: retry,
      withPermit: createPermits(options.permits ?? Infinity),
      bodyOf: async (id) => (options.bodyOf ?? ((eventId) => `{"id":"${eventId}"}`))(id),
      async routeOf(delivery) {
        const route = { channel: { send: () => send(process, delivery) }, retry };
        return options.routeOf === undefined ? route : options.routeOf(delivery, route);
      },
      isOvertaken: async (delivery) => options.isOvertaken?.(delivery) ?? false,
      alerts: createAlerts({
        operatorEndpoint: options.operatorEndpoint ?? null,
        log: (alert) => alerts.push(alert),
      }),
      stoodInLine: (id) => inLine.add(id),
      report: () => undefined,
    });
    processes.set(name, process);
    return process;
  }

  /** As the job queue does it: the job is there until its run is over. */
  async function runJob(process: RigProcess, id: string): Promise<void> {
    const token = jobs.start(id);
    const dueAt = await process.deliver(id);
    if (!process.isAlive) return;
    jobs.end(id, token, dueAt);
    const isWanted = dueAt === null && process.inLine.delete(id);
    if (isWanted && (await deliveries.isDue(id, time))) await dispatch([id]);
  }

  function run(process: RigProcess, id: string): void {
    const work = runJob(process, id);
    running.add(work);
    void work.finally(() => running.delete(work));
  }

  /** Runs of dead processes, which wait for an answer that never comes. */
  let lost = 0;
  const stuck = () => open.size + lost;

  async function quiesce(): Promise<void> {
    let calm = 0;
    const patience = Date.now() + PATIENCE_MS;
    while (calm < 3) {
      if (Date.now() > patience) throw new Error(`${running.size - stuck()} jobs do not end`);
      const before = running.size + open.size + sent.length;
      await stores.redis.ping();
      await new Promise(setImmediate);
      const isCalm = stuck() >= running.size && before === running.size + open.size + sent.length;
      calm = isCalm ? calm + 1 : 0;
    }
  }

  startProcess('a');

  const rig = {
    ...stores,
    jobs,
    limits,
    retry,
    /** Every request so far, oldest first. */
    sent: sent as readonly Sent[],
    /** Those that are not answered yet. */
    open: () => [...open],
    alerts,
    now,
    redeliver,
    startProcess,

    /** The id of a run that nothing else is about. */
    newRun(): string {
      runCount += 1;
      return `run-${runCount}`;
    },

    /** Plans deliveries of one run to an endpoint, as one look at it would; returns their ids. */
    async plan(runId: string, endpoint: string, types: SentEventType[]): Promise<string[]> {
      const key = { source: 'default', runId };
      const before = await stores.watches.get(key);
      const watch = before?.watch ?? newWatch({ runId });
      const planned = types.map((type) => {
        eventCount += 1;
        return newDelivery(key, { id: `evt_${eventCount}`, type }, endpoint, time);
      });
      const due = await stores.watches.commit({
        before,
        after: watch,
        events: [],
        deliveries: planned,
      });
      if (due === null) throw new Error('nobody else writes watches here');
      await dispatch(due);
      return planned.map(({ id }) => id);
    },

    /** Starts what is due in one of the processes, until nothing moves any more. */
    async settle(name = 'a'): Promise<void> {
      const process = processes.get(name);
      if (process === undefined) throw new Error(`no process ${name}`);
      await quiesce();
      for (;;) {
        const due = jobs.due().slice(0, slots - running.size);
        if (due.length === 0) return;
        for (const id of due) run(process, id);
        await quiesce();
      }
    },

    /** Waits for what runs already, and starts nothing. */
    quiesce,

    /** Answers every open request, and whatever that leads to, until none is open. */
    async answerAll(answer: Answer | ((sent: Sent) => Answer), name = 'a'): Promise<void> {
      await rig.settle(name);
      while (open.size > 0) {
        for (const one of open) one.answer(typeof answer === 'function' ? answer(one) : answer);
        await rig.settle(name);
      }
    },

    /** Kills a process: answers reach it no more, and its jobs are given to others. */
    kill(name: string): void {
      const process = processes.get(name);
      if (process === undefined) return;
      process.isAlive = false;
      for (const one of [...open].filter((each) => each.process === name)) {
        lost += 1;
        open.delete(one);
        jobs.stall([one.deliveryId]);
      }
      processes.delete(name);
    },

    /** Turns the clock, and what expires in Redis with it. */
    async advance(ms: number): Promise<void> {
      time += ms;
      const volatile = (await stores.keysLeft()).filter((key) =>
        /:(probe|pace|releasing):/.test(key),
      );
      for (const key of volatile) {
        const left = (await stores.redis.pttl(key)) - ms;
        if (left <= 0) await stores.redis.del(key);
        else await stores.redis.pexpire(key, left);
      }
    },

    /** What the daemon does every half second. */
    async release(): Promise<void> {
      await rig.advance(RELEASE_EVERY_MS);
      await release();
    },

    sweep: (overdueMs = 15_000) => sweep(overdueMs),

    turn: (endpoint: string, by: (gate: Gate) => Gate) => turnGate(gates, gateKey(endpoint), by),

    async gate(endpoint: string): Promise<Gate> {
      return (await gates.get(gateKey(endpoint))).gate;
    },

    async states(ids: string[]): Promise<string[]> {
      const found = await deliveries.getMany(ids);
      return found.map((stored) => stored?.delivery.state ?? 'forgotten');
    },

    async get(id: string): Promise<Delivery> {
      const stored = await deliveries.get(id);
      if (stored === null) throw new Error(`no delivery ${id}`);
      return stored.delivery;
    },
  };
  return rig;
}

export type DeliveryRig = ReturnType<typeof deliveryRig>;

function outcomeOf(answer: Answer, at: number): AttemptOutcome {
  if (answer === 'ok') return { kind: 'delivered', attempt: attemptOf(200, at) };
  if (answer === 'gone') return { kind: 'refused', attempt: attemptOf(410, at) };
  if (answer === 'fail') return { kind: 'failed', attempt: attemptOf(500, at) };
  return { kind: 'throttled', attempt: attemptOf(429, at), ...answer };
}

function attemptOf(status: number, at: number): Attempt {
  const error = status < 300 ? null : { code: 'status', message: `answered ${status}` };
  return { at, status, error, durationMs: 0, response: null };
}
