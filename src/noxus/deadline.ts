import { setMaxListeners } from 'node:events';
import { RunwatchError } from '../core/errors.ts';

/**
 * The time that one call may take in all, however many requests it makes. A class with one timer
 * and no AbortController, for one is made with every poll.
 */
export class Deadline {
  readonly #endsAt: number;
  readonly #timer: NodeJS.Timeout;
  readonly #caller: AbortSignal | undefined;
  #ended: 'expired' | 'abandoned' | null = null;
  #interrupt: (() => void) | null = null;

  /**
   * @param timeoutMs milliseconds from now
   * @param caller fires when the caller goes away
   */
  constructor(timeoutMs: number, caller: AbortSignal | undefined) {
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

  /** Ends the call because its caller goes away. */
  readonly abandon = (): void => this.#end('abandoned');

  /** Says what to stop when the call has to end; the last word counts. Called at once if it has. */
  onEnd(interrupt: () => void): void {
    this.#interrupt = interrupt;
    if (this.#ended !== null) interrupt();
  }

  /** Throws when the caller has gone away; a deadline that has passed is no reason. */
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
  }
}
