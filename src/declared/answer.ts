import type { IncomingHttpHeaders } from 'node:http';
import { MAX_RETRY_AFTER_MS, parseRetryAfter } from '../core/backoff.ts';
import type { FetchTrouble } from '../core/run/snapshot.ts';
import { pauseMessage } from '../core/source/throttle.ts';
import { ENCODED, invalid, isEncoded, notJsonType, OtherBody, parseJson } from '../fetch/body.ts';
import { troubleOfFailure } from '../fetch/failure.ts';
import type { Reply } from '../fetch/transport.ts';
import type { Values } from './mapping.ts';
import { ScalarReader, type PathTree } from './scalar-reader.ts';

/** Which answers say something of a run, or of the source, beside those that HTTP defines. */
export interface ErrorsDeclaration {
  /** There is no such run, where the answer is JSON. */
  readonly gone: readonly number[];
  readonly rate_limited: readonly number[];
  readonly rate_limit_remaining?: string | undefined;
  readonly rate_limit_reset?: string | undefined;
}

/** The items of the list in a document. */
export interface ListItems {
  /** Of one that was cut, those that came whole. */
  items: readonly Values[];
  /** Why there may be more that were not taken in: the answer is too large, or has more than were wanted. */
  cutBy: 'bytes' | 'count' | null;
}

/** What is read of a document. */
export interface Document {
  values: Values;
  /** Null where no list is read, or none stands at its path. */
  list: ListItems | null;
}

/** What one request for a document comes to. */
export type DocumentOutcome =
  | ({
      kind: 'document';
      tag: string | null;
      retryAfterMs: number | null;
      bytes: number;
    } & Document)
  /** 304: as it was when it was last read. */
  | { kind: 'unchanged'; retryAfterMs: number | null }
  | { kind: 'gone'; status: number }
  | FetchTrouble;

/** How much of an answer is read. This bounds the traffic; what is kept is bounded by the paths. */
export interface DocumentLimits {
  bytes: number;
  /** Items of its list. */
  items: number;
}

/** Largest answer about a run that is read: 256 MiB. */
const OF_A_RUN: DocumentLimits = { bytes: 268_435_456, items: Infinity };

/** How much of the beginning of a document shows whether it is HTML. */
const FIRST_BYTES = 64;

/** Whether an answer with this status holds a document: also 202, with which some sources say that a run goes on. */
function hasDocument(status: number): boolean {
  return status >= 200 && status <= 203;
}

/** Takes in the body of an answer while it comes. Of a document only scalars at paths are kept. */
export class DocumentBody {
  readonly #reader: ScalarReader;
  readonly #other = new OtherBody();
  #first = '';
  readonly #maxBytes: number;
  readonly #hasList: boolean;
  #bytes = 0;

  constructor(tree: PathTree, { bytes, items } = OF_A_RUN) {
    this.#reader = new ScalarReader(tree, items);
    this.#hasList = tree.root.holdsList;
    this.#maxBytes = bytes;
  }

