import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { newBatch } from '../../src/core/batch.ts';
import { auditDetails, type AuditFilter, type AuditRecord } from '../../src/core/audit.ts';
import { pause } from '../../src/core/delivery/endpoint-state.ts';
import { acknowledgeRun } from '../../src/watches/acknowledge.ts';
import { newWatch, NOON } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { audit, redis, keys } = stores;
afterAll(() => stores.close());
beforeEach(async () => void (await redis.del(...(await stores.keysLeft()), 'none')));

const limits = { most: 4, rate: null, deadlineMs: 15_000 };

function record(changes: Partial<AuditRecord> = {}): AuditRecord {
  const what = { action: 'endpoint.pause', target: 'ops', sources: [], details: {} } as const;
  return { id: 'aud_1', at: NOON, by: 'ops', via: 'api', ...what, ...changes };
}

const actions = async () =>
  (await audit.list({}, { limit: 200 })).items.map(({ action }) => action);

/** All records that a filter leaves, page by page. */
async function pagesOf(filter: AuditFilter, limit: number): Promise<AuditRecord[]> {
  const all: AuditRecord[] = [];
  let cursor: string | undefined;
  do {
    const page = await audit.list(filter, { limit, cursor });
    expect(page.items.length).toBeLessThanOrEqual(limit);
    all.push(...page.items);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return all;
}

describe('the audit log', () => {
  const someRecords = fc.array(
    fc.record({
      // Several have the same time.
      at: fc.integer({ min: NOON, max: NOON + 4 }),
      by: fc.constantFrom('ops', 'ci', null),
      sources: fc.constantFrom<string[]>([], ['default'], ['eu'], ['default', 'eu']),
    }),
    { maxLength: 30 },
  );
  const someFilter = fc.record(
    {
      since: fc.integer({ min: NOON - 1, max: NOON + 5 }),
      until: fc.integer({ min: NOON - 1, max: NOON + 5 }),
      by: fc.constantFrom('ops', 'ci'),
      sources: fc.constantFrom<string[]>(['default'], ['default', 'eu'], ['nowhere']),
    },
    { requiredKeys: [] },
  );

  test('pages of any size list the records that a filter leaves, newest first, each once', async () => {
    await fc.assert(
      fc.asyncProperty(
        someRecords,
        someFilter,
        fc.integer({ min: 1, max: 7 }),
        async (given, filter, limit) => {
          await redis.del(keys.audit);
          const all = given.map((one, at) => record({ ...one, id: `aud_${1_000 + at}` }));
          for (const one of all) await audit.append(one);
          const { since = -Infinity, until = Infinity, by, sources } = filter;
          const expected = all
            .filter((one) => one.at >= since && one.at < until)
            .filter((one) => by === undefined || one.by === by)
            .filter(
              (one) =>
                sources === undefined ||
                (one.sources.length > 0 && one.sources.every((name) => sources.includes(name))),
            )
            .toSorted((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1));
          expect(await pagesOf(filter, limit)).toEqual(expected);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('the newest 10,000 records are kept', async () => {
    const old = Array.from({ length: 10_000 }, (_, at) => [NOON + at, `{"id":"aud_${at}"}`]);
    await redis.zadd(keys.audit, ...(old.flat() as [number, string]));
    await audit.append(record({ id: 'aud_new', at: NOON + 10_000 }));
    expect(await redis.zcard(keys.audit)).toBe(10_000);
    expect(await redis.zscore(keys.audit, '{"id":"aud_0"}')).toBeNull();
    expect((await audit.list({}, { limit: 1 })).items).toMatchObject([{ id: 'aud_new' }]);
  });

  test('retention forgets records from before a time', async () => {
    for (const at of [NOON, NOON + 1, NOON + 2]) await audit.append(record({ id: `a${at}`, at }));
    expect(await audit.forget(NOON + 1)).toBe(1);
    expect((await pagesOf({}, 10)).map(({ at }) => at)).toEqual([NOON + 2, NOON + 1]);
  });

  test('a record that is replaced says more, and one that was forgotten meanwhile stays away', async () => {
    const [asked, other] = [record(), record({ id: 'aud_2' })];
    await audit.append(asked);
    const answered = { ...asked, details: { outcome: 'asked' } };
    await audit.replace(asked, answered);
    await audit.replace(other, { ...other, details: { outcome: 'asked' } });
    expect(await pagesOf({}, 10)).toEqual([answered]);
  });

  test('a cursor of a store that has lost data since is refused', async () => {
    for (const id of ['a', 'b']) await audit.append(record({ id }));
    const { nextCursor } = await audit.list({}, { limit: 1 });
    await redis.set(keys.epochs, 'another1');
    const read = audit.list({}, { limit: 1, cursor: nextCursor ?? '' });
    await expect(read).rejects.toMatchObject({ code: 'stale_cursor' });
  });
});

describe('a step that another process came before', () => {
  test('writes neither the state of an endpoint nor a record', async () => {
    const read = await stores.endpointStates.get('ops');
    const step = { limits, now: NOON };
    const first = { ...step, audit: record() };
    expect(await stores.endpointStates.write(read, pause(read.state), first)).toBe(true);
    const late = { ...step, audit: record({ id: 'aud_2' }) };
    expect(await stores.endpointStates.write(read, pause(read.state), late)).toBe(false);
    expect(await actions()).toEqual(['endpoint.pause']);
  });

  test('writes neither a rotated secret nor a record', async () => {
    const rotated = record({ action: 'endpoint.rotate' });
    expect(await stores.endpointSecrets.replace('ops', null, 'v1.one', rotated)).toBe(true);
    const late = record({ id: 'aud_2', action: 'endpoint.rotate' });
    expect(await stores.endpointSecrets.replace('ops', null, 'v1.two', late)).toBe(false);
    expect(await actions()).toEqual(['endpoint.rotate']);
  });

  test('writes neither the end of a silence nor a record', async () => {
    const about = { id: 'sil_1', matchers: {}, by: 'ana', comment: '', key: null };
    const silence = { ...about, startsAt: NOON, until: NOON + 9_000, createdAt: NOON };
    await stores.silences.add(silence, record({ action: 'silence.add' }));
    await stores.silences.add(silence, record({ id: 'aud_2', action: 'silence.add' }));
    const expire = (id: string) =>
      stores.silences.replace(
        silence,
        { ...silence, until: NOON },
        record({ id, action: 'silence.expire' }),
      );
    expect([await expire('aud_3'), await expire('aud_4')]).toEqual([true, false]);
    expect(await actions()).toEqual(['silence.expire', 'silence.add']);
  });

  test('writes neither the end of a batch nor a record', async () => {
    const batch = newBatch('mark', { sources: null, name: 'nightly' }, NOON);
    expect(await stores.batches.begin(batch, '')).toBe(true);
    const read = (await stores.batches.read(batch.id))!;
    const close = (id: string) =>
      stores.batches.replace(
        read,
        { ...batch, state: 'closed', closedBy: 'closed' },
        record({ id, action: 'batch.close' }),
      );
    expect([await close('aud_1'), await close('aud_2')]).toEqual([true, false]);
    for (const id of ['aud_3', 'aud_4']) {
      await stores.batches.forget(batch, record({ id, at: NOON + 1, action: 'batch.delete' }));
    }
    expect(await actions()).toEqual(['batch.delete', 'batch.close']);
  });
});

test('an acknowledgement of a packed run leaves it packed, and a purge leaves its record', async () => {
  const key = { source: 'default', runId: 'run-1' };
  const after = newWatch({ ...key, state: 'finished', endedAt: NOON });
  await stores.watches.commit({ before: null, after, events: [], deliveries: [] });
  expect(await stores.history.pack(key)).toBe('packed');
  const acknowledged = record({ action: 'run.acknowledge' });
  const process = testProcess({ stores, now: () => NOON });
  await acknowledgeRun(process, key, { by: 'ana', comment: null, until: null }, acknowledged);
  expect(await stores.watches.get(key)).toMatchObject({ isPacked: true });
  const purged = record({ id: 'aud_2', at: NOON + 1, action: 'run.purge' });
  expect(await stores.retention.forget(key, { audit: purged })).toBe('forgotten');
  expect(await actions()).toEqual(['run.purge', 'run.acknowledge']);
});

test('details leave out what was not given, and cut long texts between characters', () => {
  const long = `${'x'.repeat(498)}😀${'y'.repeat(10)}`;
  const { text, ...others } = auditDetails({
    comment: null,
    until: undefined,
    to: 'ops',
    text: long,
  });
  expect(others).toEqual({ to: 'ops' });
  expect(text).toBe(`${'x'.repeat(498)}…`);
});
