import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { newDelivery } from '../../src/core/delivery/delivery.ts';
import { EVENT_TYPES, type EventType } from '../../src/core/event/event.ts';
import {
  deliveryId,
  watchEventId,
  watchOfDelivery,
  watchOfEvent,
} from '../../src/core/event/ids.ts';
import {
  isRunMember,
  pageMember,
  PLAN_MEMBER,
  streamMember,
} from '../../src/core/feed/page-name.ts';
import { givenWorkflow, ID_PATTERN, workflowIdFrom } from '../../src/core/run/id.ts';
import { createLinksOf } from '../../src/core/run/links.ts';
import { parseWatchId, watchId, type WatchKey } from '../../src/core/watch/watch.ts';
import { KnownWatches } from '../../src/daemon/known-watches.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import { packHistory, unpackHistory, unpackWatch } from '../../src/redis/history-codec.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { readWatch, writeRest } from '../../src/redis/stores/watch-record.ts';
import { anyId, ODD_IDS, twoIds } from '../support/any-id.ts';
import { anyText } from '../support/any-text.ts';
import { newMark, newWatch, NOON, snapshot } from '../support/builders.ts';

const source = fc.constantFrom('default', 'eu', 'a', 'A-_9');

const twoWatches: fc.Arbitrary<[WatchKey, WatchKey]> = fc
  .tuple(twoIds, source, source)
  .map(([[one, other], from, to]) => [
    { source: from, runId: one },
    { source: to, runId: other },
  ]);

const eventIdOf = (watch: WatchKey, type: EventType = 'run.failed') =>
  watchEventId({ ...watch, type, registeredAt: NOON, attempt: null, pastEnds: [] }, newMark);

describe('the form of ids', () => {
  test.each(ODD_IDS)('%j is an id', (id) => {
    expect(id).toMatch(ID_PATTERN);
  });

  test.each([
    '',
    ' ',
    'a b',
    'a\n',
    'a\tb',
    'a\u{7f}',
    'é',
    '/',
    '/a',
    'a/',
    'a//b',
    '.',
    '..',
    './a',
    'a/.',
    'a/../b',
    'a/..',
    '%2f',
    'a%2Fb',
    '%5c',
    'a%5Cb',
    'x'.repeat(256),
  ])('%j is no id', (text) => {
    expect(text).not.toMatch(ID_PATTERN);
  });
});

describe('the id of an event of a wide run id', () => {
  test.each([
    ['acme/shop/123', 'evt_failed_~~acme~2fshop~2f123'],
    ['manual__2026-11-28T00:00:00+00:00', 'evt_failed_~~manual__2026-11-28T00~3a00~3a00~2b00~3a00'],
    ['run-1', 'evt_failed_~run-1'],
    ['a..b_c.', 'evt_failed_~a~~b_c~'],
    ['5b0f2f5e-8c1f-4a53-9a39-0f6f0a3f7f11', 'evt_failed_Ww8vXowfSlOaOQ9vCj9_EQ'],
    ['5B0F2F5E-8C1F-4A53-9A39-0F6F0A3F7F11', 'evt_failed_~5B0F2F5E-8C1F-4A53-9A39-0F6F0A3F7F11'],
    ['.a', 'evt_failed_~~~2ea'],
  ])('the end of run %s has the id %s', (runId, id) => {
    expect(eventIdOf({ source: 'default', runId })).toBe(id);
    expect(eventIdOf({ source: 'eu', runId })).toBe(id.replace('failed_', 'failed_eu~'));
  });

  test('an event and a delivery name their watch by characters that URLs, headers and signatures allow', () => {
    fc.assert(
      fc.property(source, anyId, fc.constantFrom(...EVENT_TYPES), (from, runId, type) => {
        const id = eventIdOf({ source: from, runId }, type);
        const delivery = deliveryId(id, 'ops');
        expect(watchOfEvent(id)).toEqual({ source: from, runId });
        expect(watchOfDelivery(delivery)).toEqual({ source: from, runId });
        expect(delivery).toMatch(/^[\w~-]{1,1024}$/);
      }),
    );
  });

  test('two watches never have events or deliveries of one id', () => {
    fc.assert(
      fc.property(twoWatches, ([one, other]) => {
        expect(eventIdOf(one)).not.toBe(eventIdOf(other));
        expect(deliveryId(eventIdOf(one), 'ops')).not.toBe(deliveryId(eventIdOf(other), 'ops'));
      }),
    );
  });
});

describe('keys and members in Redis of wide run ids', () => {
  const keys = createKeys('p');
  const endpoint = fc.constantFrom('ops', 'b', 'https', 'https://h:80/…#0123@eu');

  test('a member of indexes names its watch', () => {
    fc.assert(
      fc.property(source, anyId, (from, runId) => {
        expect(parseWatchId(watchId({ source: from, runId }))).toEqual({ source: from, runId });
      }),
    );
  });

  test('two watches never share a key, whatever their endpoints', () => {
    fc.assert(
      fc.property(
        twoWatches,
        fc.array(endpoint, { minLength: 1, maxLength: 2 }),
        (two, receivers) => {
          const [one, other] = two;
          const [first = '', second = first] = receivers;
          const keysOf = (watch: WatchKey, receiver: string) => [
            keys.watch(watch),
            keys.liveEvents(watchId(watch)),
            keys.liveDeliveries(watchId(watch)),
            keys.ordering({ ...watch, endpoint: receiver }),
            keys.event(eventIdOf(watch)),
          ];
          const all = [...keysOf(one, first), ...keysOf(other, second)];
          expect(new Set(all).size).toBe(all.length);
        },
      ),
    );
  });

  test('no run is taken for a page, a stream or a plan of its schedule', () => {
    fc.assert(
      fc.property(anyId, anyId, fc.nat(), (runId, other, page) => {
        expect(isRunMember(runId)).toBe(true);
        for (const member of [
          PLAN_MEMBER,
          pageMember({ workflowId: other, page }),
          streamMember(other),
        ]) {
          expect(isRunMember(member)).toBe(false);
        }
      }),
    );
  });
});