  /** @returns false when no more is wanted */
  readonly take = (piece: Buffer, status: number): boolean => {
    if (this.#bytes < FIRST_BYTES) this.#first += piece.toString('latin1', 0, FIRST_BYTES);
    this.#bytes += piece.length;
    if (!hasDocument(status)) return this.#other.take(piece);
    this.#reader.push(piece);
    return !this.isTooLarge && !this.#reader.isFull;
  };

  /** How much came in, decompressed. */
  get bytes(): number {
    return this.#bytes;
  }

  get isTooLarge(): boolean {
    return this.#bytes > this.#maxBytes;
  }

  /** What is read of the document, or why it is none. */
  read(headers: IncomingHttpHeaders): ({ kind: 'read' } & Document) | FetchTrouble {
    const cutBy = this.#cutBy();
    const items = cutBy === null ? [] : this.#reader.wholeItems();
    if (items.length > 0) return { kind: 'read', values: [], list: { items, cutBy } };
    if (this.isTooLarge) {
      return invalid(`the answer is too large: given up after ${this.#bytes} bytes`);
    }
    if (isEncoded(headers)) return invalid(ENCODED);
    const scalars = this.#reader.end();
    if (scalars.is !== 'json') return invalid(this.#notJson(scalars.is, headers));
    const list = scalars.items && { items: scalars.items, cutBy: null };
    return { kind: 'read', values: scalars.values, list };
  }

  #cutBy(): ListItems['cutBy'] {
    if (this.#reader.isFull) return 'count';
    return this.#hasList && this.isTooLarge ? 'bytes' : null;
  }

  /** Whether the body is a JSON object: what a proxy says of itself seldom is. */
  isOtherJson(): boolean {
    const json = parseJson(this.#other.text());
    return typeof json === 'object' && json !== null && !Array.isArray(json);
  }

  #notJson(is: 'empty' | 'cut' | 'crowded' | 'invalid', headers: IncomingHttpHeaders): string {
    if (is === 'empty') return 'the body is empty';
    if (is === 'cut') return `the JSON is cut off after ${this.#bytes} bytes`;
    if (is === 'crowded') return 'the JSON has too many values beside those that are read';
    return notJsonType(this.#first.trimStart(), headers);
  }
}

/** What was asked, as far as the answer must be judged by it. */
interface Question {
  errors: ErrorsDeclaration;
  /** Whether the request said what is known, so that 304 is an answer. */
  isConditional: boolean;
  /** Milliseconds since the epoch. */
  now: number;
}

/** Longest time for which an answer delays the next read of its run, ms. */
const MAX_DELAY_MS = 900_000;

/** A tag of an entity, as it may be sent again (RFC 9110, section 8.8.3). */
const TAG = /^(?:W\/)?"[\x21\x23-\x7e]{0,256}"$/;

/** What a reply comes to. A status speaks for itself, so it counts also where the body broke off. */
export function outcomeOf(reply: Reply, body: DocumentBody, question: Question): DocumentOutcome {
  const status = reply.status ?? 0;
  const headers = reply.headers ?? {};
  const isDocument = hasDocument(status);
  if (reply.kind === 'broken' && (status === 0 || isDocument)) {
    return troubleOfFailure(reply.failure);
  }
  const retryAfterMs = delayOf(headers, question.now);
  if (status === 304 && question.isConditional) return { kind: 'unchanged', retryAfterMs };
  if (!isDocument) return otherOutcome(status, headers, body, question);
  const read = body.read(headers);
  if (read.kind !== 'read') return read;
  const { values, list } = read;
  const { etag } = headers;
  const tag = etag !== undefined && TAG.test(etag) ? etag : null;
  return { kind: 'document', values, list, tag, retryAfterMs, bytes: body.bytes };
}

function delayOf(headers: IncomingHttpHeaders, now: number): number | null {
  const ms = parseRetryAfter(headers['retry-after'], now);
  return ms === null ? null : Math.min(ms, MAX_DELAY_MS);
}

function otherOutcome(
  status: number,
  headers: IncomingHttpHeaders,
  body: DocumentBody,
  { errors, now }: Question,
): DocumentOutcome {
  if (asksForPause(status, headers, errors)) {
    const retryAfterMs =
      parseRetryAfter(headers['retry-after'], now) ?? resetMs(headers, errors, now);
    return { kind: 'rate_limited', retryAfterMs, message: pauseMessage(status, retryAfterMs) };
  }
  if (errors.gone.includes(status)) {
    return body.isOtherJson()
      ? { kind: 'gone', status }
      : { kind: 'unavailable', message: `status ${status} without JSON: a proxy's answer?` };
  }
  if (status === 401) {
    return { kind: 'unauthorized', message: 'status 401: the headers are not accepted' };
  }
  if (status === 403) {
    return { kind: 'forbidden', message: 'status 403: the headers lack the right to read this' };
  }
  return { kind: 'unavailable', message: `status ${status}${hintOf(status)}` };
}

function hintOf(status: number): string {
  if (status === 304) return ' to a request that named no tag';
  const isRedirect = status >= 300 && status < 400;
  return isRedirect ? ': redirects are not followed, is the base URL right?' : '';
}

function asksForPause(
  status: number,
  headers: IncomingHttpHeaders,
  errors: ErrorsDeclaration,
): boolean {
  if (errors.rate_limited.includes(status)) return true;
  if (status !== 403 && status !== 503) return false;
  return headers['retry-after'] !== undefined || (status === 403 && isUsedUp(headers, errors));
}

function isUsedUp(headers: IncomingHttpHeaders, errors: ErrorsDeclaration): boolean {
  return textOf(headers, errors.rate_limit_remaining) === '0';
}

/** Below it a number of seconds is no time since the epoch: the year 2001. */
const FIRST_RESET_S = 1e9;

/**
 * The time until there are more requests; null where none is given, some are left, or it is over: then one of
 * the two clocks is wrong.
 */
function resetMs(headers: IncomingHttpHeaders, errors: ErrorsDeclaration, now: number) {
  const text = textOf(headers, errors.rate_limit_reset);
  if (!isUsedUp(headers, errors) || !/^\d{1,12}(\.\d+)?$/.test(text)) return null;
  const seconds = Number(text);
  const ms = Math.round(seconds * 1_000 - now);
  return seconds < FIRST_RESET_S || ms <= 0 ? null : Math.min(ms, MAX_RETRY_AFTER_MS);
}

function textOf(headers: IncomingHttpHeaders, name: string | undefined): string {
  const value = name === undefined ? undefined : headers[name.toLowerCase()];
  return (Array.isArray(value) ? (value[0] ?? '') : (value ?? '')).trim();
}
