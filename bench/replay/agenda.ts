/** Tasks to do, the earliest first: a binary heap. */
export class Agenda<Item> {
  private readonly heap: { at: number; item: Item }[] = [];

  get size(): number {
    return this.heap.length;
  }

  /** When the next thing is due; Infinity when there is none. */
  get nextAt(): number {
    return this.heap[0]?.at ?? Infinity;
  }

  add(at: number, item: Item): void {
    const { heap } = this;
    let place = heap.push({ at, item }) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (heap[parent]!.at <= at) break;
      heap[place] = heap[parent]!;
      place = parent;
    }
    heap[place] = { at, item };
  }

  /** Takes the earliest thing out; undefined when there is none. */
  take(): { at: number; item: Item } | undefined {
    const { heap } = this;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child += 1;
      if (heap[child]!.at >= last.at) break;
      heap[place] = heap[child]!;
      place = child;
    }
    heap[place] = last;
    return first;
  }
}
