import type { Redis } from 'ioredis';
import { RunwatchError } from '../core/errors.ts';
import { isReply, refusalOf } from './failures.ts';

/** For how long a server may say nothing while it makes a snapshot, ms: it sends a line every few seconds. */
const SILENCE_MS = 60_000;

/** Digits of the mark that ends a snapshot of unknown length. Source: Redis, `replication.c`. */
const MARK_BYTES = 40;

const LINE_FEED = 0x0a;

/** How every snapshot begins. */
const MAGIC = 'REDIS';

/** A replica that takes a snapshot of unknown length, and nothing but a snapshot. */
const CAPABILITIES = [
  ['capa', 'eof'],
  ['rdb-only', '1'],
];

/** Takes the next part of a snapshot. */
type WriteData = (data: Buffer) => Promise<void>;

/** What was written of a snapshot. */
export interface SnapshotResult {
  bytes: number;
  /** When the server had begun it, ms since the epoch by the clock of this host. */
  at: number;
}

/**
 * Writes a snapshot of all that a server holds at one moment, as a replica gets it: that needs no file of the server,
 * and holds up no client. The connection is of no further use.
 * @param connection one of its own, ready
 * @param signal ends it, with its reason
 * @throws RunwatchError `snapshot_refused` where the user may not, `snapshot_broken` where it does not come whole
 */
export async function writeSnapshot(
  connection: Redis,
  write: WriteData,
  signal?: AbortSignal,
): Promise<SnapshotResult> {
  signal?.throwIfAborted();
  const { stream } = connection;
  const stop = () => stream.destroy(signal?.reason as Error);
  signal?.addEventListener('abort', stop);
  const reader = new SnapshotReader(write);
  try {
    await ask(connection);
    for await (const chunk of stream) if (await reader.take(chunk as Buffer)) break;
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof RunwatchError ? error : broken((error as Error).message, error);
  } finally {
    signal?.removeEventListener('abort', stop);
    connection.disconnect();
  }
  signal?.throwIfAborted();
  return reader.result();
}

/** From then on, what the server sends are no replies to commands. */
async function ask(connection: Redis): Promise<void> {
  // Servers before 7.0 do not know the last one, which spares the server what follows the snapshot.
  for (const [name = '', value = ''] of CAPABILITIES) {
    await connection.call('REPLCONF', name, value).catch(unlessRefused);
  }
  const { stream } = connection;
  stream.removeAllListeners('data');
  stream.setTimeout(SILENCE_MS, () => stream.destroy(new Error('the server was silent')));
  stream.write('SYNC\r\n');
}

/** A server that refuses these may still give a snapshot. */
function unlessRefused(error: Error): null {
  const reply = error.cause instanceof Error ? error.cause : error;
  if (isReply(reply)) return null;
  throw error;
}

function broken(why: string, cause?: unknown): RunwatchError {
  return new RunwatchError(`the snapshot of Redis did not come whole: ${why}`, {
    code: 'snapshot_broken',
    retriable: true,
    cause,
  });
}

/** Takes what a server sends to a new replica: line feeds while it works, a head, and the snapshot. */
class SnapshotReader {
  /** What came and is no whole line yet; then what may be the beginning of the mark. */
  private rest: Buffer = Buffer.alloc(0);
  private head: { length: number } | { mark: Buffer } | null = null;
  private bytes = 0;
  private at = 0;
  private isWhole = false;

  constructor(private readonly writeData: WriteData) {}

  /** @returns whether the snapshot is whole */
  async take(chunk: Buffer): Promise<boolean> {
    let left = chunk;
    if (this.head === null) {
      const after = this.takeLines(Buffer.concat([this.rest, chunk]));
      if (after === null) return false;
      left = after;
    }
    await this.takeData(left);
    return this.isWhole;
  }

  result(): SnapshotResult {
    if (!this.isWhole) throw broken('the connection ended');
    return { bytes: this.bytes, at: this.at };
  }

  /** @returns what stands behind the head; null before that */
  private takeLines(text: Buffer): Buffer | null {
    let from = 0;
    for (let end = text.indexOf(LINE_FEED); end >= 0; end = text.indexOf(LINE_FEED, from)) {
      this.takeLine(text.toString('latin1', from, end).trimEnd());
      from = end + 1;
      if (this.head !== null) {
        this.rest = Buffer.alloc(0);
        return text.subarray(from);
      }
    }
    this.rest = text.subarray(from);
    return null;
  }

  private takeLine(line: string): void {
    if (line === '') return;
    if (line.startsWith('$EOF:')) this.begin({ mark: Buffer.from(line.slice('$EOF:'.length)) });
    else if (line.startsWith('$')) this.begin({ length: Number(line.slice(1)) });
    else throw refused(line.replace(/^-/, ''));
  }

  private begin(head: { length: number } | { mark: Buffer }): void {
    const isOdd = 'mark' in head ? head.mark.length !== MARK_BYTES : !(head.length > 0);
    if (isOdd) throw broken('the server sent something else');
    this.head = head;
    this.at = Date.now();
  }

  private async takeData(data: Buffer): Promise<void> {
    if (this.head === null) return;
    if ('length' in this.head) {
      const wanted = data.subarray(0, this.head.length - this.bytes);
      await this.write(wanted);
      this.isWhole = this.bytes === this.head.length;
      return;
    }
    // The mark may come in two parts, so that its length is held back.
    const all = Buffer.concat([this.rest, data]);
    const from = Math.max(0, all.length - MARK_BYTES);
    await this.write(all.subarray(0, from));
    this.rest = all.subarray(from);
    this.isWhole = this.rest.equals(this.head.mark);
  }

  private async write(data: Buffer): Promise<void> {
    if (data.length === 0) return;
    if (this.bytes === 0 && !MAGIC.startsWith(data.toString('latin1', 0, MAGIC.length))) {
      throw broken('the server sent something else');
    }
    this.bytes += data.length;
    await this.writeData(data);
  }
}

function refused(reply: string): RunwatchError {
  const refusal = refusalOf(new Error(reply));
  const mayNot = refusal === null || refusal.code === 'NOPERM';
  const cure = mayNot
    ? '; its user needs the right to SYNC, which many providers keep for themselves: take their snapshot then'
    : '';
  return new RunwatchError(`Redis gives no snapshot: ${reply}${cure}`, {
    code: 'snapshot_refused',
  });
}
