import { expect, test } from '@jest/globals';
import { createHostShortages } from '../../src/daemon/host-shortages.ts';
import type { Logger } from '../../src/telemetry/logger.ts';
import { isHostExhausted, shortageIn, throwIfExhausted } from '../../src/host-shortage.ts';

const failure = (code: string, more: object = {}) =>
  Object.assign(new Error(code), { code, ...more });

test.each(['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS'])(
  'a connection that fails by %s is trouble of this host, also where a library wraps the error',
  (code) => {
    expect(shortageIn(failure(code))).toBe(code);
    expect(shortageIn(failure('proxy', { cause: failure(code) }))).toBe(code);
    expect(shortageIn(failure('ETIMEDOUT', { errors: [failure(code), failure(code)] }))).toBe(code);
  },
);

test('an error of the other side, or of one of several addresses, is no trouble of this host', async () => {
  const refused = failure('ECONNREFUSED');
  expect(shortageIn(refused)).toBeNull();
  expect(shortageIn(failure('EMFILE', { errors: [failure('EMFILE'), refused] }))).toBeNull();
  expect(shortageIn('EMFILE')).toBeNull();
  // The host has descriptors: the name does not exist.
  await expect(throwIfExhausted(failure('ENOTFOUND'))).resolves.toBeUndefined();
});

test('an error number of the system names a shortage where the code is of a library', async () => {
  expect(shortageIn(failure('ESOCKET', { errno: -24 }))).toBe('EMFILE');
  const thrown = await throwIfExhausted(failure('ESOCKET', { errno: -24 })).catch(
    (error: unknown) => error,
  );
  expect([isHostExhausted(thrown), shortageIn(thrown)]).toEqual([true, 'EMFILE']);
});

test('a shortage is logged once, and is trouble until work goes on for five seconds without it', () => {
  const lines: string[] = [];
  const say = (_: object, line: string) => void lines.push(line);
  let now = 0;
  const shortages = createHostShortages({
    log: { warn: say } as unknown as Logger,
    monotonic: () => now,
    descriptors: 256,
  });
  expect(shortages.trouble()).toBeNull();
  for (now = 0; now <= 20_000; now += 1_000) shortages.note(failure('EMFILE'));
  shortages.note(failure('ECONNREFUSED'));
  expect(lines).toEqual([expect.stringMatching(/^descriptors: 256 of 256 are in use/)]);
  expect(shortages.trouble()).toMatch(/^256 of 256 are in use/);
  now += 6_000;
  expect(shortages.trouble()).toBeNull();
  shortages.note(failure('EMFILE'));
  expect(lines).toHaveLength(2);
});
