/** The longest life of a slot, ms: then BullMQ may give the next one to another process. */
const SLOT_MS = 10_000;

/** A requested slot that has not begun by now was lost or runs in another process, ms. */
const REQUESTED_MS = 1_000;

/** What a slot does next: make a request, or wait. */
export type NextClaim<Claim> =
  /** `heldMs`: how long the rate limit is used up after this request. */
  | { is: 'claimed'; claim: Claim; heldMs: number }
  /** Nothing is due for this time; null for an empty schedule. */
  | { is: 'idle'; ms: number | null }
  /** The source accepts no request for this time. */
  | { is: 'held'; ms: number };

interface SlotsDependencies<Claim> {
  claim: () => Promise<NextClaim<Claim>>;
  /** Makes a claimed request and settles it; never throws. */
  perform: (claim: Claim) => Promise<void>;
  /** Adds slots to the queue that all processes share. */
  add: (count: number) => Promise<void>;
  /** Slots that run at once in this process. */
  concurrency: number;
  /** Milliseconds of a clock that only runs forward. */
  clock: () => number;
  onError: (error: unknown) => void;
}

/**
 * The slots of one source in this process. A slot without a due request waits if one becomes due
 * during its life, so that a steady rate of requests needs few slots. Each claimed request wakes or
 * adds one more slot, and thus spreads the work over slots and processes.
 */
export class Slots<Claim> {
  private readonly waiting: ((isWoken: boolean) => void)[] = [];
  private readonly timer: EarliestTimer;
  private running = 0;
  /** When the slots were requested that have not begun. */
  private requested: number[] = [];
  private isStopped = false;
  private heldUntil = -Infinity;

  constructor(private readonly deps: SlotsDependencies<Claim>) {
    this.timer = new EarliestTimer(deps.clock, () => this.due(1));
  }

  /** This many requests are due now. */
  due(count: number): void {
    if (this.isStopped || count <= 0) return;
    if (this.isHeld()) return this.timer.set(this.heldUntil);
    let left = count;
    for (; left > 0 && this.waiting.length > 0; left -= 1) this.waiting.pop()?.(true);
    this.request(left);
  }

  /** A request is due after this time. */
  dueIn(ms: number): void {
    if (!this.isStopped) this.timer.set(this.deps.clock() + ms);
  }

  /** The source accepts requests again. */
  free(): void {
    this.heldUntil = -Infinity;
    this.due(1);
  }

  /** Runs one slot: it claims and makes requests until none is due soon or its life ends. */
  async run(): Promise<void> {
    const { clock } = this.deps;
    this.running += 1;
    this.requested.shift();
    const until = clock() + SLOT_MS;
    let goesOn = true;
    try {
      while (goesOn && clock() < until) goesOn = await this.step(until);
    } finally {
      this.running -= 1;
    }
    // The slot ended with requests left to make.
    if (goesOn && !this.isStopped) this.request(1);
  }

  /** Ends waiting slots, and running ones after their request. */
  stop(): void {
    this.isStopped = true;
    this.timer.clear();
    for (let finish = this.waiting.pop(); finish; finish = this.waiting.pop()) finish(false);
  }

  private isHeld(): boolean {
    return this.deps.clock() < this.heldUntil;
  }

  private hold(ms: number): void {
    this.heldUntil = Math.max(this.heldUntil, this.deps.clock() + ms);
    this.timer.set(this.heldUntil);
  }

  private request(count: number): void {
    const { clock, concurrency } = this.deps;
    if (this.requested.length > 0)
      this.requested = this.requested.filter((at) => at > clock() - REQUESTED_MS);
    const wanted = Math.min(count, concurrency - this.running - this.requested.length);
    if (wanted <= 0) return;
    this.requested.push(...Array.from({ length: wanted }, clock));
    this.deps.add(wanted).catch((error: unknown) => {
      this.requested = [];
      this.deps.onError(error);
    });
  }

  /** @returns false if the slot ends because no request is due during its life */
  private async step(until: number): Promise<boolean> {
    if (this.isStopped) return false;
    if (this.isHeld()) return this.wait(until);
    const next = await this.deps.claim();
    switch (next.is) {
      case 'claimed':
        if (next.heldMs > 0) this.hold(next.heldMs);
        else this.due(1);
        await this.deps.perform(next.claim);
        return true;
      case 'held':
        this.hold(next.ms);
        return this.wait(until);
      case 'idle':
        if (next.ms !== null) this.timer.set(this.deps.clock() + next.ms);
        return this.wait(until);
    }
  }

  private wait(until: number): Promise<boolean> {
    if (this.isStopped || this.timer.at > until) return Promise.resolve(false);
    return new Promise((resolve) => {
      const leftMs = Math.max(0, until - this.deps.clock());
      const timer = setTimeout(() => finish(false), leftMs);
      const finish = (isWoken: boolean): void => {
        clearTimeout(timer);
        const index = this.waiting.indexOf(finish);
        if (index >= 0) this.waiting.splice(index, 1);
        resolve(isWoken);
      };
      this.waiting.push(finish);
    });
  }
}

/** A timer that fires once, at the earliest time set. */
class EarliestTimer {
  /** Infinity while unset. */
  at = Infinity;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly clock: () => number,
    private readonly fire: () => void,
  ) {}

  set(at: number): void {
    if (at >= this.at) return;
    clearTimeout(this.timer);
    this.at = at;
    const ms = Math.max(1, Math.ceil(at - this.clock()));
    this.timer = setTimeout(() => {
      this.at = Infinity;
      this.fire();
    }, ms).unref();
  }

  clear(): void {
    clearTimeout(this.timer);
    this.at = Infinity;
  }
}
