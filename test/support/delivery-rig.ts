import { pino } from 'pino';
import { configSchema } from '../../src/config/schema.ts';
import { type EndpointLimits, type EndpointState } from '../../src/core/delivery/endpoint-state.ts';
import {
  newDelivery,
  type Attempt,
  type AttemptOutcome,
  type Delivery,
} from '../../src/core/delivery/delivery.ts';
import { isOrigin } from '../../src/core/delivery/receiver.ts';
import type { RunwatchEvent, SentEventType } from '../../src/core/event/event.ts';
import type { Attempts } from '../../src/deliver/attempts.ts';
import { Deliverer } from '../../src/deliver/deliverer.ts';
import { changeEndpoint, retryEndpoint } from '../../src/deliver/endpoint-control.ts';
import { Endpoints } from '../../src/deliver/endpoints.ts';
import { Permits } from '../../src/deliver/permits.ts';
import type { Message, Route } from '../../src/deliver/channels/channel.ts';
import { tokensOf } from '../../src/redis/leases.ts';
import { newMark, newWatch, NOON } from './builders.ts';
import { testProcess } from './daemon.ts';
import { testRedis } from './redis.ts';
import { LASTS_TIMES, openStores } from './stores.ts';

/** A rig that makes no progress for this long will never settle, ms of the real clock. */
const PATIENCE_MS = 240_000;

/** How long an attempt holds its permit, ms of the real clock. */
const YIELD_MS = 400;

/** The end of a request, as tests name it. */
export type Answer =
  | 'ok'
  | 'fail'
  | 'reject'
  | 'gone'
  | 'timeout'
  | { retryAfterMs: number }
  | { status: number };

/** A request that its receiver has not answered yet. */
export interface Sent {
  deliveryId: string;
  eventId: string;
  endpoint: string;
  runId: string;
  /** Events that the same message covers. */
  others: string[];
  /** The process that sent it, and when. */
  process: string;
  at: number;
  answer: (answer: Answer) => void;
}

interface RigOptions {
  limits?: Partial<EndpointLimits>;
  retry?: readonly number[];
  operatorEndpoint?: string | null;
  isOvertaken?: (delivery: Delivery) => boolean;
  /** Makes the events of runs; else they have only what the stores read. */
  eventOf?: (id: string, type: SentEventType, runId: string) => RunwatchEvent;
  /** Replaces a route; a throw simulates a fault of runwatch itself. */
  routeOf?: (delivery: Delivery, route: Route) => Promise<Route | null>;
  /**
   * Makes the receiver `people` get messages, which wait while a name of their run is expected: says at a time
   * whether it is.
   */
  isNameExpected?: (runId: string, at: number) => boolean;
  /** Happens while a name is looked up. */
  whileNamed?: () => Promise<void>;
  /** Whether the store has lost the events of deliveries. */
  isForgotten?: () => boolean;
  /** Whether the processes' configuration has a pool. */
  serves?: (pool: string) => boolean;
  /** Answers some requests at once, depending on the request. */
  autoAnswer?: (sent: Sent) => Answer | null;
  /** The message of faults that the test brings about; any other fails it. */
  expectedFault?: string;
  /** How many attempts a process has under way, and how many of them may use it. */
  capacity?: number;
  permits?: number;
}

/** The delivery part of one daemon. */
interface RigProcess {
  name: string;
  isAlive: boolean;
  deliverer: Deliverer;
  /** Claims that have not ended. */
  underWay: number;
}

/**
 * The delivery part over the real stores and scripts. The test answers for the receivers and sets
 * the clock. `settle` lets a process sweep, and runs everything until all that remains waits for an
 * answer, its time, or the test.
 */
