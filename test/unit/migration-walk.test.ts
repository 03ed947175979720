import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { createKeys } from '../../src/redis/keys.ts';
import { chunksFrom, UnreadableRecords } from '../../src/redis/migration-walk.ts';
import type { MigratedChunk, Migration, MigrationStep } from '../../src/redis/migrations.ts';

const store = { redis: {} as Redis, keys: createKeys('p') };
const BEGIN = { step: 0, cursor: '', handled: 0 };

/** A step that writes each record of so many bytes by so many commands. */
function rewriting(name: string, records: readonly Size[]): MigrationStep {
  return {
    name,
    frees: false,
    bytesEach: 0,
    count: async () => records.length,
    async next(_store, cursor, most) {
      const from = Number(cursor);
      const some = records.slice(from, from + most);
      const end = from + some.length;
      return {
        cursor: end < records.length ? String(end) : null,
        handled: some.length,
        writes: some.flatMap(({ bytes, commands }, at) =>
          Array.from(
            { length: commands },
            () => ['SET', `${from + at}`, Buffer.alloc(bytes)] as const,
          ),
        ),
        unreadable: [],
      };
    },
  };
}

interface Size {
  bytes: number;
  commands: number;
}

const size = fc.oneof(
  { weight: 8, arbitrary: fc.record({ bytes: fc.nat(2_000), commands: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ bytes: fc.nat(700_000), commands: fc.constant(1) }) },
  { weight: 1, arbitrary: fc.record({ bytes: fc.constant(1), commands: fc.nat(400) }) },
);

/** Runs of alike records, as a store has them. */
const records = fc
  .array(fc.tuple(size, fc.integer({ min: 1, max: 300 })), { maxLength: 4 })
  .map((runs) => runs.flatMap(([one, count]) => Array.from({ length: count }, () => one)));

function bytesOf({ writes }: MigratedChunk): number {
  return writes.reduce((all, [, , value]) => all + (value as Buffer).length, 0);
}

test('chunks of a migration have every record once, in order, and no more of them than Redis writes at once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(records, { minLength: 1, maxLength: 3 }), async (steps) => {
      const named = steps.map((some, at) => rewriting(`${at}`, some));
      const migration: Migration = { from: '1', to: '2', steps: named };
      const handled = steps.map(() => 0);
      for await (const { step, place, chunk } of chunksFrom(store, migration, BEGIN)) {
        expect(step).toBe(named[place.step]);
        expect(Number(place.cursor)).toBe(handled[place.step]);
        expect(place.handled).toBe(handled[place.step]);
        expect(handled.slice(place.step + 1).every((count) => count === 0)).toBe(true);
        handled[place.step]! += chunk.handled;
        if (chunk.handled <= 1) continue;
        expect(chunk.writes.length).toBeLessThanOrEqual(256);
        expect(bytesOf(chunk)).toBeLessThanOrEqual(262_144 + chunk.writes.length * 10);
      }
      expect(handled).toEqual(steps.map((some) => some.length));
    }),
    { numRuns: 40 },
  );
});

test('chunks of small records become larger, so that a migration has few of them', async () => {
  const many = Array.from({ length: 10_000 }, () => ({ bytes: 100, commands: 1 }));
  let chunks = 0;
  const migration: Migration = { from: '1', to: '2', steps: [rewriting('a', many)] };
  for await (const { chunk } of chunksFrom(store, migration, BEGIN))
    chunks += chunk.handled > 0 ? 1 : 0;
  expect(chunks).toBeLessThan(200);
});

test('a migration goes on from its place', async () => {
  const many = Array.from({ length: 50 }, () => ({ bytes: 1, commands: 1 }));
  const steps = [rewriting('a', many), rewriting('b', many)];
  const from = { step: 1, cursor: '40', handled: 40 };
  const places = [];
  for await (const { place } of chunksFrom(store, { from: '1', to: '2', steps }, from)) {
    places.push(place);
  }
  expect(places).toEqual([from]);
});

test('of records that cannot be read, the first 20 are named and all are counted', () => {
  const found = new UnreadableRecords();
  const some = Array.from({ length: 15 }, (_, at) => ({ key: `${at}`, why: 'torn' }));
  expect(found.add(some)).toHaveLength(15);
  expect(found.add(some)).toHaveLength(5);
  expect(found.add(some)).toHaveLength(0);
  expect([found.named.length, found.count]).toEqual([20, 45]);
});
