type Listener = () => void;

/** Notifies listeners of a run that its script no longer applies. */
export class RunChanges {
  readonly #listeners = new Map<string, Set<Listener>>();

  /** @returns a function that ends the subscription */
  listen(id: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(id);
    };
  }

  announce(id: string): void {
    for (const listener of this.#listeners.get(id) ?? []) listener();
  }
}
