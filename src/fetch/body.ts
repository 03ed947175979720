import type { IncomingHttpHeaders } from 'node:http';
import type { z } from 'zod';
import type { FetchTrouble } from '../core/run/snapshot.ts';

/** How many complaints are named: a run can have a few, a list of a hundred runs too many. */
const MAX_ISSUES = 10;

type Invalid = Extract<FetchTrouble, { kind: 'invalid_response' }>;

/** The body of a 200. */
interface Body {
  text: string;
  /** How much of it came over the wire. */
  bytes: number;
}

export const ENCODED = 'the body is encoded in a way that is not known';

/** Whether a body is still encoded once what Node knows is decoded. */
export function isEncoded(headers: IncomingHttpHeaders): boolean {
  return (headers['content-encoding'] ?? 'identity') !== 'identity';
}

/** How much of another answer than the one that was asked for is kept, 64 KiB, and waited for, 1 MiB. */
const MAX_KEPT_BYTES = 65_536;
const MAX_OTHER_BYTES = 1_048_576;

/** Takes in the body of such an answer while it comes. */
export class OtherBody {
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  #keptBytes = 0;

  /** @returns false when no more is wanted */
  take(piece: Buffer): boolean {
    this.#bytes += piece.length;
    if (this.#keptBytes + piece.length <= MAX_KEPT_BYTES) {
      this.#pieces.push(piece);
      this.#keptBytes += piece.length;
    }
    return this.#bytes <= MAX_OTHER_BYTES;
  }

  /** Its beginning. */
  text(): string {
    return Buffer.concat(this.#pieces).toString();
  }
}

export function invalid(message: string): Invalid {
  return { kind: 'invalid_response', message };
}

/**
 * Judges the body of a 200. Messages name places in it, never what stands there.
 * @param what the name of what is expected, such as `a run`
 */
export function readJson<Output>(
  body: Body,
  headers: IncomingHttpHeaders,
  schema: z.ZodType<Output>,
  what: string,
): { kind: 'value'; value: Output } | Invalid {
  if (isEncoded(headers)) return invalid(ENCODED);
  const json = parseJson(body.text);
  if (json === undefined) return invalid(notJsonMessage(body, headers));
  const parsed = schema.safeParse(json);
  if (parsed.success) return { kind: 'value', value: parsed.data };
  const issues = parsed.error.issues
    .slice(0, MAX_ISSUES)
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`));
  return invalid(`not ${what}: ${issues.join('; ')}`);
}

/** @returns undefined for what is no JSON (V8's error would quote the text) */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function notJsonMessage(body: Body, headers: IncomingHttpHeaders): string {
  const text = body.text.trim();
  if (text === '') return 'the body is empty';
  if (text.startsWith('{') && !text.endsWith('}')) {
    return `the JSON is cut off after ${body.bytes} bytes`;
  }
  return notJsonType(text, headers);
}

/** Other types than these are not named, since a type may hold anything. */
const NAMED_TYPES: ReadonlySet<string> = new Set([
  'application/octet-stream',
  'application/pdf',
  'application/x-ndjson',
  'application/x-yaml',
  'application/xml',
  'application/yaml',
  'application/zip',
  'image/gif',
  'image/jpeg',
  'image/png',
  'text/css',
  'text/csv',
  'text/event-stream',
  'text/javascript',
  'text/markdown',
  'text/plain',
  'text/xml',
]);

/**
 * What a body is in place of JSON.
 * @param beginning of the body, without white space before it
 */
export function notJsonType(beginning: string, headers: IncomingHttpHeaders): string {
  const given = /^[\w.+-]+\/[\w.+-]+/.exec(headers['content-type'] ?? '')?.[0] ?? '';
  const type = given.toLowerCase();
  if (type === 'text/html' || beginning.startsWith('<')) return 'the body is HTML, not JSON';
  if (type === '' || type.includes('json')) return 'the body is not valid JSON';
  return `the body is not JSON but ${NAMED_TYPES.has(type) ? type : 'of another type'}`;
}
