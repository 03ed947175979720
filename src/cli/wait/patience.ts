import { setTimeout as sleep } from 'node:timers/promises';
import { isNetworkError, messageOf, RunwatchError } from '../../core/errors.ts';
import type { RunwatchClient } from '../../client/client.ts';
import type { CommandLine } from '../command-line.ts';
import { note } from '../report.ts';
import { exitCodeOfVerdict } from './verdict.ts';

/** Between two tries to read what the daemon did not answer, ms. */
const AGAIN_MS = 2_000;

/** Of connections, where nothing listens or the host is unknown: after the wait of a start, that is a mistake. */
const NOBODY_THERE = new Set(['ECONNREFUSED', 'ENOTFOUND']);

/** What a wait may take: its own time, and how long a daemon that does not answer is asked again. */
export class Patience {
  /** Ends requests and pauses: Ctrl-C, or the end of the time for the wait. */
  readonly signal: AbortSignal;
  private readonly deadline: AbortSignal | undefined;
  private readonly endsAt: number;
  private isNoted = false;
  /** Once the daemon was there, it is away for a while where it is not. */
  private wasThere = false;

  /** @param timeoutMs absent for as long as it takes */
  constructor(
    private readonly cli: CommandLine,
    timeoutMs?: number,
  ) {
    this.endsAt = performance.now() + (timeoutMs ?? Infinity);
    this.deadline = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
    this.signal = AbortSignal.any([cli.signal, ...(this.deadline ? [this.deadline] : [])]);
  }

  /** Whether the time for the wait is up, and no user has ended it. */
  get isOver(): boolean {
    return this.deadline?.aborted === true && !this.cli.signal.aborted;
  }

  /** What is left of the time for the wait, ms, at least 1; undefined for as long as it takes. */
  leftMs(): number | undefined {
    if (this.endsAt === Infinity) return undefined;
    return Math.max(1, Math.ceil(this.endsAt - performance.now()));
  }

  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.signal });
  }

  /** Asks again where a daemon that is there does not answer. The request must do no harm where it is done twice. */
  async through<Found>(ask: () => Promise<Found>): Promise<Found> {
    const until = performance.now() + this.cli.patienceMs;
    for (;;) {
      try {
        const found = await ask();
        this.wasThere = true;
        return found;
      } catch (error) {
        if (!this.mayPass(error) || performance.now() >= until) throw error;
        this.say(error);
      }
      await this.pause(AGAIN_MS);
    }
  }

  /** The client with patient look-ups and registrations: a run that is registered twice is watched once. */
  client(client: RunwatchClient): RunwatchClient {
    return {
      ...client,
      lookup: (query) => this.through(() => client.lookup(query)),
      registerBatch: (...all) => this.through(() => client.registerBatch(...all)),
    };
  }

  /** What the first look-ups find; where the time for the wait is up before, the exit code of that. */
  async lookUp<Found extends object | null>(find: () => Promise<Found>): Promise<Found | number> {
    try {
      return await find();
    } catch (error) {
      if (!this.isOver) throw error;
      note(this.cli.io.stderr, 'The time for waiting is up, and the daemon has not answered.');
      return exitCodeOfVerdict('timed_out');
    }
  }

  private mayPass(error: unknown): error is RunwatchError {
    if (!(error instanceof RunwatchError)) return false;
    this.wasThere ||= !(isNetworkError(error.cause) && NOBODY_THERE.has(error.cause.code));
    return error.retriable && this.wasThere;
  }

  private say(error: RunwatchError): void {
    if (this.isNoted) return;
    this.isNoted = true;
    const seconds = Math.round(this.cli.patienceMs / 1_000);
    note(this.cli.io.stderr, `${messageOf(error)}; asking again for up to ${seconds} s`);
  }
}
