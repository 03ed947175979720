import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { KeptTexts, type KeptText } from '../../src/core/kept-texts.ts';

const MOST = 200_000;

/** A text of this many bytes, or nearly, and how many of the oldest are dropped before. */
const step = fc.record({
  text: fc
    .tuple(fc.constantFrom('a', 'ä', '€', '😀'), fc.integer({ min: 0, max: 4_000 }))
    .map(([character, length]) => character.repeat(length)),
  dropped: fc.array(fc.nat({ max: 200 }), { maxLength: 3 }),
});

test('texts are read as they were put, whatever was dropped meanwhile, and take a bounded room', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 100, maxLength: 200 }), (steps) => {
      const texts = new KeptTexts(MOST);
      const kept: { text: string; place: KeptText }[] = [];
      const held = () => kept.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
      const drop = (at: number) => {
        for (const { place } of kept.splice(at, 1)) texts.drop(place);
      };
      for (const { text, dropped } of steps) {
        for (const at of dropped) drop(at);
        while (held() + Buffer.byteLength(text) > MOST) drop(0);
        kept.push({ text, place: texts.put(text) });
        expect(texts.used).toBeLessThanOrEqual(Math.max(65_536, Math.min(2 * held(), 1.5 * MOST)));
      }
      expect(kept.map(({ place }) => texts.read(place))).toEqual(kept.map(({ text }) => text));
      expect(texts.bytes).toBe(held());
    }),
    { numRuns: 10 },
  );
});

test('a text that is dropped twice counts once', () => {
  const texts = new KeptTexts(MOST);
  const place = texts.put('twice');
  texts.drop(place);
  texts.drop(place);
  expect(texts.bytes).toBe(0);
});

test('texts that are more than may be are refused', () => {
  const texts = new KeptTexts(MOST);
  const place = texts.put('x'.repeat(MOST));
  expect(() => texts.put('x')).toThrow('200001 bytes of texts, of 200000');
  texts.drop(place);
  expect(texts.read(texts.put('x'))).toBe('x');
});
