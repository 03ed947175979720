import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { createSealer } from '../../src/deliver/secrets/seal.ts';

const [oldKey, newKey] = [randomBytes(32), randomBytes(32)];
const plain = { secret: 'whsec_canary', headers: { authorization: 'Bearer 🔑' } };
const fails = (code: string) => expect.objectContaining({ code });

describe('sealing', () => {
  test('a sealed value opens again, and is not readable in between', () => {
    const sealer = createSealer([newKey]);
    const sealed = sealer.seal(plain, 'default/run-1');
    expect(sealed).toMatch(/^v1\.[0-9a-f]{8}\.[\w-]{16}\.[\w-]+$/);
    expect(sealed).not.toContain('canary');
    expect(sealer.open(sealed, 'default/run-1')).toEqual(plain);
  });

  test('any JSON object survives sealing', () => {
    const sealer = createSealer([newKey]);
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), (object, context) => {
        const copy = JSON.parse(JSON.stringify(object)) as unknown;
        expect(sealer.open(sealer.seal(object, context), context)).toEqual(copy);
      }),
    );
  });

  test('sealing a value twice never gives the same text', () => {
    const sealer = createSealer([newKey]);
    expect(sealer.seal(plain, 'x')).not.toBe(sealer.seal(plain, 'x'));
  });

  test('a sealed value opens only in its own context', () => {
    const sealer = createSealer([newKey]);
    const sealed = sealer.seal(plain, 'default/run-1');
    expect(() => sealer.open(sealed, 'default/run-2')).toThrow(fails('sealed_value_corrupt'));
  });

  test('a sealed value with one changed character does not open', () => {
    const sealer = createSealer([newKey]);
    const sealed = sealer.seal(plain, 'x');
    for (let i = 0; i < sealed.length; i += 1) {
      const swapped = sealed[i] === 'A' ? 'Q' : 'A';
      const forged = sealed.slice(0, i) + swapped + sealed.slice(i + 1);
      expect(() => sealer.open(forged, 'x')).toThrow();
    }
  });

  test.each(['', 'v1', 'v1.a.b', 'v2.a.b.c', 'v1.a.b.c.d'])('"%s" is no sealed value', (text) => {
    expect(() => createSealer([newKey]).open(text, 'x')).toThrow(fails('sealed_value_corrupt'));
  });

  test('a truncated sealed value is corrupt', () => {
    const sealer = createSealer([newKey]);
    const [format, id, iv] = sealer.seal(plain, 'x').split('.');
    const cut = `${format}.${id}.${iv}.AAAA`;
    expect(() => sealer.open(cut, 'x')).toThrow(fails('sealed_value_corrupt'));
  });

  test('after a key rotation the new key seals and both open', () => {
    const before = createSealer([oldKey]).seal(plain, 'x');
    const sealer = createSealer([newKey, oldKey]);
    const after = sealer.seal(plain, 'x');
    expect(sealer.open(before, 'x')).toEqual(plain);
    expect([sealer.isCurrent(before), sealer.isCurrent(after)]).toEqual([false, true]);
    expect(() => createSealer([oldKey]).open(after, 'x')).toThrow(fails('sealed_by_unknown_key'));
  });

  test('an encryption key is the same in every notation', () => {
    const sealed = createSealer([newKey]).seal(plain, 'x');
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      expect(createSealer([newKey.toString(encoding)]).open(sealed, 'x')).toEqual(plain);
    }
  });

  test.each(['', 'short', 'z'.repeat(64), `${randomBytes(32).toString('base64')}!`])(
    'the encryption key "%s" is refused',
    (key) => {
      expect(() => createSealer([newKey, key])).toThrow(fails('invalid_encryption_key'));
    },
  );
});
