import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { suggest } from '../../src/config/problems.ts';

const KEYS = ['min_interval', 'max_interval', 'profile', 'port'];

test.each([
  ['min_intervall', 'min_interval'],
  ['minInterval', 'min_interval'],
  ['mni_interval', 'min_interval'],
  ['prot', 'port'],
  ['PORT', 'port'],
  ['pr', null],
  ['retention', null],
  ['', null],
])('for the word %s the suggestion is %s', (word, expected) => {
  expect(suggest(word, KEYS)).toBe(expected);
});

test('a word that is itself a candidate is the suggestion', () => {
  const words = fc.uniqueArray(fc.stringMatching(/^[a-z_]{1,12}$/), { minLength: 1 });
  fc.assert(
    fc.property(words, fc.nat(), (candidates, index) => {
      const word = candidates[index % candidates.length] ?? '';
      expect(suggest(word, candidates)).toBe(word);
    }),
  );
});

test('without candidates there is no suggestion', () => {
  expect(suggest('port', [])).toBeNull();
});
