import { z } from 'zod';
import { withoutControls } from '../core/controls.ts';
import { SseParser } from '../core/event/sse.ts';
import type { StreamNote } from '../core/feed/event-stream.ts';
import { boundedNodes, type RunNodes } from '../core/run/nodes.ts';
import { parseJson } from './errors.ts';

/** Longest event that is read, bytes; what is longer is no event of a run, or an attack. */
const MAX_EVENT_BYTES = 524_288;

/** All streams of a source together hold no more of events that are not complete, bytes. */
const MAX_HELD_BYTES = 33_554_432;

/** A stream that sends more in a second is closed, bytes. */
const MAX_BYTES_A_SECOND = 4_194_304;

/** Of the events of a second so many bytes are parsed; then only the last one of it. */
const PARSED_BYTES_A_SECOND = 262_144;

const SECOND_MS = 1_000;

/** What all streams of a source hold of events that are not complete. */
export class HeldBytes {
  bytes = 0;
}

const text = z
  .string()
  .min(1)
  .max(128)
  .transform((found) => withoutControls(found))
  .nullable()
  .catch(null);

const ids = z
  .union([z.array(z.string().max(128)), z.record(z.string().max(128), z.unknown())])
  .transform((found) => (Array.isArray(found) ? found : Object.keys(found)))
  .catch([]);

const details = z
  .object({
    executed_nodes: ids,
    remaining_nodes: ids,
    running_nodes: ids,
    failed_nodes: ids,
  })
  .nullable()
  .catch(null);

/** What is read of an event. Everything else, the content first of all, is private and dropped. */
const wireEvent = z.object({
  type: z.string().catch(''),
  redisId: text,
  run_id: text,
  data: z
    .object({ status: text, workflow_status: text, progress_details: details, run_id: text })
    .catch({ status: null, workflow_status: null, progress_details: null, run_id: null }),
});

interface ReaderOptions {
  memory?: HeldBytes;
  onNote: (note: StreamNote) => void;
}

/**
 * Reads the events of a run. Comments and other kinds of events are passed over. However fast they
 * come, the CPU that they take is bounded: of those beyond it only the last is parsed, a second later.
 */
export class EventReader {
  broken: null | 'garbage' | 'too_large' = null;
  private readonly parser = new SseParser(MAX_EVENT_BYTES);
  private readonly memory: HeldBytes;
  private second = { at: 0, bytes: 0, parsed: 0 };
  private held: string | null = null;
  private timer: NodeJS.Timeout | null = null;

  constructor(
    private readonly runId: string,
    private readonly options: ReaderOptions,
  ) {
    this.memory = options.memory ?? new HeldBytes();
  }

  /** @returns false once the stream is broken */
  take(piece: Uint8Array): boolean {
    if (this.broken !== null) return false;
    this.beginSecond();
    this.second.bytes += piece.byteLength;
    const before = this.parser.heldBytes;
    const messages = this.parser.push(piece);
    this.memory.bytes += this.parser.heldBytes - before;
    for (const { event, data } of messages) {
      if (data !== null && (event ?? 'message') === 'message') this.next(data);
    }
    const isTooMuch = this.second.bytes > MAX_BYTES_A_SECOND || this.memory.bytes > MAX_HELD_BYTES;
    if (this.parser.isTooLarge || isTooMuch) this.broken ??= 'too_large';
    return this.broken === null;
  }

  /** Parses the event that was deferred. */
  flush(): void {
    if (this.held !== null) this.parse(this.held);
    this.held = null;
  }

  stop(): void {
    this.memory.bytes -= this.parser.heldBytes;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  private beginSecond(): void {
    const now = performance.now();
    if (now - this.second.at >= SECOND_MS) this.second = { at: now, bytes: 0, parsed: 0 };
  }

  private next(data: string): void {
    if (this.broken !== null) return;
    const isFirst = this.second.parsed === 0;
    this.second.parsed += data.length;
    if (isFirst || this.second.parsed <= PARSED_BYTES_A_SECOND) {
      this.held = null;
      return this.parse(data);
    }
    this.held = data;
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.flush();
    }, SECOND_MS).unref();
  }

  private parse(data: string): void {
    const json = parseJson(data);
    if (json === undefined) this.broken ??= 'garbage';
    else this.read(json);
  }

  /**
   * A `state` event carries the run's status as `data.status`; there a `content` event has the status
   * of a node, which says nothing of the run.
   */
  private read(json: unknown): void {
    const event = wireEvent.safeParse(json);
    if (!event.success) return;
    const { type, data, redisId } = event.data;
    if (type !== 'state' && type !== 'content') return;
    const about = event.data.run_id ?? data.run_id ?? this.runId;
    if (about.toLowerCase() !== this.runId.toLowerCase()) return;
    const status = data.workflow_status ?? (type === 'state' ? data.status : null);
    this.options.onNote({ status, nodes: nodesOf(data.progress_details), redisId });
  }
}

function nodesOf(found: z.output<typeof details>): RunNodes | null {
  if (found === null) return null;
  const { executed_nodes: executed, remaining_nodes: remaining } = found;
  return boundedNodes({
    executed: executed.length,
    remaining: remaining.length,
    running: found.running_nodes,
    failed: found.failed_nodes,
  });
}
