import { setTimeout as sleep } from 'node:timers/promises';
import { fullJitter, type Random } from '../../core/backoff.ts';
import { heard, newHints, readFound, type HintStep } from '../../core/feed/stream-hint.ts';
import type { PollResult } from '../../core/run/snapshot.ts';
import type { FollowRun } from '../context.ts';

/** While a stream is open, the run is read this often, for what streams may not tell, ms. */
const READ_EVERY_MS = 15_000;

/** How long the first read waits for the stream, ms. */
const BEGIN_MS = 1_000;

/** From the break of a stream until it is opened again. */
const REOPEN = { baseMs: 1_000, maxMs: 60_000 };

interface RunStreamOptions {
  /** Absent where no streams are followed. */
  follow?: FollowRun | undefined;
  /** Spaces the requests of all runs. */
  pacer: { reserve(now: number): number };
  signal: AbortSignal;
  now: () => number;
  random: Random;
}

/** The event stream of a run for which the command line waits: it says when a read is worth while. */
export class RunStream {
  private hints = newHints(null);
  private isLive = false;
  private etag: string | null = null;
  private readInMs: number | null = null;
  private wake: () => void = () => undefined;

  constructor(private readonly options: RunStreamOptions) {}

  /** Opens the stream, and waits until it is open, or not to be had. */
  async begin(runId: string): Promise<void> {
    const { follow } = this.options;
    if (follow === undefined) return;
    const begun = new Promise<void>((resolve) => (this.wake = resolve));
    void this.keep(follow, runId).catch(() => undefined);
    await Promise.race([begun, sleep(BEGIN_MS, undefined, { ref: false })]);
  }

  /** Takes in a read of the run. */
  read(result: PollResult, askedAt: number): void {
    if (result.kind !== 'run') return;
    const { status } = result.run;
    this.take(readFound(this.hints, { status, askedAt }, this.options.now()));
  }

  /** Waits until the next read is due. @param delayMs by the cadence, where no stream is open */
  async untilDue(delayMs: number): Promise<void> {
    const woken = new Promise<void>((resolve) => (this.wake = resolve));
    const ms = this.readInMs ?? (this.isLive ? READ_EVERY_MS : delayMs);
    this.readInMs = null;
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, this.options.signal]);
    try {
      await Promise.race([sleep(ms, undefined, { signal }), woken]);
    } finally {
      over.abort();
    }
  }

  private async keep(follow: FollowRun, runId: string): Promise<void> {
    const { signal, random, pacer, now } = this.options;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      await sleep(pacer.reserve(now()), undefined, { signal, ref: false });
      const { kind } = await follow(runId, {
        etag: this.etag,
        signal,
        onLive: () => {
          this.isLive = true;
          this.wake();
        },
        onNote: ({ status, redisId }) => {
          this.etag = redisId ?? this.etag;
          if (status === null) return;
          this.take(heard(this.hints, status, { now: this.options.now(), isStartWanted: true }));
        },
      });
      const wasLive = this.isLive;
      this.isLive = false;
      if (this.hints.pending === null) this.wake();
      if (kind !== 'ended' || !wasLive) return;
      await sleep(fullJitter(REOPEN, attempt, random), undefined, { signal, ref: false });
    }
  }

  private take(step: HintStep): void {
    this.hints = step.hints;
    this.readInMs = step.readInMs;
    if (step.readInMs === 0) this.wake();
  }
}
