import { z } from 'zod';
import { decodeEncryptionKey } from '../core/encryption-key.ts';
import { URL_PLACEHOLDERS } from '../core/run/links.ts';
import { parseSize, SIZE_HINT } from '../core/byte-size.ts';
import { percentDecoded } from '../core/percent-encoding.ts';
import { isLocation } from '../core/alert/time-interval.ts';
import { DURATION_HINT, parseDuration } from '../core/time.ts';

/**
 * How a setting is shown wherever it is printed. `duration` and `size`: as text again. `secret`: never. `url`: without user name, password
 * and query. `webhook-url`: the origin only, because some services put their secret in the path.
 * `secret-url`: the origin and a hash, by which users tell them apart. `template`: as it is, since it makes up
 * requests or leads into answers, and holds no secret.
 */
type Presentation =
  | 'duration'
  | 'size'
  | 'secret'
  | 'url'
  | 'webhook-url'
  | 'secret-url'
  | 'template';

/** Filled while the schema is built, read by everything that prints settings. */
export const presentations = z.registry<{ as: Presentation }>();

/** A duration string within bounds, as milliseconds behind the schema; absent, the fallback. */
export function duration(fallback: string, { min, max }: { min: string; max: string }) {
  const text = durationText.default(fallback);
  return text.transform(withinBounds({ min, max })).register(presentations, { as: 'duration' });
}

/** The same without a fallback: absent, it is undefined. */
export function optionalDuration(bounds: { min: string; max: string }) {
  return durationText
    .transform(withinBounds(bounds))
    .register(presentations, { as: 'duration' })
    .optional();
}

const durationText = z.string({
  error: ({ input }) =>
    typeof input === 'number' ? 'expected a duration such as 10s' : `expected ${DURATION_HINT}`,
});

function withinBounds({ min, max }: { min: string; max: string }) {
  const [least, most] = [parseDuration(min) ?? 0, parseDuration(max) ?? Infinity];
  return (text: string, context: z.core.$RefinementCtx<string>): number => {
    const ms = parseDuration(text);
    if (ms !== null && ms >= least && ms <= most) return ms;
    const expected = ms === null ? DURATION_HINT : `a duration from ${min} to ${max}`;
    context.addIssue({ code: 'custom', message: `expected ${expected}` });
    return z.NEVER;
  };
}

/** A size of memory as text, as bytes behind the schema. */
export function optionalSize({ min }: { min: string }) {
  const error = `expected ${SIZE_HINT}, ${min} or more`;
  const least = parseSize(min) ?? 0;
  return z
    .string({ error })
    .transform((text, context) => {
      const bytes = parseSize(text);
      if (bytes !== null && bytes >= least && Number.isSafeInteger(bytes)) return bytes;
      context.addIssue({ code: 'custom', message: error });
      return z.NEVER;
    })
    .register(presentations, { as: 'size' })
    .optional();
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
  return writtenBoolean.default(fallback);
}

const writtenBoolean = z.preprocess(readBoolean, z.boolean({ error: 'expected true or false' }));

/** For a setting where false and nothing differ. */
export const optionalFlag = writtenBoolean.optional();

/** Names become parts of Redis keys, queues and metric labels. */
export const name = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/,
    'expected a name of up to 63 letters, digits, _ and -',
  );

/** Text that never appears in a log, an answer or an error. */
export function secretText(expected: string, { min }: { min: number }) {
  return z.string({ error: expected }).min(min, expected).register(presentations, { as: 'secret' });
}

export const encryptionKey = z
  .string()
  .refine((text) => decodeEncryptionKey(text) !== null, 'expected 32 bytes in base64 or hex')
  .register(presentations, { as: 'secret' });

/** User names and passwords in URLs end up in logs and listings, so there is no place for them. */
function holdsNoUserinfo(text: string): boolean {
  if (!URL.canParse(text)) return true;
  const { username, password } = new URL(text);
  return username === '' && password === '';
}

/** Whether the user name and password of a URL can be read. */
export function hasReadableUserinfo(text: string): boolean {
  if (!URL.canParse(text)) return true;
  const { username, password } = new URL(text);
  return percentDecoded(username) !== null && percentDecoded(password) !== null;
}

export const EXPECTED_PERCENT =
  'a % in the user name or password is not followed by two hexadecimal digits; expected %25 for it';

const httpUrl = z
  .url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' })
  .refine(holdsNoUserinfo, 'expected a URL without a user name and password');

/** Its user name and password, where it has them, are never shown. */
export const proxyUrl = z
  .url({ protocol: /^https?$/, error: 'expected the http:// or https:// URL of a proxy' })
  .refine(hasReadableUserinfo, EXPECTED_PERCENT)
  .register(presentations, { as: 'url' });

/** A time zone of the IANA database. */
export const location = z
  .string({ error: 'expected a time zone such as Europe/Lisbon' })
  .refine(isLocation, 'expected a time zone such as Europe/Lisbon')
  .default('UTC');

export const serviceUrl = httpUrl.clone().register(presentations, { as: 'url' });

/** A URL of runs, with the ids of a run in braces. */
export const runUrlTemplate = z
  .string({ error: 'expected a URL such as https://app.example/{workflow_id}/{run_id}' })
  .superRefine((template, context) => {
    const message = urlTemplateProblem(template, URL_PLACEHOLDERS);
    if (message !== null) context.addIssue({ code: 'custom', message });
  })
  .register(presentations, { as: 'template' });

/** What is wrong with a URL of runs; null for nothing. @param names that may stand in braces */
export function urlTemplateProblem(template: string, names: readonly string[]): string | null {
  const inside = [...template.matchAll(/\{(.*?)\}/g)].map(([, one = '']) => one);
  if (inside.some((one) => !names.includes(one))) {
    return `expected only ${names.map((one) => `{${one}}`).join(', ')} in braces`;
  }
  const parsed = httpUrl.safeParse(template.replaceAll(/\{\w+\}/g, 'x'));
  return parsed.error?.issues[0]?.message ?? null;
}

export const webhookUrl = httpUrl.clone().register(presentations, { as: 'webhook-url' });

/** A URL with a secret path, as incoming webhooks of chat services have. */
export const secretUrl = httpUrl.clone().register(presentations, { as: 'secret-url' });

export const redisUrl = z
  .string()
  .regex(/^(rediss?|unix):\/\/|^\//, 'expected a redis://, rediss:// or unix:// URL')
  .register(presentations, { as: 'url' });