describe('records of wide run ids', () => {
  test('a packed history has the events and deliveries of its run as they were', () => {
    fc.assert(
      fc.property(anyId, (runId) => {
        const watch = newWatch({ runId, run: snapshot({ id: runId, workflow_id: runId }) });
        const id = eventIdOf(watch);
        const delivery = newDelivery(watch, { id, type: 'run.failed' }, 'ops', NOON);
        const history = {
          rest: writeRest(watch),
          events: [{ place: 1, body: JSON.stringify({ id, data: { run_id: runId } }) }],
          deliveries: [{ number: 1, version: 1, settledAt: NOON, delivery, attempts: [] }],
        };
        const identity = '000000000003 000000000042';
        const record = Buffer.concat([Buffer.from(identity), packHistory(history)]);
        expect(unpackHistory(record)).toEqual({ ...history, identity });
        expect(readWatch(watch, unpackWatch(record)).watch.run).toEqual(watch.run);
      }),
    );
  });

  test('two watches that the store lost are remembered apart', async () => {
    const lost = { absent: async () => [], async *active() {} };
    await fc.assert(
      fc.asyncProperty(twoWatches, async ([one, other]) => {
        const known = new KnownWatches({
          ...lost,
          getMany: async (keysOfLost) => keysOfLost.map(() => null),
        });
        for (const watch of [one, other]) known.note(newWatch(watch));
        expect(await known.missing()).toMatchObject([one, other]);
        known.forget(one);
        expect(known.sample(2)).toEqual([other]);
      }),
    );
  });

  test('what is sealed for one watch opens for no other', () => {
    const sealer = createSealer([Buffer.alloc(32).toString('base64')]);
    fc.assert(
      fc.property(twoWatches, ([one, other]) => {
        const sealed = sealer.seal({ url: 'https://a.example' }, watchId(one));
        expect(sealer.open(sealed, watchId(one))).toEqual({ url: 'https://a.example' });
        expect(() => sealer.open(sealed, watchId(other))).toThrow();
      }),
    );
  });
});

describe('the id of a workflow from what its source calls it', () => {
  const given = fc.oneof(
    anyId,
    anyText({ maxLength: 300 }),
    fc.constantFrom('a b', 'a%20b', 'é', '..', 'a//b', '/a', 'a%2fb', '50%', '\u{d800}'),
  );

  test('the id of a workflow has the form of ids, and one that has it already is kept', () => {
    fc.assert(
      fc.property(given, (text) => {
        expect(workflowIdFrom(text)).toMatch(ID_PATTERN);
      }),
    );
    expect(['acme/shop', 'a:b', '50%'].map(workflowIdFrom)).toEqual(['acme/shop', 'a:b', '50%']);
    expect(['a b', 'é', 'a%20b'].map(workflowIdFrom)).toEqual(['a%20b', '%C3%A9', 'a%2520b']);
  });

  test('a source is asked for a workflow by what it calls it, unless that is no form of an id', () => {
    fc.assert(
      fc.property(given, (text) => {
        const id = workflowIdFrom(text);
        expect(id.startsWith('sha256:') ? text : givenWorkflow(id)).toBe(text.toWellFormed());
      }),
    );
    expect(givenWorkflow('100%ff')).toBe('100%ff');
  });

  test('two workflows never have one id', () => {
    fc.assert(
      fc.property(given, given, (one, other) => {
        fc.pre(one.toWellFormed() !== other.toWellFormed());
        expect(workflowIdFrom(one)).not.toBe(workflowIdFrom(other));
      }),
    );
  });
});

describe('links of wide run ids', () => {
  const watchOf = (runId: string) =>
    newWatch({ runId, run: snapshot({ id: runId, workflow_id: 'a/b', group_id: '../c' }) });
  const urlOf = (template: string, runId: string) =>
    createLinksOf({
      config: {
        sources: { default: { run_url: template } },
        workflows: {},
        server: { public_url: 'https://w.example/x/' },
      },
      learnedName: () => null,
    })(watchOf(runId));

  test('an id keeps its slashes in the path of a link, and nowhere else', () => {
    const template = 'https://a.example/{group_id}/{workflow_id}/{run_id}?r={run_id}#{run_id}';
    expect(urlOf(template, 'x/y:1').runUrl).toBe(
      'https://a.example/..%2Fc/a/b/x/y%3A1?r=x%2Fy%3A1#x%2Fy%3A1',
    );
  });

  test('links lead to the run by whatever id, within the place that the template gives it', () => {
    fc.assert(
      fc.property(anyId, (runId) => {
        const { runUrl, watchUrl } = urlOf('https://a.example/r/{run_id}?q={run_id}', runId);
        const url = new URL(runUrl ?? '');
        expect(decodeURIComponent(url.pathname)).toBe(`/r/${runId}`);
        expect([...url.searchParams]).toEqual([['q', runId]]);
        expect(url.hash).toBe('');
        const [, last = ''] = /\/x\/runs\/default\/([^/]+)$/.exec(watchUrl ?? '') ?? [];
        expect(decodeURIComponent(last)).toBe(runId);
      }),
    );
  });
});
