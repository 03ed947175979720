import { writeSync } from 'node:fs';
import { messageOf } from '../core/errors.ts';

/** The most bytes that the stream is given at a time: its own buffer has no bound. */
const MOST_IN_FLIGHT = 64 * 1024;
/** The most bytes that wait in memory; further lines are dropped. */
const MOST_WAITING = 4 * 1024 * 1024;
/** After this long without progress the reader counts as stalled, ms. Less than a lease lasts. */
const STALLED_MS = 10_000;
/** How often a write is tried again after one that failed, ms. */
const RETRY_EVERY_MS = 10_000;

/** Writes one line after the ones before, and calls back once it is written: by an error where it was not. */
export type LogSink = (line: string, done: (error: unknown) => void) => void;

/** Why and since when no line can be written. */
export interface LogTrouble {
  reason: string;
  /** Milliseconds since the epoch. */
  since: number;
}

/** What happened to the log while it could not say so. */
export interface LogGap {
  trouble: LogTrouble | null;
  droppedLines: number;
}

export interface LogListener {
  /** Lines can be written again. */
  writable(): void;
  /** One more line was dropped. */
  dropped(): void;
}

interface LogOutputOptions {
  now?: () => number;
  stalledMs?: number;
  retryEveryMs?: number;
}

interface Line {
  number: number;
  text: string;
  bytes: number;
  /** Null for a line that may be dropped. */
  settle: ((error: unknown) => void) | null;
  /** Set for a line about a gap. */
  gap: LogGap | null;
}

/**
 * Where all lines of this process go. What a slow or stalled reader leaves waits in memory, within a bound;
 * lines beyond it are dropped and counted. Lines that must be written are never dropped: their senders
 * hear whether they were.
 */
export class LogOutput {
  private readonly waiting: Line[] = [];
  private waitingBytes = 0;
  private readonly inFlight = new Set<Line>();
  private inFlightBytes = 0;
  private lines = 0;
  private current: LogTrouble | null = null;
  /** Dropped lines that the log has not counted yet. */
  private uncounted = 0;
  private isPumping = false;
  private stallTimer: NodeJS.Timeout | undefined;
  private retryTimer: NodeJS.Timeout | undefined;
  private readonly listeners: LogListener[] = [];

  /**
   * @param gapLine makes the line of the log about a gap
   * @param complain says elsewhere than in the log that no line can be written
   */
  constructor(
    private readonly sink: LogSink,
    private readonly gapLine: (gap: LogGap) => string,
    private readonly complain: (text: string) => void,
    private readonly options: LogOutputOptions = {},
  ) {}

  /** A line that is dropped where too many wait. */
  write(text: string): void {
    const line = this.lineOf(text, null);
    if (this.isFree()) return this.send(line);
    if (this.waitingBytes + this.inFlightBytes + line.bytes > MOST_WAITING) return this.drop();
    this.enqueue(line);
  }

  /**
   * A line that must be written. Resolves once it was; after an error it may come yet.
   * @throws an error that says why no line can be written
   */
  deliver(text: string): Promise<void> {
    if (this.current !== null) return Promise.reject(new Error(this.current.reason));
    return new Promise((resolve, reject) => {
      const line = this.lineOf(text, (error) =>
        error === null ? resolve() : reject(new Error(messageOf(error), { cause: error })),
      );
      if (this.isFree()) this.send(line);
      else this.enqueue(line);
    });
  }

  /** Null while lines can be written. */
  trouble(): LogTrouble | null {
    return this.current;
  }

  listen(listener: LogListener): void {
    this.listeners.push(listener);
  }

  /** Hands over what waits, for a process that ends: the kernel takes what it has room for. */
  flush(): void {
    for (const { text } of this.waiting.splice(0)) this.sink(text, () => undefined);
    this.waitingBytes = 0;
  }

  private lineOf(text: string, settle: Line['settle'], gap: LogGap | null = null): Line {
    this.lines += 1;
    return { number: this.lines, text, bytes: Buffer.byteLength(text), settle, gap };
  }

  private isFree(): boolean {
    const isEmpty = this.waiting.length === 0;
    return this.current === null && isEmpty && this.inFlightBytes < MOST_IN_FLIGHT;
  }

