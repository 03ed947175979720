/** Longest string that is kept, bytes: 1,024 characters, each of them escaped. */
const MAX_STRING_BYTES = 6_146;

const FIRST_BYTES = 1_024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const SPACE = 0x20;

const NULL = Buffer.from('null');

const BYTE_ORDER_MARK = '\uFEFF';

interface SkimOptions {
  /** How deep the fields of a run lie: 1 for a run alone, 3 for `{"items": [{…}]}`. */
  fieldDepth: number;
  /** The fields of a run that are kept. */
  fields: Pick<ReadonlySet<string>, 'has'>;
  /** Largest text that may be left, bytes. */
  maxKeptBytes: number;
}

/**
 * Skims runs off the wire. Runs may drag along documents of any size (`definitions`, `workflow`,
 * `input`) that must not be kept. While they come in, unwanted fields are dropped. Whatever is nested in a
 * run, and every long string, becomes `null`. So an answer takes no more
 * memory than its wanted fields do. It is no parser: invalid JSON remains invalid.
 */
export class RunSkimmer {
  readonly #options: SkimOptions;
  #kept = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;
  #depth = 0;
  #isInString = false;
  /** Where in the kept text the string began that is being read. */
  #stringAt = 0;
  #isEscaped = false;
  #isLongString = false;
  /** True where the next string at the depth of fields is the name of one. */
  #isName = false;
  /** Where in the kept text the field begins that is being read, the comma before it included. */
  #fieldAt = 0;
  /** True while a field passes that is not wanted. */
  #isSkipping = false;
  /** Where in the kept text the last whole run ends. */
  #runsEnd = 0;
  #isFull = false;

  constructor(options: SkimOptions) {
    this.#options = options;
  }

  /** True once more was to be kept than may be. */
  get isFull(): boolean {
    return this.#isFull;
  }

  push(piece: Buffer): void {
    let at = 0;
    while (at < piece.length) {
      if (this.#isInString) {
        at = this.#readString(piece, at);
      } else {
        this.#between(piece[at] ?? 0);
        at += 1;
      }
    }
  }

  /** All that was kept, without a byte order mark. */
  text(): string {
    const text = this.#kept.toString('utf8', 0, this.#length);
    return text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
  }

  /** What was kept up to the last run that came in whole, closed after it; null without such a run. */
  textOfWholeRuns(): string | null {
    if (this.#runsEnd === 0) return null;
    return `${this.#kept.toString('utf8', 0, this.#runsEnd)}]}`;
  }

  #between(byte: number): void {
    switch (byte) {
      case QUOTE:
        this.#isInString = true;
        this.#stringAt = this.#length;
        this.#keepByte(byte);
        return;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        this.#open(byte);
        return;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        this.#close(byte);
        return;
      default:
        if (this.#depth !== this.#options.fieldDepth) this.#keepByte(byte);
        else if (byte === COMMA) this.#beginField(this.#kept[this.#length - 1] !== OPEN_BRACE);
        else if (!this.#isName || byte > SPACE) this.#keepByte(byte);
    }
  }

  #open(byte: number): void {
    const { fieldDepth } = this.#options;
    if (this.#depth === fieldDepth) this.#keep(NULL, 0, NULL.length);
    this.#depth += 1;
    this.#keepByte(byte);
    if (this.#depth === fieldDepth && byte === OPEN_BRACE) this.#beginField(false);
  }

  #close(byte: number): void {
    if (this.#depth === this.#options.fieldDepth) {
      this.#isSkipping = false;
      this.#isName = false;
    }
    this.#keepByte(byte);
    this.#depth -= 1;
    if (this.#depth === this.#options.fieldDepth - 1) this.#runsEnd = this.#length;
  }

  #beginField(hasComma: boolean): void {
    this.#isSkipping = false;
    this.#isName = true;
    this.#fieldAt = this.#length;
    if (hasComma) this.#keepByte(COMMA);
  }

  /** @returns where the piece goes on after the string, or its part in it */
  #readString(piece: Buffer, from: number): number {
    let end = piece.indexOf(QUOTE, from);
    while (end !== -1 && this.#isEscapedAt(piece, from, end)) end = piece.indexOf(QUOTE, end + 1);
    const next = end === -1 ? piece.length : end + 1;
    this.#keepString(piece, from, next);
    this.#isEscaped = end === -1 && this.#isEscapedAt(piece, from, next);
    if (end !== -1) this.#endString();
    return next;
  }

  /** Whether an odd number of backslashes stands before a place in a string. */
  #isEscapedAt(piece: Buffer, from: number, place: number): boolean {
    let first = place;
    while (first > from && piece[first - 1] === BACKSLASH) first -= 1;
    const isOdd = (place - first) % 2 === 1;
    return first === from && this.#isEscaped ? !isOdd : isOdd;
  }

  #keepString(piece: Buffer, from: number, to: number): void {
    if (this.#isLongString || !this.#isKept()) return;
    if (this.#length - this.#stringAt + (to - from) <= MAX_STRING_BYTES) {
      this.#keep(piece, from, to);
      return;
    }
    this.#isLongString = true;
    this.#length = this.#stringAt;
    this.#keep(NULL, 0, NULL.length);
  }

  #endString(): void {
    this.#isInString = false;
    this.#isLongString = false;
    if (!this.#isName || this.#depth !== this.#options.fieldDepth) return;
    this.#isName = false;
    const { fields } = this.#options;
    const name = this.#kept.toString('latin1', this.#stringAt + 1, this.#length - 1);
    if (fields.has(name)) return;
    this.#length = this.#fieldAt;
    this.#isSkipping = true;
  }

  #isKept(): boolean {
    return this.#depth <= this.#options.fieldDepth && !this.#isSkipping && !this.#isFull;
  }

  #keepByte(byte: number): void {
    if (!this.#isKept()) return;
    if (this.#length === this.#kept.length && !this.#grow(1)) return;
    this.#kept[this.#length++] = byte;
  }

  #keep(piece: Buffer, from: number, to: number): void {
    if (!this.#isKept()) return;
    const more = to - from;
    if (this.#length + more > this.#kept.length && !this.#grow(more)) return;
    piece.copy(this.#kept, this.#length, from, to);
    this.#length += more;
  }

  /** @returns false where there may be no more, which makes it full */
  #grow(more: number): boolean {
    const { maxKeptBytes } = this.#options;
    if (this.#length + more > maxKeptBytes) {
      this.#isFull = true;
      return false;
    }
    const size = Math.min(maxKeptBytes, Math.max(this.#kept.length * 2, this.#length + more));
    const larger = Buffer.allocUnsafe(size);
    this.#kept.copy(larger, 0, 0, this.#length);
    this.#kept = larger;
    return true;
  }
}
