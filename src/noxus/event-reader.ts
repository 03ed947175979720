import { z } from 'zod';
import { withoutControls } from '../core/controls.ts';
import type { RunHint } from '../core/feed/hint.ts';

/** Longest event that is read, bytes; what is longer is no event of a run, or an attack. */
const MAX_EVENT_BYTES = 262_144;

const NEWLINE = 0x0a;

const status = z
  .string()
  .min(1)
  .max(64)
  .transform((text) => withoutControls(text))
  .nullable()
  .catch(null);

/** What is read of an event. Everything else, the content first of all, is private and dropped. */
const wireEvent = z.object({
  type: z.string().catch(''),
  data: z
    .object({ status, workflow_status: status })
    .catch({ status: null, workflow_status: null }),
});

/** `broken`: what came is not a stream of a run's events, or more of one than is held. */
type Taken = { hints: RunHint[]; broken: null | 'garbage' | 'too_large' };

/**
 * Reads the events of a run out of a stream that may be cut anywhere, holding one event at most.
 * Comments, by which servers show that they are there, and other kinds of events are passed over.
 * Source: HTML Standard, section 9.2.6 "Interpreting an event stream".
 */
export class EventReader {
  /** The line that is not yet complete. */
  #line: Buffer[] = [];
  #bytes = 0;
  #data: string[] = [];
  #name = 'message';

  take(piece: Buffer): Taken {
    const hints: RunHint[] = [];
    let from = 0;
    for (let end = piece.indexOf(NEWLINE); end !== -1; end = piece.indexOf(NEWLINE, from)) {
      this.#line.push(piece.subarray(from, end));
      this.#bytes += end - from;
      if (this.#bytes > MAX_EVENT_BYTES) return { hints, broken: 'too_large' };
      const hint = this.#endLine();
      if (hint === 'garbage') return { hints, broken: 'garbage' };
      if (hint !== null) hints.push(hint);
      from = end + 1;
    }
    // A copy: the piece may be a slice of something much larger.
    this.#line.push(Buffer.from(piece.subarray(from)));
    this.#bytes += piece.length - from;
    return { hints, broken: this.#bytes > MAX_EVENT_BYTES ? 'too_large' : null };
  }

  #endLine(): RunHint | 'garbage' | null {
    const line = Buffer.concat(this.#line).toString().replace(/\r$/, '');
    this.#line = [];
    if (line !== '') {
      this.#field(line);
      return null;
    }
    const [data, name] = [this.#data, this.#name];
    this.#data = [];
    this.#name = 'message';
    this.#bytes = 0;
    return data.length === 0 || name !== 'message' ? null : readHint(data.join('\n'));
  }

  #field(line: string): void {
    const [, name, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name === 'data') this.#data.push(value);
    if (name === 'event') this.#name = value;
  }
}

/**
 * The status of the run that an event names; null where it names none. A `state` event carries it
 * as `data.status`; there a `content` event has the status of a node, which says nothing of the run.
 */
function readHint(text: string): RunHint | 'garbage' | null {
  const json = parseJson(text);
  if (json === undefined) return 'garbage';
  const event = wireEvent.safeParse(json);
  if (!event.success || (event.data.type !== 'state' && event.data.type !== 'content')) return null;
  const { type, data } = event.data;
  const named = data.workflow_status ?? (type === 'state' ? data.status : null);
  return named === null ? null : { status: named };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
