/** The way to one value in a JSON document: names of members and indexes of items. */
export type JsonPath = readonly (string | number)[];

/** The path to a document as a whole, where a list may stand. */
export const WHOLE_DOCUMENT = '$';

/** What {@link parsePath} reads, for messages: follows "expected". */
export const PATH_SHAPE = "a path such as $.status, $.items[0].state or $['run-id']";

/** More than any answer needs. */
const MAX_SEGMENTS = 16;

const FIRST_OF_NAME = /[A-Za-z_\u0080-\u{10ffff}]/u;
const NAME = /[A-Za-z0-9_\u0080-\u{10ffff}]+/uy;
const INDEX = /(?:0|[1-9]\d{0,8})/y;
const SPACE = /[ \t\n\r]*/y;
const SINGLE_QUOTED = /'(?:[^'\\]|\\.)*'/uy;
const DOUBLE_QUOTED = /"(?:[^"\\]|\\.)*"/uy;

/**
 * Parses a singular query of RFC 9535: `$`, then names and indexes. An index from the end is not taken, since
 * a document is read while it comes in.
 * @returns null for anything else
 */
export function parsePath(text: string): JsonPath | null {
  if (!text.startsWith('$')) return null;
  const cursor = new Cursor(text, 1);
  const path: (string | number)[] = [];
  while (!cursor.isAtEnd()) {
    const segment = readSegment(cursor);
    if (segment === null || path.length === MAX_SEGMENTS) return null;
    path.push(segment);
  }
  return path.length === 0 ? null : path;
}

function readSegment(cursor: Cursor): string | number | null {
  cursor.take(SPACE);
  if (cursor.skip('.')) {
    return FIRST_OF_NAME.test(cursor.next()) ? cursor.take(NAME) : null;
  }
  if (!cursor.skip('[')) return null;
  cursor.take(SPACE);
  const selector = readSelector(cursor);
  cursor.take(SPACE);
  return cursor.skip(']') ? selector : null;
}

function readSelector(cursor: Cursor): string | number | null {
  const single = cursor.take(SINGLE_QUOTED);
  if (single !== null) return unescaped(single.slice(1, -1), "'");
  const double = cursor.take(DOUBLE_QUOTED);
  if (double !== null) return unescaped(double.slice(1, -1), '"');
  const index = cursor.take(INDEX);
  return index === null ? null : Number(index);
}

/** A name between quotes: the escapes of JSON, but for the quote, which is the one that is used. */
function unescaped(inside: string, quote: '"' | "'"): string | null {
  const json = inside.replaceAll(/\\.|"/gsu, (found) => {
    if (found === '"') return String.raw`\"`;
    if (found === String.raw`\'`) return quote === "'" ? "'" : found;
    return found === String.raw`\"` && quote === "'" ? String.raw`\'` : found;
  });
  try {
    return JSON.parse(`"${json}"`) as string;
  } catch {
    return null;
  }
}

/** A place in a text, from which tokens are taken. */
class Cursor {
  constructor(
    private readonly text: string,
    private at: number,
  ) {}

  isAtEnd(): boolean {
    return this.at >= this.text.length;
  }

  /** The character that comes next; empty at the end. */
  next(): string {
    return String.fromCodePoint(this.text.codePointAt(this.at) ?? 0).replace('\0', '');
  }

  skip(character: string): boolean {
    const isThere = this.text.startsWith(character, this.at);
    if (isThere) this.at += character.length;
    return isThere;
  }

  /** @param pattern sticky @returns what it matches here, which is passed over; null for nothing */
  take(pattern: RegExp): string | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? null;
    this.at += found?.length ?? 0;
    return found;
  }
}
