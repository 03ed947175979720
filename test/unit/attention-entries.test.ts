import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SEVERITIES } from '../../src/core/alert/rule.ts';
import { groupBy, sum } from '../../src/core/arrays.ts';
import {
  ATTENTION_KINDS,
  byWeight,
  entriesOfRuns,
  joinedByEndpoint,
  SEVERITY_OF,
  WATCH_ATTENTION,
  type AttentionItem,
  type NeedingRun,
} from '../../src/core/attention.ts';
import { NOON } from '../support/builders.ts';

/** Few times, so that many are equal. */
const since = fc.integer({ min: NOON, max: NOON + 5 });

const anyItem: fc.Arbitrary<AttentionItem> = fc.record({
  kind: fc.constantFrom(...ATTENTION_KINDS),
  severity: fc.constantFrom(...SEVERITIES),
  count: fc.integer({ min: 1, max: 30 }),
  since,
  message: fc.constant('it needs a person'),
});

const anyCause = fc.record({
  kind: fc.constantFrom(...WATCH_ATTENTION),
  source: fc.constantFrom('default', 'eu'),
  workflowId: fc.constantFrom(null, 'null', 'wf-1'),
  acknowledged: fc.constantFrom(
    null,
    { by: 'ana', comment: null, at: NOON, until: null },
    { by: 'ana', comment: 'on it', at: NOON + 1, until: NOON + 9 },
    { by: 'bob', comment: null, at: NOON, until: null },
  ),
});

const anyAbout = fc.record({
  since,
  message: fc.constantFrom('the run waits for a human', 'no such run'),
  runUrl: fc.constantFrom(null, 'https://app.example.com/run'),
  workflowName: fc.constantFrom(null, 'Invoices'),
});

/** Runs of few causes, so that some have more than an entry lists. */
const anyRuns: fc.Arbitrary<NeedingRun[]> = fc
  .array(anyCause, { minLength: 1, maxLength: 6 })
  .chain((causes) =>
    fc.array(fc.tuple(fc.constantFrom(...causes), anyAbout), { maxLength: 50, size: 'max' }),
  )
  .map((all) => all.map(([cause, about], at) => ({ ...cause, ...about, runId: `run-${at}` })));

/** Items, and the same ones in another order. */
const twice = <Item>(items: fc.Arbitrary<Item[]>) =>
  items.chain((all) =>
    fc.tuple(
      fc.constant(all),
      fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length }),
    ),
  );

/** What an entry of runs is about. */
const causeOf = ({ kind, source, workflowId, acknowledged }: AttentionItem | NeedingRun) =>
  JSON.stringify([kind, source, workflowId, acknowledged?.by]);

test('entries stand by severity, then by age, and equal ones as they came', () => {
  const weightOf = (item: AttentionItem) => [SEVERITIES.indexOf(item.severity), item.since];
  fc.assert(
    fc.property(twice(fc.array(anyItem, { maxLength: 30 })), ([items, shuffled]) => {
      const sorted = items.toSorted(byWeight);
      expect(shuffled.toSorted(byWeight).map(weightOf)).toEqual(sorted.map(weightOf));
      for (const [at, item] of sorted.entries()) {
        for (const later of sorted.slice(at + 1)) {
          const [one, other] = [weightOf(item), weightOf(later)];
          const isEqual = one.join() === other.join();
          expect(Math.sign(byWeight(item, later))).toBe(isEqual ? 0 : -1);
          expect(Math.sign(byWeight(later, item))).toBe(isEqual ? 0 : 1);
          if (isEqual) expect(items.indexOf(item)).toBeLessThan(items.indexOf(later));
        }
      }
    }),
  );
});

