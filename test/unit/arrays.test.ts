import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { chunksOf, mapInChunks } from '../../src/core/arrays.ts';

const items = fc.array(fc.integer());
const size = fc.integer({ min: 1, max: 12 });

test('chunks hold all items in their order, as many each as fit', () => {
  fc.assert(
    fc.property(items, size, (all, most) => {
      const chunks = [...chunksOf(all, most)];
      expect(chunks.flat()).toEqual(all);
      expect(chunks.slice(0, -1).every(({ length }) => length === most)).toBe(true);
      expect(chunks.every(({ length }) => length > 0 && length <= most)).toBe(true);
    }),
  );
});

test('a step for each item is made so many at a time, and its results keep their order', async () => {
  await fc.assert(
    fc.asyncProperty(items, size, async (all, most) => {
      let underWay = 0;
      const doubled = await mapInChunks(all, most, async (one) => {
        underWay += 1;
        expect(underWay).toBeLessThanOrEqual(most);
        await Promise.resolve();
        underWay -= 1;
        return 2 * one;
      });
      expect(doubled).toEqual(all.map((one) => 2 * one));
    }),
  );
});
