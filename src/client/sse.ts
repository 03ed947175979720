import { RunwatchError } from '../core/errors.ts';

/** One message of an event stream. */
export interface SseMessage {
  /** The last id that the stream gave; null before the first. */
  id: string | null;
  /** Its type; null where it has none. */
  event: string | null;
  /** Null for what only says how far the stream has come. */
  data: string | null;
}

/** Longest line that is kept, characters: more than any event can have. */
const MAX_PENDING = 4 * 1024 * 1024;

/**
 * Reads server-sent events from chunks that may be cut anywhere.
 * Source: HTML Standard, section 9.2.6 "Interpreting an event stream".
 */
export async function* readSse(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<SseMessage> {
  const decoder = new TextDecoder();
  const block = new Block();
  let pending = '';
  for await (const chunk of chunks) {
    const lines = (pending + decoder.decode(chunk, { stream: true })).split('\n');
    pending = lines.pop() ?? '';
    if (pending.length > MAX_PENDING) {
      throw new RunwatchError('the event stream holds an endless line', { code: 'not_a_daemon' });
    }
    for (const line of lines) {
      const message = block.add(line.endsWith('\r') ? line.slice(0, -1) : line);
      if (message !== null) yield message;
    }
  }
}

/** The lines since the last blank one. */
class Block {
  #id: string | null = null;
  #announced: string | null = null;
  #event: string | null = null;
  readonly #data: string[] = [];

  /** Takes one line; a blank one ends the block and gives its message, if it has any. */
  add(line: string): SseMessage | null {
    if (line !== '') {
      this.#field(line);
      return null;
    }
    const data = this.#data.length === 0 ? null : this.#data.join('\n');
    const isNews = data !== null || this.#id !== this.#announced;
    this.#announced = this.#id;
    const event = this.#event;
    this.#data.length = 0;
    this.#event = null;
    return isNews ? { id: this.#id, event, data } : null;
  }

  #field(line: string): void {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') this.#data.push(value);
    if (name === 'event') this.#event = value;
    if (name === 'id' && !value.includes('\0')) this.#id = value;
  }
}
