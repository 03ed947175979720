import { RunwatchError } from '../core/errors.ts';

const MAX_TIMES = 1_000_000;
const MAX_TIMES_PER_RUN = 1_000;
const MAX_RUNS = 250_000;

/** The reads of one run. Times are milliseconds since the epoch. */
export interface RunRequests {
  count: number;
  /** When the reads arrived, oldest first; the last thousand. */
  times: readonly number[];
  inFlight: number;
  /** The most reads of this run that were in flight at once. */
  maxInFlight: number;
}

interface RunEntry extends RunRequests {
  times: number[];
}

/** Records the end of one request; later calls do nothing. */
export type EndRequest = () => void;

/**
 * Records all calls of the simulated Noxus API. It holds the times of the last million requests and
 * the reads of 250,000 runs. Older requests count only in the totals.
 */
export class RequestLog {
  readonly #runs = new Map<string, RunEntry>();
  readonly #statuses = new Map<number, number>();
  #times: number[] = [];
  #forgottenUntil = -Infinity;
  #total = 0;
  #lists = 0;
  #stops = 0;
  #inFlight = 0;
  #maxInFlight = 0;
  #maxInFlightPerRun = 0;

  get total(): number {
    return this.#total;
  }

  /** The number of requests for a page of a list. */
  get lists(): number {
    return this.#lists;
  }

  /** The number of requests to stop a run. */
  get stops(): number {
    return this.#stops;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get maxInFlight(): number {
    return this.#maxInFlight;
  }

  /** The most reads of any one run that were in flight at once. */
  get maxInFlightPerRun(): number {
    return this.#maxInFlightPerRun;
  }

  /** The number of answers by status; reset connections have none. */
  get statuses(): Record<string, number> {
    return Object.fromEntries(this.#statuses);
  }

  /** The requested runs, whether they exist or not. */
  get runIds(): string[] {
    return [...this.#runs.keys()];
  }

  run(id: string): RunRequests {
    return this.#runs.get(id) ?? { count: 0, times: [], inFlight: 0, maxInFlight: 0 };
  }

  /**
   * The number of requests that arrived in [from, to).
   * @throws RunwatchError `window_forgotten` if the window begins before the oldest time held
   */
  requestsBetween(from: number, to: number): number {
    if (from <= this.#forgottenUntil) {
      throw new RunwatchError('the request log no longer holds all of this window', {
        code: 'window_forgotten',
      });
    }
    return this.#times.reduce((count, time) => (time >= from && time < to ? count + 1 : count), 0);
  }

  /** The most requests within any window of this length, ms, of those held. */
  mostWithin(ms: number): number {
    let most = 0;
    let from = 0;
    for (const [to, time] of this.#times.entries()) {
      while ((this.#times[from] ?? time) <= time - ms) from += 1;
      most = Math.max(most, to - from + 1);
    }
    return most;
  }

  /** Records a request; `runId` is null for everything but the read of a run. */
  start(runId: string | null, now: number, isList = false): EndRequest {
    this.#total += 1;
    if (isList) this.#lists += 1;
    this.#remember(now);
    this.#inFlight += 1;
    this.#maxInFlight = Math.max(this.#maxInFlight, this.#inFlight);
    const entry = runId === null ? undefined : this.#entryOf(runId);
    if (entry !== undefined) this.#startRun(entry, now);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#inFlight -= 1;
      if (entry !== undefined) entry.inFlight -= 1;
    };
  }

  /** Counts a request to stop a run, which is started as well. */
  stopRequested(): void {
    this.#stops += 1;
  }

  answered(status: number): void {
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
  }

  /** Forgets all requests except those in flight. */
  reset(): void {
    for (const [id, entry] of this.#runs) {
      if (entry.inFlight === 0) this.#runs.delete(id);
      Object.assign(entry, { count: 0, times: [], maxInFlight: entry.inFlight });
    }
    this.#statuses.clear();
    this.#times = [];
    this.#forgottenUntil = -Infinity;
    this.#total = 0;
    this.#lists = 0;
    this.#stops = 0;
    this.#maxInFlight = this.#inFlight;
    this.#maxInFlightPerRun = Math.max(0, ...[...this.#runs.values()].map((run) => run.inFlight));
  }

  #startRun(entry: RunEntry, now: number): void {
    entry.count += 1;
    entry.inFlight += 1;
    entry.maxInFlight = Math.max(entry.maxInFlight, entry.inFlight);
    this.#maxInFlightPerRun = Math.max(this.#maxInFlightPerRun, entry.inFlight);
    if (entry.times.length === MAX_TIMES_PER_RUN) entry.times.shift();
    entry.times.push(now);
  }

  #remember(now: number): void {
    this.#times.push(now);
    if (this.#times.length <= MAX_TIMES) return;
    // Dropping half at once keeps the average cost per request low.
    const forgotten = this.#times.splice(0, MAX_TIMES / 2);
    this.#forgottenUntil = forgotten.at(-1) ?? this.#forgottenUntil;
  }

  #entryOf(runId: string): RunEntry | undefined {
    const known = this.#runs.get(runId);
    if (known !== undefined || this.#runs.size >= MAX_RUNS) return known;
    const entry = { count: 0, times: [], inFlight: 0, maxInFlight: 0 };
    this.#runs.set(runId, entry);
    return entry;
  }
}