test('runs are one entry for each cause, which counts them and lists the longest twenty', () => {
  fc.assert(
    fc.property(anyRuns, (runs) => {
      const entries = entriesOfRuns(runs);
      const groups = groupBy(runs, causeOf);
      expect(entries.map(causeOf).toSorted()).toEqual([...groups.keys()].toSorted());
      expect(sum(entries.map(({ count }) => count))).toBe(runs.length);
      for (const entry of entries) {
        const own = (groups.get(causeOf(entry)) ?? []).toSorted((a, b) => a.since - b.since);
        const [longest] = own;
        expect(entry).toMatchObject({
          count: own.length,
          since: longest?.since,
          severity: SEVERITY_OF[entry.kind as NeedingRun['kind']],
        });
        const listed = entry.runs ?? [
          { runId: entry.runId, runUrl: entry.runUrl, since: entry.since },
        ];
        expect(listed).toEqual(
          own.slice(0, 20).map(({ runId, runUrl, since: at }) => ({ runId, runUrl, since: at })),
        );
        expect([entry.runId !== undefined, entry.runs === undefined]).toEqual(
          own.length === 1 ? [true, true] : [false, false],
        );
        if (own.length === 1) expect(entry.message).toBe(longest?.message);
        else expect(entry.message).toMatch(new RegExp(`^${own.length} runs `));
      }
    }),
  );
});

test('the order in which runs are read changes no entry', () => {
  const essence = (entry: AttentionItem) => [causeOf(entry), entry.count, entry.since];
  fc.assert(
    fc.property(twice(anyRuns), ([runs, shuffled]) => {
      const sorted = (all: NeedingRun[]) => entriesOfRuns(all).map(essence).map(String).toSorted();
      expect(sorted(shuffled)).toEqual(sorted(runs));
    }),
  );
});

const anyPart: fc.Arbitrary<AttentionItem> = fc
  .record({
    kind: fc.constantFrom('endpoint', 'dead', 'parked'),
    endpoint: fc.constantFrom('ops', 'audit', 'https://hooks.example.com/…'),
    amount: fc.integer({ min: 0, max: 9 }),
    since,
  })
  .map(({ kind, endpoint, amount, since: at }) => ({
    kind,
    severity: SEVERITY_OF[kind],
    count: amount,
    since: at,
    message: `${kind} ${amount}`,
    endpoint,
    deliveries: kind === 'dead' ? { waiting: 0, dead: amount } : { waiting: amount, dead: 0 },
  }));

const HEAVIEST = ['endpoint', 'dead', 'parked'] as const;

test('an endpoint is one entry of its heaviest kind, with all that waits and all that was given up', () => {
  const partsOfEndpoints = fc.uniqueArray(anyPart, {
    selector: ({ kind, endpoint }) => `${kind} ${endpoint}`,
  });
  fc.assert(
    fc.property(partsOfEndpoints, (parts) => {
      const entries = joinedByEndpoint(parts);
      const groups = groupBy(parts, ({ endpoint }) => endpoint);
      expect(entries.map(({ endpoint }) => endpoint)).toEqual([...groups.keys()]);
      for (const entry of entries) {
        const own = groups.get(entry.endpoint) ?? [];
        const amount = (...kinds: string[]) =>
          Math.max(0, ...own.filter(({ kind }) => kinds.includes(kind)).map(({ count }) => count));
        const [waiting, dead] = [amount('endpoint', 'parked'), amount('dead')];
        const kind = HEAVIEST.find((one) => own.some((part) => part.kind === one)) ?? 'batch';
        expect(entry).toEqual({
          kind,
          severity: SEVERITY_OF[kind],
          endpoint: entry.endpoint,
          // An endpoint counts what is parked, too: it is not counted twice.
          deliveries: { waiting, dead },
          count: waiting + dead,
          since: Math.min(...own.map((part) => part.since)),
          message: own.map(({ message }) => message).join('; '),
        });
      }
    }),
  );
});

test.each([
  ['awaiting', '1,234 runs wait for a human'],
  ['stalled', '1,234 runs have stalled'],
  ['gone', '1,234 runs are gone'],
  ['unreachable', '1,234 runs have no answer'],
] as const)('many runs that are %s say how many they are', (kind, message) => {
  const run = {
    kind,
    since: NOON,
    message: 'the run needs a person',
    runUrl: null,
    source: 'default',
    workflowId: 'wf-1',
    workflowName: 'Invoices',
    acknowledged: null,
  };
  const runs = Array.from({ length: 1_234 }, (_, at) => ({ ...run, runId: `run-${at}` }));
  expect(entriesOfRuns(runs)).toMatchObject([
    { kind, count: 1_234, message, workflowName: 'Invoices' },
  ]);
});
