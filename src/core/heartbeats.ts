/** When each process's counter was last seen to rise, milliseconds since the epoch. */
export class Heartbeats {
  private readonly seen = new Map<string, { counter: string; at: number }>();

  note(counters: ReadonlyMap<string, string>, now: number): void {
    for (const id of this.seen.keys()) if (!counters.has(id)) this.seen.delete(id);
    for (const [id, counter] of counters) {
      if (this.seen.get(id)?.counter !== counter) this.seen.set(id, { counter, at: now });
    }
  }

  /** The processes with a counter, and when it last rose. */
  all(): [id: string, at: number][] {
    return [...this.seen].map(([id, { at }]) => [id, at]);
  }
}
