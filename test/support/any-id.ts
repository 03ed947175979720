import fc from 'fast-check';
import { ID_PATTERN } from '../../src/core/run/id.ts';

/** Ids as other APIs give them, and what separators, marks and escapes of ours are made of. */
export const ODD_IDS = [
  'manual__2026-11-28T00:00:00+00:00',
  'daily.report/manual__2026-11-28T00:00:00+00:00',
  'acme/shop/123',
  'acme/shop/1234',
  'acme/shop',
  'arn:aws:states:eu-west-1:123456789012:execution:flow:run-1',
  'subscriptions/s/providers/Microsoft.X/operations/1?api-version=2026-01-01',
  '5B0F2F5E-8C1F-4A53-9A39-0F6F0A3F7F11',
  '5b0f2f5e-8c1f-4a53-9a39-0f6f0a3f7f11',
  '~',
  '~list',
  '~1/a',
  '~run/a',
  '~~a',
  'a~2e',
  'a.b',
  'a~b',
  'a..b',
  'a.',
  '.a',
  '...',
  '-a',
  '_a_',
  '__proto__',
  'constructor',
  '%',
  '%41',
  '100%',
  '%2e%2e',
  'a,b',
  'a+b',
  'a=b&c=d',
  'a?b#c',
  'a:ops',
  'a:https',
  'a@b',
  '"\'',
  '<b>&amp;</b>',
  '<@U123>|x',
  '*a*',
  '`a`',
  ':100:',
  '{{DATE(2026-01-01T00:00:00Z,SHORT)}}',
  '[a](b)',
  '\\',
  '\\n',
  '*',
  '?[a-z]*',
  '"probeAt":1',
  '"runId":""',
  '123',
  'x'.repeat(255),
  `${'~'.repeat(254)}a`,
] as const;

const LETTERS = Array.from({ length: 0x7f - 0x21 }, (_, at) => String.fromCharCode(0x21 + at));
const MARKS = ['/', ':', '~', '%', '"', "'", '<', '>', '&', '\\', ',', '@', '+', '.', '_', '-'];

const letter = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...LETTERS) },
  { weight: 2, arbitrary: fc.constantFrom(...MARKS) },
  { weight: 1, arbitrary: fc.constantFrom('a', 'b', '1') },
);

const made = (maxLength: number) =>
  fc.string({ unit: letter, minLength: 1, maxLength }).filter((text) => ID_PATTERN.test(text));

/** Any id of the form that all sources share. */
export const anyId: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...ODD_IDS),
  fc.uuid(),
  made(12),
  made(255),
);

/** Two ids that are not the same, often alike. */
export const twoIds: fc.Arbitrary<[string, string]> = fc
  .oneof(
    fc.tuple(anyId, anyId),
    fc.tuple(made(3), made(3)),
    fc.tuple(anyId, letter).map(([id, more]): [string, string] => [id, id + more]),
    fc.tuple(anyId, letter).map(([id, more]): [string, string] => [id, more + id]),
    anyId.map((id): [string, string] => [id, id.slice(0, -1)]),
    fc.tuple(anyId, letter).map(([id, last]): [string, string] => [id, id.slice(0, -1) + last]),
    fc
      .tuple(anyId, fc.constantFrom(':', '/', '~', '.'), made(12))
      .map(([id, mark, more]): [string, string] => [id, `${id}${mark}${more}`]),
    anyId.map((id): [string, string] => [id, id.replaceAll(/[^\w-]/g, '_')]),
    anyId.map((id): [string, string] => [id, encodeURIComponent(id)]),
    anyId.map((id): [string, string] => [id, id.toUpperCase()]),
  )
  .filter(([one, other]) => one !== other && ID_PATTERN.test(one) && ID_PATTERN.test(other));
