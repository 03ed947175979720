/** One message of an event stream. */
export interface SseMessage {
  /** The last id that the stream gave; null before the first. */
  id: string | null;
  /** Its type; null where it has none. */
  event: string | null;
  /** Null for what only says how far the stream has come. */
  data: string | null;
}

const NEWLINE = 0x0a;

/** Holds no state, as it decodes whole lines. Not `Buffer`, since browsers read streams by it too. */
const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true });

function textOf([first, ...rest]: readonly Uint8Array[]): string {
  if (first === undefined) return '';
  return UTF8.decode(rest.length === 0 ? first : joined([first, ...rest]));
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/**
 * Reads server-sent events from pieces that may be cut anywhere, and holds one event at most. Only new
 * bytes are searched: the cost is linear however small the pieces are.
 * Source: HTML Standard, section 9.2.6 "Interpreting an event stream".
 */
export class SseParser {
  readonly #maxBytes: number;
  /** The line that is not yet complete. */
  #line: Uint8Array[] = [];
  /** What the event under way has so far, comments included. */
  #bytes = 0;
  #isFirstLine = true;
  #id: string | null = null;
  #announcedId: string | null = null;
  #event: string | null = null;
  #data: string[] = [];

  /** @param maxBytes the largest event that is held */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** True once an event is larger than may be held; what follows is not read. */
  get isTooLarge(): boolean {
    return this.#bytes > this.#maxBytes;
  }

  /** How many bytes of an event that is not complete are held. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /** @returns the messages that the piece completes */
  push(piece: Uint8Array): SseMessage[] {
    const messages: SseMessage[] = [];
    let from = 0;
    for (let end = piece.indexOf(NEWLINE); end !== -1; end = piece.indexOf(NEWLINE, from)) {
      this.#hold(piece.subarray(from, end));
      if (this.isTooLarge) return messages;
      const message = this.#endLine();
      if (message !== null) messages.push(message);
      from = end + 1;
    }
    // A copy: the piece may be a slice of something much larger.
    this.#hold(piece.slice(from));
    return messages;
  }

  #hold(bytes: Uint8Array): void {
    if (this.isTooLarge || bytes.length === 0) return;
    this.#line.push(bytes);
    this.#bytes += bytes.length;
  }

  #endLine(): SseMessage | null {
    const text = textOf(this.#line).replace(/\r$/, '');
    const line = this.#isFirstLine ? text.replace(/^\u{feff}/u, '') : text;
    this.#isFirstLine = false;
    this.#line = [];
    if (line !== '') {
      this.#field(line);
      return null;
    }
    return this.#endEvent();
  }

  #field(line: string): void {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') this.#data.push(value);
    if (name === 'event') this.#event = value;
    if (name === 'id' && !value.includes('\0')) this.#id = value;
  }

  /** The message of the lines since the last blank one; null where they say nothing new. */
  #endEvent(): SseMessage | null {
    const data = this.#data.length === 0 ? null : this.#data.join('\n');
    const event = this.#event;
    const hasMoved = this.#id !== this.#announcedId;
    this.#announcedId = this.#id;
    this.#event = null;
    this.#data = [];
    this.#bytes = 0;
    return data === null && !hasMoved ? null : { id: this.#id, event, data };
  }
}
