/** How deep the fields of a run lie in `{"items": [{…}]}`. What lies deeper is of no interest. */
const KEPT_DEPTH = 3;

/** Longest string that is kept, bytes: 1,024 characters, each of them escaped. */
const MAX_STRING_BYTES = 6_146;

/** Largest text that a page may leave, 1 MiB: 100 runs leave some 50 KiB. */
const MAX_KEPT_BYTES = 1_048_576;

const FIRST_BYTES = 65_536;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * Skims a page of runs off the wire. Runs may drag along documents of any size (`definitions`,
 * `workflow`, `input`) that must not be kept: whatever is nested in a run, and every long string,
 * becomes `null` while it comes in, so that a page takes no more memory than its flat fields do.
 * It is no parser: what is no JSON stays no JSON.
 */
export class PageSkimmer {
  #kept = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;
  #depth = 0;
  /** Where in the kept text the string began that is being read; null between strings. */
  #stringAt: number | null = null;
  #isEscaped = false;
  #isLongString = false;
  /** Where in the kept text the last whole run ends. */
  #runsEnd = 0;
  #isFull = false;

  /** True once more was to be kept than may be. */
  get isFull(): boolean {
    return this.#isFull;
  }

  push(piece: Buffer): void {
    for (const byte of piece) {
      if (this.#stringAt === null) this.#between(byte);
      else this.#inString(byte, this.#stringAt);
    }
  }

  /** All that was kept. */
  text(): string {
    return this.#kept.toString('utf8', 0, this.#length);
  }

  /** What was kept up to the last run that came in whole, closed after it; null without such a run. */
  textOfWholeRuns(): string | null {
    if (this.#runsEnd === 0) return null;
    return `${this.#kept.toString('utf8', 0, this.#runsEnd)}]}`;
  }

  #between(byte: number): void {
    switch (byte) {
      case QUOTE:
        this.#stringAt = this.#length;
        this.#keep(byte);
        return;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (this.#depth === KEPT_DEPTH) this.#keepNull();
        this.#depth += 1;
        this.#keep(byte);
        return;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        this.#keep(byte);
        this.#depth -= 1;
        if (this.#depth === KEPT_DEPTH - 1) this.#runsEnd = this.#length;
        return;
      default:
        this.#keep(byte);
    }
  }

  #inString(byte: number, startedAt: number): void {
    if (!this.#isLongString) this.#keep(byte);
    if (this.#length - startedAt > MAX_STRING_BYTES) {
      this.#length = startedAt;
      this.#keepNull();
      this.#isLongString = true;
    }
    if (this.#isEscaped) {
      this.#isEscaped = false;
    } else if (byte === BACKSLASH) {
      this.#isEscaped = true;
    } else if (byte === QUOTE) {
      this.#stringAt = null;
      this.#isLongString = false;
    }
  }

  #keepNull(): void {
    for (const byte of Buffer.from('null')) this.#keep(byte);
  }

  #keep(byte: number): void {
    if (this.#depth > KEPT_DEPTH || this.#isFull) return;
    if (this.#length === this.#kept.length) this.#grow();
    if (!this.#isFull) this.#kept[this.#length++] = byte;
  }

  #grow(): void {
    if (this.#length === MAX_KEPT_BYTES) {
      this.#isFull = true;
      return;
    }
    const larger = Buffer.allocUnsafe(this.#length * 2);
    this.#kept.copy(larger);
    this.#kept = larger;
  }
}
