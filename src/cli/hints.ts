import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Wakes those who wait for news of a run. A hint that comes while nobody waits is kept for the next
 * who does, so that no news falls between a look and the wait after it.
 */
export class Hints {
  readonly #wakers = new Map<string, () => void>();
  readonly #kept = new Set<string>();
  readonly #wanted: ReadonlySet<string>;

  /** @param wanted the names that hints are kept for; others are dropped */
  constructor(wanted: Iterable<string>) {
    this.#wanted = new Set(wanted);
  }

  give(name: string): void {
    if (!this.#wanted.has(name)) return;
    this.#kept.add(name);
    this.#wakers.get(name)?.();
  }

  /** Resolves at the next hint, or after `ms` at the latest; rejects when the signal aborts. */
  async next(name: string, ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wakers.set(name, () => woken.abort());
    if (this.#kept.has(name)) woken.abort();
    try {
      await sleep(ms, undefined, { signal: AbortSignal.any([signal, woken.signal]) });
    } catch (error) {
      if (!woken.signal.aborted || signal.aborted) throw error;
    } finally {
      this.#wakers.delete(name);
      this.#kept.delete(name);
    }
  }
}
