/** How long a slot goes on at most before BullMQ may give its place to another process, ms. */
const SLOT_MS = 10_000;

/** A slot that was asked for this long ago was lost, or has begun in another process, ms. */
const ASKED_MS = 1_000;

/** What a slot is to do next: make a request, or wait; null where nothing is known to come. */
export type Turn<Claim> =
  /** `heldMs`: the rate limit is used up for so long once this request is made. */
  | { is: 'claimed'; claim: Claim; heldMs: number }
  /** Nothing is due before. */
  | { is: 'idle'; ms: number | null }
  /** The source takes no request before. */
  | { is: 'held'; ms: number };

interface SlotsDependencies<Claim> {
  claim: () => Promise<Turn<Claim>>;
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
 * The slots of one source in this process. A slot that finds nothing to do waits for as long as
 * something comes within its time, so that a steady pace of requests takes few slots. Each request
 * that is claimed wakes one slot more, or asks for one: work spreads over slots and processes as a
 * chain does, and none is counted.
 */
export class Slots<Claim> {
  private readonly waiting: ((isWoken: boolean) => void)[] = [];
  private readonly alarm: Alarm;
  private running = 0;
  /** When slots were asked for that have not begun. */
  private asked: number[] = [];
  private isStopped = false;
  private heldUntil = -Infinity;

  constructor(private readonly deps: SlotsDependencies<Claim>) {
    this.alarm = new Alarm(deps.clock, () => this.due(1));
  }

  /** So many requests are due now. */
  due(count: number): void {
    if (this.isStopped || count <= 0) return;
    if (this.isHeld()) return this.alarm.set(this.heldUntil);
    let left = count;
    for (; left > 0 && this.waiting.length > 0; left -= 1) this.waiting.pop()?.(true);
    this.ask(left);
  }

  /** Something is due after so many ms. */
  dueIn(ms: number): void {
    if (!this.isStopped) this.alarm.set(this.deps.clock() + ms);
  }

  /** The source takes requests again. */
  free(): void {
    this.heldUntil = -Infinity;
    this.due(1);
  }

  /** Runs one slot: claims, performs, claims again, until nothing comes soon or its time is over. */
  async run(): Promise<void> {
    const { clock } = this.deps;
    this.running += 1;
    this.asked.shift();
    const until = clock() + SLOT_MS;
    let goesOn = true;
    try {
      while (goesOn && clock() < until) goesOn = await this.turn(until);
    } finally {
      this.running -= 1;
    }
    // Its time was over, not its work.
    if (goesOn && !this.isStopped) this.ask(1);
  }

  /** Lets no slot claim anything more. Those that wait end. */
  stop(): void {
    this.isStopped = true;
    this.alarm.clear();
    for (let finish = this.waiting.pop(); finish; finish = this.waiting.pop()) finish(false);
  }

  private isHeld(): boolean {
    return this.deps.clock() < this.heldUntil;
  }

  private hold(ms: number): void {
    this.heldUntil = Math.max(this.heldUntil, this.deps.clock() + ms);
    this.alarm.set(this.heldUntil);
  }

  private ask(count: number): void {
    const { clock, concurrency } = this.deps;
    if (this.asked.length > 0) this.asked = this.asked.filter((at) => at > clock() - ASKED_MS);
    const wanted = Math.min(count, concurrency - this.running - this.asked.length);
    if (wanted <= 0) return;
    this.asked.push(...Array.from({ length: wanted }, clock));
    this.deps.add(wanted).catch((error: unknown) => {
      this.asked = [];
      this.deps.onError(error);
    });
  }

  /** @returns false when the slot ends because nothing comes */
  private async turn(until: number): Promise<boolean> {
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
        if (next.ms !== null) this.alarm.set(this.deps.clock() + next.ms);
        return this.wait(until);
    }
  }

  private wait(until: number): Promise<boolean> {
    if (this.isStopped || this.alarm.at > until) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timer = setTimeout(() => finish(false), until - this.deps.clock());
      const finish = (isWoken: boolean): void => {
        clearTimeout(timer);
        const place = this.waiting.indexOf(finish);
        if (place >= 0) this.waiting.splice(place, 1);
        resolve(isWoken);
      };
      this.waiting.push(finish);
    });
  }
}

/** Rings once at the earliest of the times that it was set to. */
class Alarm {
  /** Infinity while it is not set. */
  at = Infinity;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly clock: () => number,
    private readonly ring: () => void,
  ) {}

  set(at: number): void {
    if (at >= this.at) return;
    clearTimeout(this.timer);
    this.at = at;
    const ms = Math.max(1, Math.ceil(at - this.clock()));
    this.timer = setTimeout(() => {
      this.at = Infinity;
      this.ring();
    }, ms).unref();
  }

  clear(): void {
    clearTimeout(this.timer);
    this.at = Infinity;
  }
}