  private enqueue(line: Line): void {
    // A line that was not written goes back to its place.
    const after = this.waiting.findLastIndex(({ number }) => number < line.number);
    this.waiting.splice(after + 1, 0, line);
    this.waitingBytes += line.bytes;
  }

  private drop(): void {
    this.uncounted += 1;
    for (const listener of this.listeners) listener.dropped();
  }

  private send(line: Line): void {
    this.inFlight.add(line);
    this.inFlightBytes += line.bytes;
    this.sink(line.text, (error) => this.onWritten(line, error));
    if (this.inFlight.size > 0 && this.stallTimer === undefined) this.expectProgress();
  }

  private expectProgress(): void {
    clearTimeout(this.stallTimer);
    this.stallTimer = undefined;
    if (this.inFlight.size === 0 || this.current !== null) return;
    const { stalledMs = STALLED_MS } = this.options;
    const reason = `its reader has read nothing for ${stalledMs / 1_000} s`;
    this.stallTimer = setTimeout(() => this.begin(reason), stalledMs).unref();
  }

  private onWritten(line: Line, error: unknown): void {
    this.inFlight.delete(line);
    this.inFlightBytes -= line.bytes;
    if (error !== null) return this.onFailed(line, error);
    line.settle?.(null);
    const before = this.current;
    if (before !== null) this.end();
    this.expectProgress();
    // The line that was tried again is about the trouble already.
    if (before !== null && line.gap === null) this.writeGap(before);
    this.pump();
  }

  private onFailed(line: Line, error: unknown): void {
    this.begin(messageOf(error));
    if (line.settle !== null) line.settle(error);
    else if (line.gap === null) this.enqueue(line);
    else this.uncounted += line.gap.droppedLines;
    const { retryEveryMs = RETRY_EVERY_MS } = this.options;
    this.retryTimer ??= setInterval(() => this.retry(), retryEveryMs).unref();
  }

  /** Lines that must be written are given back to their senders, which may have another way. */
  private begin(reason: string): void {
    if (this.current !== null) return;
    const { now = Date.now } = this.options;
    this.current = { reason, since: now() };
    this.expectProgress();
    const error = new Error(reason);
    for (const line of this.inFlight) line.settle?.(error);
    const kept = this.waiting.filter(({ settle }) => {
      settle?.(error);
      return settle === null;
    });
    this.waiting.splice(0, this.waiting.length, ...kept);
    this.waitingBytes = kept.reduce((sum, { bytes }) => sum + bytes, 0);
    this.complain(`the log cannot be written: ${reason}`);
  }

  private end(): void {
    this.current = null;
    clearInterval(this.retryTimer);
    this.retryTimer = undefined;
    for (const listener of this.listeners) listener.writable();
  }

  private retry(): void {
    if (this.current !== null && this.inFlight.size === 0) this.writeGap(this.current);
  }

  private writeGap(trouble: LogTrouble | null): void {
    const gap = { trouble, droppedLines: this.uncounted };
    this.uncounted = 0;
    this.send(this.lineOf(this.gapLine(gap), null, gap));
  }

  private pump(): void {
    // A file takes a line while it is being sent.
    if (this.isPumping) return;
    this.isPumping = true;
    while (this.current === null && this.inFlightBytes < MOST_IN_FLIGHT) {
      const line = this.waiting.shift();
      if (line === undefined) break;
      this.waitingBytes -= line.bytes;
      this.send(line);
    }
    this.isPumping = false;
    const isDrained = this.current === null && this.waitingBytes < MOST_WAITING / 2;
    if (isDrained && this.uncounted > 0) this.writeGap(null);
  }
}

/** The sink of a pipe, a socket or a terminal. */
export function streamSink(stream: NodeJS.WritableStream): LogSink {
  return (line, done) => {
    stream.write(line, (error) => done(error ?? null));
  };
}

/**
 * The sink of a file. A stream of Node takes a write of half a line to a disk that becomes full for a whole
 * one. Behind half a line the next write begins with a line feed.
 */
export function fileSink(fd: number): LogSink {
  let isTorn = false;
  return (line, done) => {
    const bytes = Buffer.from(isTorn ? `\n${line}` : line);
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(fd, bytes, written);
      isTorn = false;
    } catch (error) {
      if (written > 0) isTorn = true;
      return done(error);
    }
    done(null);
  };
}
