import { afterEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import type { Group } from '../../src/core/alert/group.ts';
import type { Attempt, AttemptOutcome } from '../../src/core/delivery/delivery.ts';
import { poolOf } from '../../src/core/delivery/receiver.ts';
import { afterAttempt, receiverAfter } from '../../src/core/delivery/retry.ts';
import { isOutstanding } from '../../src/core/delivery/state.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { parseWatchId } from '../../src/core/watch/watch.ts';
import {
  isPacked,
  packHistory,
  unpackHistory,
  unpackWatch,
} from '../../src/redis/history-codec.ts';
import { SCHEMA } from '../../src/redis/migrations.ts';
import { eventIdOf } from '../../src/redis/stores/history-plan.ts';
import { IDENTITY_LENGTH } from '../../src/redis/stores/watch-record.ts';
import { observeContext, snapshot } from '../support/builders.ts';
import { Verifier } from '../../src/redis/verify/verifier.ts';
import { askAll, readAnswers } from '../support/recorded-answers.ts';
import { testRedis } from '../support/redis.ts';
import { startStanding, type StandingDaemon } from '../support/standing-daemon.ts';
import { closeConnection } from '../support/stores.ts';

/** What a later version has added to a record. */
const LATER = { later: { by: ['another version', null] } };

/** The document within the record of a live watch. */
const DOC = /\{[^\t]*/;

function extended<Item extends object>(item: Item): Item {
  return { ...item, ...LATER };
}

function extendedText(text: string): string {
  return JSON.stringify(extended(JSON.parse(text) as object));
}

/** The recorded store, each record of which a later version has extended. */
class ExtendedStore {
  /** Says by the name of a record whether it still has what was added; absent ones have been forgotten. */
  readonly records = new Map<string, () => Promise<boolean>>();
  /** Ids of deliveries, and of watches that have ended. */
  readonly deliveries: string[] = [];
  readonly ended: string[] = [];

  private constructor(
    readonly standing: StandingDaemon,
    private readonly redis: Redis,
  ) {}

  static async open(): Promise<ExtendedStore> {
    const target = testRedis();
    const redis = new Redis(target.url);
    const store = new ExtendedStore(await startStanding(target, SCHEMA), redis);
    const own = `{${target.prefix}}:`;
    for (const key of (await redis.keys(`${own}*`)).sort()) {
      const [kind = '', ...name] = key.slice(own.length).split(':');
      await store.extend(kind, key, name.join(':'));
    }
    return store;
  }

  async close(): Promise<void> {
    await this.standing.stop();
    await closeConnection(this.redis);
  }

  /** The records that have lost what was added. */
  async lost(): Promise<string[]> {
    const asked = [...this.records].map(async ([name, isWhole]) =>
      (await isWhole()) ? [] : [name],
    );
    return (await Promise.all(asked)).flat();
  }

  private async extend(kind: string, key: string, name: string): Promise<void> {
    const { redis } = this;
    switch (kind) {
      case 'batch':
      case 'endpoint-state':
      case 'alert-group':
        if (kind === 'alert-group') await this.extendAlert(key);
        // A state that has had no trouble is counts alone.
        if (!(await this.extendHash(key))) return;
        this.keep(`${kind} ${name}`, async () => {
          const [doc = null, later] = await redis.hmget(key, 'doc', 'later');
          // A group that was forgotten and begun anew is another record.
          return kind === 'alert-group' && later === null ? null : doc;
        });
        return kind === 'alert-group' ? undefined : this.keepField(`${kind} ${name}`, key);
      case 'delivery':
        await this.extendHash(key);
        return this.keepDelivery(name);
      case 'attempts':
        for (const [at, text] of (await redis.lrange(key, 0, -1)).entries())
          await redis.lset(key, at, extendedText(text));
        return this.keepAttempts(name);
      case 'event':
        await redis.hset(key, 'body', extendedText((await redis.hget(key, 'body')) ?? ''));
        return this.keepEvent(name);
      case 'alert':
        await redis.set(key, extendedText((await redis.get(key)) ?? ''));
        return this.keep(`alert ${name}`, () => redis.get(key));
      case 'silences':
        for (const [id, text] of Object.entries(await redis.hgetall(key))) {
          await redis.hset(key, id, extendedText(text));
          this.keep(`silence ${id}`, () => redis.hget(key, id));
        }
        return;
      case 'statistics':
        await redis.hset(key, 'later', JSON.stringify(LATER));
        return this.keepField(`statistics ${name}`, key);
      case 'watch':
        return this.extendWatch(key, name);
      default:
    }
  }

  private async extendHash(key: string): Promise<boolean> {
    const doc = await this.redis.hget(key, 'doc');
    if (doc === null) return false;
    await this.redis.hset(key, 'doc', extendedText(doc), 'later', JSON.stringify(LATER));
    return true;
  }

  /** The alert of a group, which stands in the group's document until it resolves. */
  private async extendAlert(key: string): Promise<void> {
    const { alerts } = this.standing.daemon.stores;
    const group = JSON.parse((await this.redis.hget(key, 'doc')) ?? '') as Group;
    if (group.open === null) return;
    const alert = extended(group.open.alert);
    const doc = JSON.stringify({ ...group, open: { ...group.open, alert } });
    await this.redis.hset(key, 'doc', doc);
    this.keep(`alert ${alert.id}`, async () => {
      const now = await alerts.get(alert.id);
      return now && JSON.stringify(now);
    });
  }

  private async extendWatch(key: string, name: string): Promise<void> {
    const { redis } = this;
    const record = (await redis.getBuffer(key)) ?? Buffer.alloc(0);
    if (!isPacked(record)) {
      const text = record.toString();
      if (text[IDENTITY_LENGTH] === '.') this.ended.push(name);
      await redis.set(key, text.replace(DOC, extendedText));
    } else {
      this.ended.push(name);
      const { identity, rest, events, deliveries } = unpackHistory(record);
      const packed = packHistory({
        rest: rest.replace(DOC, extendedText),
        events: events.map((event) => ({ ...event, body: extendedText(event.body) })),
        deliveries: deliveries.map((kept) => ({
          ...kept,
          delivery: extended(kept.delivery),
          attempts: kept.attempts.map(extended),
        })),
      });
      const written = Buffer.concat([Buffer.from(identity), packed]);
      await redis.set(key, written);
      const { packed: sizes } = this.standing.daemon.stores.keys;
      await redis.hincrby(sizes, 'bytes', written.length - record.length);
      for (const { body } of events) this.keepEvent(eventIdOf(body));
      for (const { delivery, attempts } of deliveries) {
        this.keepDelivery(delivery.id);
        if (attempts.length > 0) this.keepAttempts(delivery.id);
      }
    }
    this.keep(`watch ${name}`, async () => {
      const now = await redis.getBuffer(key);
      if (now === null) return null;
      return DOC.exec(isPacked(now) ? unpackWatch(now) : now.toString())?.[0] ?? '';
    });
  }

  private keepDelivery(id: string): void {
    const { stores } = this.standing.daemon;
    this.deliveries.push(id);
    this.keep(`delivery ${id}`, async () => {
      const stored = await stores.deliveries.get(id);
      return stored && JSON.stringify(stored.delivery);
    });
  }

  private keepAttempts(id: string): void {
    const { stores } = this.standing.daemon;
    this.keep(`attempts of ${id}`, async () => {
      const [first = null] = await stores.deliveries.attempts(id);
      return first && JSON.stringify(first);
    });
  }

  private keepEvent(id: string): void {
    this.keep(`event ${id}`, () => this.standing.daemon.stores.events.body(id));
  }

  private keepField(name: string, key: string): void {
    const { redis } = this;
    this.keep(`field of ${name}`, async () => {
      const isThere = (await redis.exists(key)) === 1;
      return isThere ? ((await redis.hget(key, 'later')) ?? '') : null;
    });
  }

  /** @param read gives the text of the record; null where it is forgotten */
  private keep(name: string, read: () => Promise<string | null>): void {
    this.records.set(name, async () => {
      const text = await read();
      return text === null || text.includes(JSON.stringify(LATER).slice(1, -1));
    });
  }
}

interface Page {
  data: { id: string }[];
}

type Act = (store: ExtendedStore) => Promise<void>;

/** Calls the API; what the store does not allow after another act may be refused. */
function call(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Act {
  return async ({ standing }) => {
    const { status, body: answer } = await standing.send(method, path, body);
    if (status >= 500 || status === 400 || status === 422) {
      throw new Error(`${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    }
  };
}

/** Makes an attempt of each outstanding delivery, as the relay writes its result. */
function attempt(kind: 'delivered' | 'failed' | 'refused'): Act {
  return async ({ standing: { daemon }, deliveries }) => {
    const { stores, endpoints } = daemon;
    for (const id of deliveries) {
      const before = await stores.deliveries.get(id);
      if (before === null || !isOutstanding(before.delivery.state)) continue;
      const now = daemon.now();
      const made: Attempt = { at: now, status: 1, error: null, durationMs: 1, response: null };
      const outcome: AttemptOutcome = { kind, attempt: made };
      const how = { now, random: () => 0, covered: 1 };
      const after = afterAttempt(before.delivery, outcome, [1_000], how);
      const endpoint = await stores.endpointStates.get(after.endpoint);
      const result = { outcome, isOurFault: false };
      const { state } = receiverAfter(endpoint.state, after, result, now);
      const shows = { endpoint, stateAfter: state, events: [] };
      const limits = endpoints.limitsOf(poolOf(after.endpoint));
      const step = { before, after, attempt: made, shows, limits, now };
      const written = await stores.outbox.recordAttempt(step);
      // A user may want it sent again, whatever an attempt says.
      if (written === 'delivery' || written === 'endpoint') throw new Error(`${id}: ${written}`);
    }
  };
}

/** Polls all active watches. */
function poll(status: string): Act {
  return async ({ standing: { daemon } }) => {
    const { watches } = daemon.stores;
    for await (const keys of watches.active(10, 'newest')) {
      for (const before of await watches.getMany(keys)) {
        if (before === null) continue;
        const { run: last, runId } = before.watch;
        const run = snapshot({ ...last, id: runId, status, progress: 70 });
        const context = observeContext(daemon.now());
        const { watch, events } = observe(before.watch, { kind: 'run', run }, context);
        await watches.commit({ before, after: watch, events, deliveries: [] });
      }
    }
  };
}

const ALERT = 'alr_7f0aa3440ba1cbffaa76_823f8ebba8';
const WAITING = '582850c9-47ce-4168-9ec5-43e9eaaadfb5';
const by = { by: 'ana', comment: 'seen' };

const ACTS: Readonly<Record<string, Act>> = {
  'acknowledge a run': call('POST', `/v1/watches/${WAITING}/acknowledge`, by),
  'take it back': call('DELETE', `/v1/watches/${WAITING}/acknowledge`),
  'register a run again': call('POST', '/v1/watches', { run_id: WAITING, metadata: { a: 'b' } }),
  'join a batch': call('POST', '/v1/watches', { run_id: WAITING, batch: 'open' }),
  'register again what has ended': async (store) => {
    for (const id of store.ended) {
      const { source, runId } = parseWatchId(id);
      await call('POST', '/v1/watches', { run_id: runId, source, metadata: { a: 'c' } })(store);
    }
  },
  'acknowledge what has ended': async (store) => {
    for (const id of store.ended) {
      const { source, runId } = parseWatchId(id);
      const path = `/v1/watches/${encodeURIComponent(runId)}/acknowledge?source=${source}`;
      await call('POST', path, by)(store);
    }
  },
  poll: poll('running'),
  'poll a failure': poll('failed'),
  'judge alerts': async ({ standing: { daemon } }) => {
    await daemon.alerting.engine.judge();
  },
  'end a watch': call('DELETE', `/v1/watches/${WAITING}`),
  'set up a batch': call('PUT', '/v1/batches/open', { max_failed: 3, endpoints: ['all'] }),
  'close a batch': call('POST', '/v1/batches/open/close'),
  'judge batches': ({ standing }) => standing.daemon.batches.judgeDue(),
  'acknowledge an alert': call('POST', `/v1/alerts/${ALERT}/acknowledge`, by),
  'take that back': call('DELETE', `/v1/alerts/${ALERT}/acknowledge`),
  'resolve an alert': call('POST', `/v1/alerts/${ALERT}/resolve`, by),
  'end a silence': async (store) => {
    for (const name of store.records.keys()) {
      const [, id] = /^silence (.*)/.exec(name) ?? [];
      if (id !== undefined) await call('DELETE', `/v1/silences/${id}`)(store);
    }
  },
  'pause an endpoint': call('POST', '/v1/endpoints/flaky/pause'),
  'resume an endpoint': call('POST', '/v1/endpoints/derived/resume'),
  'resume a disabled endpoint': call('POST', '/v1/endpoints/gone/resume'),
  'retry at an endpoint': call('POST', '/v1/endpoints/flaky/retry'),
  'redeliver what is dead': async (store) => {
    const { data } = (await store.standing.get('/v1/deliveries?state=dead,skipped')).body as Page;
    for (const { id } of data) await call('POST', `/v1/deliveries/${id}/redeliver`)(store);
  },
  deliver: attempt('delivered'),
  'fail to deliver': attempt('failed'),
  'be refused': attempt('refused'),
  'pack what has ended': async ({ standing: { daemon }, ended }) => {
    for (const id of ended) {
      await daemon.stores.history.pack(parseWatchId(id), { isForced: true });
    }
  },
  'make it live again': async ({ standing: { daemon }, ended }) => {
    for (const id of ended) await daemon.stores.history.unpack(parseWatchId(id));
  },
};

let open: ExtendedStore[] = [];
afterEach(async () => {
  await Promise.all(open.map((store) => store.close()));
  open = [];
});

async function openStore(): Promise<ExtendedStore> {
  const store = await ExtendedStore.open();
  open.push(store);
  return store;
}

test('what a later version adds to records is shown of events alone, which are shown as they are sent', async () => {
  const { standing } = await openStore();
  const { connections, stores } = standing.daemon;
  const { problems } = await new Verifier(connections.commands, stores.keys).verify();
  expect(problems).toEqual([]);
  const recorded = await readAnswers(SCHEMA);
  for (const answer of await askAll(standing.get)) {
    const shown = JSON.parse(JSON.stringify(answer), withoutLaterOfEvent) as unknown;
    expect(shown).toEqual(recorded.get(answer.path));
  }
});

function withoutLaterOfEvent(_name: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || !('timestamp' in value)) return value;
  const { later, ...event } = value as unknown as typeof LATER;
  expect({ later }).toEqual(LATER);
  return event;
}

test('what a later version adds to records is kept by every write of this one', async () => {
  const names = fc.constantFrom(...Object.keys(ACTS));
  await fc.assert(
    fc.asyncProperty(fc.array(names, { minLength: 1, maxLength: 12 }), async (acts) => {
      const store = await openStore();
      for (const name of acts) await ACTS[name]?.(store);
      expect(await store.lost()).toEqual([]);
      await store.close();
      open = [];
    }),
    { numRuns: 8, seed: 12, examples: [[Object.keys(ACTS)]] },
  );
});
