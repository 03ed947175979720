import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Endpoints } from '../../src/deliver/endpoints.ts';
import { configSchema } from '../../src/config/schema.ts';
import { matchesWatch, type WatchMatch } from '../../src/core/event/patterns.ts';
import { newWatch, snapshot } from '../support/builders.ts';

const word = fc.constantFrom('a', 'b', 'c', 'constructor', '__proto__', 'toString');
const values = fc.array(word, { minLength: 1, maxLength: 3 });
const metadata = fc.dictionary(word, word, { maxKeys: 4 });
const match: fc.Arbitrary<WatchMatch> = fc.record(
  { workflow_id: values, source: values, metadata: fc.dictionary(word, values, { maxKeys: 3 }) },
  { requiredKeys: [] },
);
const watch = fc.record({
  source: word,
  run: fc.option(fc.record({ workflow_id: word })),
  metadata,
});

describe('what a watch is matched by', () => {
  test('empty conditions match every watch', () => {
    fc.assert(
      fc.property(watch, (one) => {
        expect(matchesWatch(undefined, one)).toBe(true);
        expect(matchesWatch({}, one)).toBe(true);
        expect(matchesWatch({ metadata: {} }, one)).toBe(true);
      }),
    );
  });

  test('all given conditions must match', () => {
    fc.assert(
      fc.property(match, watch, (asked, one) => {
        const { workflow_id, source, metadata: wanted = {} } = asked;
        const parts: WatchMatch[] = [
          { workflow_id },
          { source },
          ...Object.entries(wanted).map(([key, list]) => ({ metadata: { [key]: list } })),
        ];
        expect(matchesWatch(asked, one)).toBe(parts.every((part) => matchesWatch(part, one)));
      }),
    );
  });

  test('one of several values of a condition must match', () => {
    fc.assert(
      fc.property(values, watch, word, (list, one, key) => {
        const some = (of: (value: string) => WatchMatch) =>
          list.some((value) => matchesWatch(of(value), one));
        expect(matchesWatch({ source: list }, one)).toBe(some((value) => ({ source: [value] })));
        expect(matchesWatch({ workflow_id: list }, one)).toBe(
          some((value) => ({ workflow_id: [value] })),
        );
        expect(matchesWatch({ metadata: { [key]: list } }, one)).toBe(
          some((value) => ({ metadata: { [key]: [value] } })),
        );
      }),
    );
  });

  test('conditions compare exactly', () => {
    fc.assert(
      fc.property(watch, (one) => {
        const own = Object.entries(one.metadata).map(([key, value]) => [key, [value]]);
        expect(matchesWatch({ source: [one.source], metadata: Object.fromEntries(own) }, one)).toBe(
          true,
        );
        expect(matchesWatch({ source: [`${one.source} `] }, one)).toBe(false);
        expect(matchesWatch({ workflow_id: [one.run?.workflow_id ?? 'a'] }, one)).toBe(
          one.run !== null,
        );
      }),
    );
  });

  test('a metadata key that the watch lacks matches nothing, whatever its name', () => {
    fc.assert(
      fc.property(word, values, (key, list) => {
        const asked = { metadata: Object.fromEntries([[key, list]]) };
        expect(matchesWatch(asked, newWatch())).toBe(false);
      }),
    );
  });
});

describe('events of a configured endpoint', () => {
  const { wants } = new Endpoints(
    configSchema.parse({
      data_dir: '/d',
      endpoints: {
        billing: {
          type: 'log',
          events: ['run.failed'],
          when: { workflow_id: 'workflow-1', metadata: { team: ['billing', 'ops'] } },
        },
        audit: { type: 'log', events: ['*'] },
      },
    }),
  );
  const seen = newWatch({ run: snapshot(), metadata: { team: 'ops' } });

  test.each([
    ['its events of its watches', 'run.failed', seen, true],
    ['other events', 'run.completed', seen, false],
    ['other watches', 'run.failed', { ...seen, metadata: { team: 'sales' } }, false],
    ['a run of which nothing was seen', 'run.failed', { ...seen, run: null }, false],
  ] as const)('events of an endpoint: %s', (_what, type, one, told) => {
    expect(wants('billing', type, one)).toBe(told);
    expect(wants('audit', type, one)).toBe(true);
  });
});
