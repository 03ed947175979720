import { setMaxListeners } from 'node:events';
import { RunwatchError } from './core/errors.ts';

/**
 * The time that one call may take in all, however many requests it makes. A class with one timer that
 * makes its AbortController only when asked, for one deadline is made with every poll.
 *
 * Not `AbortSignal.any`: a caller's signal that lives as long as the process would hold on to what it
 * was combined with.
 */
export class Deadline {
  readonly #endsAt: number;
  readonly #timer: NodeJS.Timeout;
  readonly #caller: AbortSignal | undefined;
  #ended: 'expired' | 'abandoned' | null = null;
  #interrupt: (() => void) | null = null;
  #controller: AbortController | null = null;

  /**
   * @param timeoutMs milliseconds from now
   * @param caller fires when the caller goes away
   */
  constructor(timeoutMs: number, caller?: AbortSignal) {
    this.#endsAt = performance.now() + timeoutMs;
    this.#timer = setTimeout(() => this.#end('expired'), timeoutMs);
    this.#caller = caller;
    if (caller === undefined) return;
    if (caller.aborted) this.abandon();
    // One signal, that of the shutdown, serves all calls in flight: many listeners are no leak.
    setMaxListeners(0, caller);
    caller.addEventListener('abort', this.abandon);
  }

  /** Milliseconds that are left; never negative. */
  get remainingMs(): number {
    return Math.max(0, this.#endsAt - performance.now());
  }

  /** Fires when the time is over or the caller goes away. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#ended !== null) this.#controller.abort();
    return this.#controller.signal;
  }

  /** Ends the call because its caller goes away. */
  readonly abandon = (): void => this.#end('abandoned');

  /** Sets what to stop when the call has to end; the last one counts. Called at once if it has. */
  onEnd(interrupt: () => void): void {
    this.#interrupt = interrupt;
    if (this.#ended !== null) interrupt();
  }

  /** Throws RunwatchError `aborted` when the caller has gone away; an expired deadline is no reason. */
  throwIfAbandoned(): void {
    if (this.#ended !== 'abandoned') return;
    throw new RunwatchError('the read was given up', { code: 'aborted' });
  }

  /** Must be called once the call is over: lets go of the timer and of the caller's signal. */
  release(): void {
    clearTimeout(this.#timer);
    this.#interrupt = null;
    this.#caller?.removeEventListener('abort', this.abandon);
  }

  #end(reason: 'expired' | 'abandoned'): void {
    if (this.#ended !== null) return;
    this.#ended = reason;
    this.#interrupt?.();
    this.#controller?.abort();
  }
}

/** True for the error of a call whose caller has gone away, as all do when the process stops. */
export function isAborted(error: unknown): boolean {
  return error instanceof RunwatchError && error.code === 'aborted';
}