export function deliveryRig(options: RigOptions = {}) {
  const stores = openStores(testRedis(), { isClockManual: true });
  const { deliveries, outbox, endpointStates, redis, keys } = stores;
  const retry = options.retry ?? [5_000, 60_000, 300_000];
  const limits: EndpointLimits = { most: 2, rate: null, deadlineMs: 10_000, ...options.limits };
  let time = NOON;
  let eventCount = 0;
  let runCount = 0;
  const now = () => time;
  /** How far the store's clock is ahead of those of processes. */
  let lead = 0;
  const turnClock = (ms: number) => {
    time += ms;
    void redis.set(keys.clock, time + lead);
  };
  turnClock(0);
  const sent: Sent[] = [];
  const open = new Set<Sent>();
  const endpointEvents: { type: string; about: unknown }[] = [];
  const errors: unknown[] = [];
  const processes = new Map<string, RigProcess>();
  let isRetried = false;
  // Webhooks of watches never fold, and have no pace.
  const { foldMost: _none, ...unfolded } = limits;
  const ofOrigins = { ...unfolded, rate: null };
  const limitsOf = (pool: string) => (isOrigin(pool) ? ofOrigins : limits);
  const config = configSchema.parse({ data_dir: '/nowhere', endpoints: { ops: { type: 'log' } } });
  Object.assign(config.delivery, { concurrency: options.capacity ?? 1_000 });
  const endpoints = Object.assign(new Endpoints(config), {
    limitsOf,
    isForPeople: (name: string) => options.isNameExpected !== undefined && name === 'people',
  });
  const log = pino({
    level: 'debug',
    hooks: { logMethod: ([fields, message]) => note(fields, message) },
  });
  const newToken = tokensOf('replays');

  /** Takes note of lines about endpoints, and of faults. */
  function note(fields: unknown, message: unknown): void {
    const { endpoint, error } = fields as { endpoint?: unknown; error?: unknown };
    const type = String(message);
    if (type === 'deliver' && error !== options.expectedFault) errors.push(error);
    if (/^(endpoint\.|delivery\.exhausted)/.test(type))
      endpointEvents.push({ type, about: endpoint });
  }

  function delivererOf(id: string, over = outbox): Deliverer {
    const process = testProcess({
      id,
      config,
      endpoints,
      log,
      stores: { ...stores, outbox: over },
      newToken,
      now,
      random: () => 0,
      knownNames: {
        async isExpected({ data }) {
          await options.whileNamed?.();
          return options.isNameExpected?.((data as { run_id: string }).run_id, time) ?? false;
        },
      },
      hostShortages: { note: (error) => errors.push(error) },
    });
    const made = new Deliverer(process, { plan: planEvent }, { owe: () => undefined });
    return Object.assign(made, {
      permits: new Permits(options.permits ?? Infinity, YIELD_MS),
      dispatch: (pools: readonly string[]) => processes.get('a')?.deliverer.relay.dispatch(pools),
      serves: options.serves ?? (() => true),
      // The test sets the clock: no timer fires by itself.
      later: () => () => undefined,
    });
  }

  const replayOver = (over: typeof outbox) => delivererOf('replays', over).replay;
  const replay = replayOver(outbox);

  function send(
    process: RigProcess,
    delivery: Delivery,
    { others = [] }: Message,
  ): Promise<AttemptOutcome> {
    const { id: deliveryId, eventId, endpoint, runId } = delivery;
    return new Promise((resolve) => {
      const one: Sent = {
        deliveryId,
        eventId,
        endpoint,
        runId,
        others: others.map((other) => other.eventId),
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
    const deliverer = delivererOf(name);
    const process: RigProcess = { name, isAlive: true, underWay: 0, deliverer };
    const { attempts, routes } = deliverer;
    Object.assign(routes, {
      defaultRetry: retry,
      async routeOf(delivery: Delivery) {
        const route = {
          channel: { send: (message: Message) => send(process, delivery, message) },
          retry,
        };
        return options.routeOf === undefined ? route : options.routeOf(delivery, route);
      },
    });
    const deliver = attempts.deliver.bind(attempts);
    const counted: Pick<Attempts, 'deliver' | 'isOvertaken'> = {
      async deliver(group, room) {
        process.underWay += 1;
        const [claim, ...others] = group;
        const known = options.isForgotten?.() === true ? { ...claim, body: null } : claim;
        return deliver([known, ...others], room).finally(() => (process.underWay -= 1));
      },
      isOvertaken: async (delivery) => options.isOvertaken?.(delivery) ?? false,
    };
    Object.assign(attempts, counted);
    processes.set(name, process);
    return process;
  }

  /** Plans an event about an endpoint to the operators' endpoint, if there is one. */
  function planEvent({ type, data }: { type: SentEventType; data: object }) {
    const { operatorEndpoint = null } = options;
    const id = `evt_${newMark()}`;
    const about = { source: '', runId: '' };
    return {
      id,
      body: JSON.stringify({ id, type, data }),
      deliveries:
        operatorEndpoint === null ? [] : [newDelivery(about, { id, type }, operatorEndpoint, time)],
    };
  }

  /** Attempts that do not wait for an answer. */
  const atWork = () =>
    [...processes.values()].reduce((sum, { underWay }) => sum + underWay, 0) - open.size;

  async function quiesce(): Promise<void> {
    let calm = 0;
    const patience = Date.now() + PATIENCE_MS;
    while (calm < 3) {
      if (Date.now() > patience) throw new Error(`${atWork()} attempts do not end`);
      const before = sent.length + open.size;
      await stores.redis.ping();
      await new Promise(setImmediate);
      calm = atWork() <= 0 && before === sent.length + open.size ? calm + 1 : 0;
    }
    if (errors.length > 0) throw new Error('a step failed', { cause: errors[0] });
  }

  const control = startProcess('a').deliverer.process;

  const rig = {
    ...stores,
    limits,
    retry,
    /** Every request so far, oldest first. */
    sent: sent as readonly Sent[],
    /** Requests without an answer so far. */
    open: () => [...open],
    /** Log lines about endpoints. */
    endpointEvents,
    now,
    replay,
    /** Redelivers as another process would, over its view of the store. */
    replayOver,
    startProcess,

    /** The id of a new run. */
    newRun(): string {
      runCount += 1;
      return `run-${runCount}`;
    },

    /** Plans deliveries of one run to an endpoint, as one poll would; returns their ids. */
    async plan(runId: string, endpoint: string, types: SentEventType[]): Promise<string[]> {
      const key = { source: 'default', runId };
      const before = await stores.watches.get(key);
      const watch = before?.watch ?? newWatch({ runId });
      // The first planned delivery is due first.
      turnClock(1);
      const planned = types.map((type) => {
        eventCount += 1;
        return newDelivery(key, { id: `evt_${eventCount}`, type }, endpoint, time);
      });
      const makeEvent = options.eventOf ?? eventOf;
      const events = planned.map(({ eventId, eventType }) => makeEvent(eventId, eventType, runId));
      const change = { before, after: watch, events, deliveries: planned };
      if ((await stores.watches.commit(change)) === null)
        throw new Error('the watch was written by another process');
      return planned.map(({ id }) => id);
    },

    /** Lets one process sweep the due index until nothing changes any more. */
    async settle(name = 'a'): Promise<void> {
      const process = processes.get(name);
      if (process === undefined) throw new Error(`no process ${name}`);
      let before: number;
      do {
        before = sent.length;
        await process.deliverer.relay.sweep();
        await quiesce();
      } while (sent.length > before);
    },

    /** Lets a process look for due deliveries once, without a wait for what it finds. */
    sweep: (name = 'a') => processes.get(name)?.deliverer.relay.sweep(),

    /** Waits for running work, and starts none. */
    quiesce,

    /** Answers every open request, including later ones, until none is open. */
    async answerAll(answer: Answer | ((sent: Sent) => Answer), name = 'a'): Promise<void> {
      await rig.settle(name);
      while (open.size > 0) {
        for (const one of open) one.answer(typeof answer === 'function' ? answer(one) : answer);
        await rig.settle(name);
      }
    },

    /** Kills a process: it gets no more answers, and its claims have no owner for a while. */
    kill(name: string): void {
      const process = processes.get(name);
      if (process === undefined) return;
      process.isAlive = false;
      void process.deliverer.relay.close();
      for (const one of [...open].filter((each) => each.process === name)) open.delete(one);
      processes.delete(name);
    },

    /** Advances the clock, and expires keys in Redis with it. */
    async advance(ms: number): Promise<void> {
      turnClock(ms);
      const volatile = (await stores.keysLeft()).filter((key) =>
        /:(probe|hold|held|slots):/.test(key),
      );
      for (const key of volatile) {
        const left = (await redis.pttl(key)) / LASTS_TIMES - ms;
        if (left <= 0) await redis.del(key);
        else await redis.pexpire(key, Math.ceil(left * LASTS_TIMES));
      }
    },

    /** Has a process take over the claims of a dead one. */
    takeOver: (name: string, dead: string) => processes.get(name)?.deliverer.claims.takeOver(dead),

    /** Sets the store's clock forward, which processes do not follow. */
    stepClock(ms: number): void {
      lead += ms;
      turnClock(0);
    },

    /** Takes the step out of the store's clock, and has a process react. */
    async takeOutStep(name: string): Promise<void> {
      const step = { ms: lead, from: time + lead };
      lead = 0;
      turnClock(0);
      await processes.get(name)?.deliverer.claims.moveBack(step);
    },

    /** Takes out of all clocks by how much they are ahead, and has a process react. */
    async takeOutLead(name: string, ms: number): Promise<void> {
      turnClock(-ms);
      await processes.get(name)?.deliverer.claims.moveBack({ ms, from: time });
    },

    /** Has a process release claims that the store ascribes to it but it does not hold. */
    tend: (name: string) => processes.get(name)?.deliverer.claims.tend(),

    /** Stops a process gracefully. */
    stop: (name: string) => processes.get(name)?.deliverer.relay.close(),

    /** Requests that the given deliveries be redelivered, as a range is. */
    requestReplays(ids: string[], to?: string): Promise<void> {
      const numbered = ids.map((id, at) => ({ id, number: String(at) }));
      return outbox.requestReplays(numbered, to);
    },

    /** Redelivers the given deliveries, to another endpoint if one is named. */
    async replayMany(ids: string[], to?: string): Promise<void> {
      await rig.requestReplays(ids, to);
      await replay.replayRequested(new AbortController().signal);
    },

    turn: (receiver: string, by: (state: EndpointState) => EndpointState) =>
      changeEndpoint(control, receiver, by),

    async retryAll(receiver: string): Promise<number> {
      isRetried = true;
      return retryEndpoint(control, receiver);
    },

    /** Whether deliveries may be due before their documents say so. */
    isRetried: () => isRetried,

    async state(receiver: string): Promise<EndpointState> {
      return (await endpointStates.get(receiver)).state;
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

/** An event with the fields that the stores and the receivers here read. */
function eventOf(id: string, type: SentEventType, runId: string): RunwatchEvent {
  const watch = { source: 'default', metadata: {}, registered_at: '2026-01-01T00:00:00.000Z' };
  return { id, type, data: { run_id: runId, run: null, watch } } as unknown as RunwatchEvent;
}

function outcomeOf(answer: Answer, at: number): AttemptOutcome {
  if (answer === 'ok') return { kind: 'delivered', attempt: attemptOf(200, at) };
  if (answer === 'reject') return { kind: 'rejected', attempt: attemptOf(400, at) };
  if (answer === 'gone') return { kind: 'refused', attempt: attemptOf(410, at) };
  if (answer === 'timeout') {
    const error = { code: 'timeout', message: 'no answer' };
    return { kind: 'failed', attempt: { ...attemptOf(200, at), status: null, error } };
  }
  if (answer === 'fail') return { kind: 'failed', attempt: attemptOf(500, at) };
  if ('status' in answer) return { kind: 'failed', attempt: attemptOf(answer.status, at) };
  return { kind: 'throttled', attempt: attemptOf(429, at), ...answer };
}

function attemptOf(status: number, at: number): Attempt {
  const error = status < 300 ? null : { code: 'status', message: `answered ${status}` };
  return { at, status, error, durationMs: 0, response: null };
}
