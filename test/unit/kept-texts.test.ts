import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { KeptTexts, type KeptText } from '../../src/core/kept-texts.ts';

const MOST = 400_000;

/** A text of this many bytes, or nearly, and how many of the oldest are dropped before. */
const step = fc.record({
  text: fc
    .tuple(fc.constantFrom('a', 'ä', '€', '😀'), fc.integer({ min: 0, max: 8_000 }))
    .map(([character, length]) => character.repeat(length)),
  dropped: fc.array(fc.nat({ max: 200 }), { maxLength: 3 }),
});

test('texts are read as they were put, whatever was dropped meanwhile, and take a bounded room', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 200, maxLength: 400 }), (steps) => {
      const texts = new KeptTexts(MOST);
      const kept: { text: string; place: KeptText }[] = [];
      const held = () => kept.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
      const drop = (at: number) => {
        for (const { place } of kept.splice(at, 1)) texts.drop(place);
      };
      for (const { text, dropped } of steps) {
        for (const at of dropped) drop(at);
        kept.push({ text, place: texts.put(text) });
        while (held() > MOST) drop(0);
      }
      expect(kept.map(({ place }) => texts.read(place))).toEqual(kept.map(({ text }) => text));
      expect(texts.bytes).toBe(held());
      expect(texts.room).toBeLessThanOrEqual(1.5 * MOST);
    }),
    { numRuns: 30 },
  );
});

test('a text that is dropped twice counts once', () => {
  const texts = new KeptTexts(MOST);
  const place = texts.put('twice');
  texts.drop(place);
  texts.drop(place);
  expect(texts.bytes).toBe(0);
});

test('a text that is longer than all may be is kept all the same', () => {
  const texts = new KeptTexts(MOST);
  const long = 'x'.repeat(2 * MOST);
  expect(texts.read(texts.put(long))).toBe(long);
});
