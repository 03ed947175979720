import type { FetchTrouble } from '../core/outcome.ts';

/** Spaces the requests of one process to a source, and keeps them back while it asks for quiet. */
export class RequestGate {
  readonly #spacingMs: number;
  #nextSlotAt = 0;
  #pause: { message: string; untilMs: number } | null = null;

  /** @param spacingMs least time between two requests */
  constructor(spacingMs: number) {
    this.#spacingMs = spacingMs;
  }

  /** Takes the next free slot. @returns how long to wait for it, ms */
  reserve(now: number): number {
    const slotAt = Math.max(now, this.#nextSlotAt);
    this.#nextSlotAt = slotAt + this.#spacingMs;
    return slotAt - now;
  }

  /** The source takes no requests until then. A shorter pause never ends a longer one. */
  pause(message: string, untilMs: number): void {
    if (this.#pause !== null && this.#pause.untilMs >= untilMs) return;
    this.#pause = { message, untilMs };
  }

  /** What stands in the way of a request at a time; null when it may go. */
  pauseAt(now: number): FetchTrouble | null {
    if (this.#pause === null || this.#pause.untilMs <= now) return null;
    const { message, untilMs } = this.#pause;
    return { kind: 'rate_limited', retryAfterMs: untilMs - now, message };
  }
}
