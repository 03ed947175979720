import { describe, expect, test } from '@jest/globals';
import type { z } from 'zod';
import { misfit } from '../../src/client/answer.ts';
import { namedDelivery } from '../../src/http/schemas/delivery.ts';
import { eventOfAnyType } from '../../src/http/schemas/event.ts';
import { watchOrReceipt, watchSchema } from '../../src/http/schemas/watch.ts';
import { sampleDelivery, sampleEvent, sampleWatch } from '../support/api-samples.ts';

type Answer = [name: string, body: object, schema: z.ZodType];

const ANSWERS: Answer[] = [
  ['a watch', sampleWatch(), watchSchema],
  ['an event', sampleEvent('evt_1'), eventOfAnyType],
  ['a delivery', sampleDelivery(), namedDelivery],
];

type Path = readonly string[];

/** The paths of all fields of which a test says so. */
function pathsOf(value: unknown, isWanted: (value: unknown) => boolean, at: Path = []): Path[] {
  const own = isWanted(value) ? [at] : [];
  if (typeof value !== 'object' || value === null) return own;
  const fields = Object.entries(value);
  return [...own, ...fields.flatMap(([name, one]) => pathsOf(one, isWanted, [...at, name]))];
}

/** A copy in which one field has another value; undefined takes it away. */
function withField(body: object, path: Path, value: unknown): object {
  const copy = structuredClone(body);
  const parent = path.slice(0, -1).reduce<object>((one, name) => Reflect.get(one, name), copy);
  const name = path.at(-1) ?? '';
  if (value === undefined) Reflect.deleteProperty(parent, name);
  else Reflect.set(parent, name, value);
  return copy;
}

const isObject = (value: unknown) =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

describe('answers of a daemon of another version', () => {
  test.each(ANSWERS)(
    '%s with fields that this client does not know fits',
    (_name, body, schema) => {
      for (const path of pathsOf(body, isObject)) {
        const newer = withField(body, [...path, 'newer_field'], { deep: ['new'] });
        // Metadata and counts hold what users name.
        if (path.includes('metadata')) continue;
        expect([path, misfit(newer, schema)]).toEqual([path, null]);
      }
    },
  );

  test.each(ANSWERS)(
    '%s without a field that may be null fits, and has null there',
    (_name, body, schema) => {
      for (const path of pathsOf(body, (value) => value === null)) {
        const older = withField(body, path, undefined);
        expect([path, misfit(older, schema)]).toEqual([path, null]);
        expect(older).toEqual(body);
      }
    },
  );

  test('words that this client does not know fit, also inside of a union', () => {
    const newer = {
      ...sampleWatch(),
      state: 'dreaming',
      subscriptions: [{ queue: 'q' }],
    };
    expect(misfit(newer, watchSchema)).toBeNull();
    expect(misfit(newer, watchOrReceipt)).toBeNull();
  });

  test.each([
    ['of another shape', { hello: 1 }],
    ['that is a list', []],
    ['that is a text', 'hello'],
    ['without its id', withField(sampleWatch(), ['run_id'], undefined)],
    ['with a number for a text', { ...sampleWatch(), source: 7 }],
  ])('an answer %s does not fit, and a reason is given', (_what, body) => {
    expect(misfit(body, watchSchema)).toMatch(/expected/);
  });
});
