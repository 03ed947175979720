import { z } from 'zod';
import { DURATION_HINT, parseDuration } from '../core/duration.ts';
import { decodeEncryptionKey } from './encryption-key.ts';

/**
 * How a setting is shown wherever it is printed. `secret`: never. `url`: without user name, password
 * and query. `webhook-url`: the origin only, because chat services put their secret in the path.
 */
type Presentation = 'duration' | 'secret' | 'url' | 'webhook-url';

/** Filled while the schema is built, read by everything that prints settings. */
export const presentations = z.registry<{ as: Presentation }>();

/** A duration string within bounds, as milliseconds behind the schema. */
export function duration(fallback: string, { min, max }: { min: string; max: string }) {
  const [least, most] = [parseDuration(min) ?? 0, parseDuration(max) ?? Infinity];
  return z
    .string({
      error: ({ input }) =>
        typeof input === 'number' ? 'expected a duration such as 10s' : `expected ${DURATION_HINT}`,
    })
    .default(fallback)
    .transform((text, context) => {
      const ms = parseDuration(text);
      if (ms !== null && ms >= least && ms <= most) return ms;
      const expected = ms === null ? DURATION_HINT : `a duration from ${min} to ${max}`;
      context.addIssue({ code: 'custom', message: `expected ${expected}` });
      return z.NEVER;
    })
    .register(presentations, { as: 'duration' });
}

function readDigits(input: unknown): unknown {
  return typeof input === 'string' && /^-?\d+$/.test(input.trim()) ? Number(input) : input;
}

/** A whole number; variables expand to text, so its digits count too. */
export function wholeNumber(min: number, max: number) {
  const error = `expected a whole number from ${min} to ${max}`;
  const number = z.number({ error }).int(error).min(min, error).max(max, error);
  return z.preprocess(readDigits, number);
}

/** {@link wholeNumber} with a default. */
export function integer(fallback: number, min: number, max: number) {
  return wholeNumber(min, max).default(fallback);
}

function readDecimal(input: unknown): unknown {
  return typeof input === 'string' && /^\d+(\.\d+)?$/.test(input.trim()) ? Number(input) : input;
}

/** How often a second something may happen; also as the text that a variable expands to. */
export function perSecond(max: number) {
  const error = `expected a number per second, above 0 and up to ${max}`;
  return z.preprocess(readDecimal, z.number({ error }).positive(error).max(max, error));
}

function readBoolean(input: unknown): unknown {
  return input === 'true' || input === 'false' ? input === 'true' : input;
}

/** True or false, also as the text that a variable expands to. */
export function flag(fallback: boolean) {
  const boolean = z.boolean({ error: 'expected true or false' });
  return z.preprocess(readBoolean, boolean).default(fallback);
}

/** Names become parts of Redis keys, queues and metric labels. */
export const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/i, 'expected a name of up to 63 letters, digits, _ and -');

/** Text that never appears in a log, an answer or an error. */
export function secretText(expected: string, { min }: { min: number }) {
  return z.string({ error: expected }).min(min, expected).register(presentations, { as: 'secret' });
}

export const encryptionKey = z
  .string()
  .refine((text) => decodeEncryptionKey(text) !== null, 'expected 32 bytes in base64 or hex')
  .register(presentations, { as: 'secret' });
