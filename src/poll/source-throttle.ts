import {
  afterAnswer,
  resumed,
  withSaid,
  type AnswerContext,
  type AskedRequest,
  type ClosedSource,
  type SourceAnswer,
  type SourceChange,
  type SourceRecord,
  type SourceState,
  type ThrottlePolicy,
} from '../core/source/throttle.ts';
import type { SourceStore } from './ports.ts';

/** How often the time of the latest valid answer is written for other processes, ms. */
const NOTE_EVERY_MS = 1_000;

/** The number of watches to assume before they are counted: more than any decision needs. */
const MANY = 100;

/** After this time without its event a change was left by a dead process, ms. */
const ABANDONED_MS = 10_000;

interface SourceThrottleDependencies {
  source: string;
  /** A keyed fingerprint of the URL and API key that the source is configured with. */
  access: string;
  store: SourceStore;
  policy: ThrottlePolicy;
  /** How many watches of the source are active. */
  active: () => number;
  /** Logs a change of the source and raises its event. */
  raise: (change: SourceChange) => Promise<void>;
  log: {
    paused(closed: ClosedSource): void;
    authorized(): void;
  };
  /** The source accepts requests again: wakes the slots of all processes. */
  onOpen: () => Promise<void>;
  now: () => number;
}

/**
 * Judges one source by its answers, and keeps the result in the store for all processes. A source
 * without trouble costs one command a second. All other writes run one after another, so that
 * simultaneous answers do not conflict.
 */
export class SourceThrottle {
  /** Whether the source may have a stored state. */
  private isTroubled = true;
  private answeredAt: number | null = null;
  private failure: string | null = null;
  private notedAt = -Infinity;
  private lastWrite: Promise<unknown> = Promise.resolve();
  private access: string;
  /** Whether what other URLs and keys led to is forgotten. */
  private isFresh = false;

  constructor(private readonly deps: SourceThrottleDependencies) {
    this.access = deps.access;
  }

  /** A request that is sent now. */
  asks(): AskedRequest {
    return { at: this.deps.now(), access: this.access };
  }

  /** Judges an answer. One to another key or URL says nothing of the source as it is configured now. */
  async note(answer: SourceAnswer, { at: askedAt, access }: AskedRequest): Promise<void> {
    if (access !== this.access) return;
    if (answer.kind === 'valid') this.answeredAt = this.deps.now();
    this.failure = answer.kind === 'valid' ? null : answer.message;
    if (answer.kind === 'valid' && !this.isTroubled) return this.noteAnswered(false);
    await this.inOrder(async () => {
      if (access === this.access) await this.judge(answer, { at: askedAt, access });
    });
  }

  /** A claim of this process reports whether the source has a stored state. */
  saw(isTroubled: boolean): void {
    if (isTroubled) this.isTroubled = true;
  }

  /** What is known of the source now, by this process and the store. */
  async read(): Promise<SourceRecord> {
    const record = await this.stored();
    const known = record.answeredAt;
    const own = this.answeredAt;
    return { ...record, answeredAt: own === null ? known : Math.max(own, known ?? 0) };
  }

  /** Why the last answer to this process was not valid; null where it was, or there was none. */
  lastFailure(): string | null {
    return this.failure;
  }

  /** Ends a pause at once. */
  resume(): Promise<void> {
    return this.open(() => true);
  }

  /** The source is configured with another URL or API key from now on. */
  useAccess(access: string): void {
    this.access = access;
    this.isFresh = false;
    this.answeredAt = null;
    this.failure = null;
  }

  /**
   * Forgets a pause, and failures, that another URL or API key led to: of an earlier process, or before
   * {@link useAccess}. Does nothing the second time.
   */
  async freshen(): Promise<void> {
    if (this.isFresh) return;
    const { access } = this;
    await this.open((found) => found !== access);
    this.isFresh = access === this.access;
  }

  private async open(mayOpen: (access: string | null) => boolean): Promise<void> {
    await this.inOrder(async () => {
      let wasClosed = false;
      const isLifted = await this.change((state, access) => {
        wasClosed = closedOf(state) !== null;
        const hasFailures = wasClosed || (state?.row.length ?? 0) > 0;
        return state !== null && hasFailures && mayOpen(access) ? resumed(state) : state;
      });
      if (isLifted && wasClosed) await this.deps.onOpen();
    });
  }

  private inOrder<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.lastWrite.then(work);
    this.lastWrite = result.catch(() => undefined);
    return result;
  }

  private async noteAnswered(isAtOnce: boolean): Promise<void> {
    const at = this.deps.now();
    if (!isAtOnce && at - this.notedAt < NOTE_EVERY_MS) return;
    this.notedAt = at;
    await this.deps.store.answered(this.deps.source, at, this.access);
  }

  /** What the store knows; an answer by another URL or key says nothing of this one. */
  private async stored(): Promise<SourceRecord> {
    const record = await this.deps.store.read(this.deps.source);
    return record.answeredBy === this.access ? record : { ...record, answeredAt: null };
  }

  private async judge(answer: SourceAnswer, asked: AskedRequest): Promise<void> {
    const { now } = this.deps;
    if (answer.kind === 'valid') await this.noteAnswered(true);
    for (;;) {
      const before = await this.stored();
      const after = afterAnswer(before.state, answer, this.contextOf(before, asked.at));
      if (after !== before.state && !(await this.write(before, after, asked))) continue;
      this.isTroubled = after !== null;
      this.logChange(before.state, after, answer);
      if (closedOf(before.state) !== null && closedOf(after) === null) await this.deps.onOpen();
      await this.raise(unraised(before.state, after, now()));
      return;
    }
  }

  private contextOf(before: SourceRecord, askedAt: number): AnswerContext {
    const { policy, now, active } = this.deps;
    const known = Math.max(this.answeredAt ?? 0, before.answeredAt ?? 0);
    return {
      policy,
      now: now(),
      askedAt,
      answeredAt: known === 0 ? null : known,
      active: active() || MANY,
    };
  }

  private write(
    before: SourceRecord,
    after: SourceState | null,
    { at: askedAt, access }: AskedRequest,
  ): Promise<boolean> {
    const { store, source, now } = this.deps;
    const closed = closedOf(before.state);
    const isProbe = closed !== null && askedAt >= closed.at;
    const isRecovered = closed?.reason === 'unreachable' && closedOf(after) === null;
    const openSince = isRecovered ? now() : null;
    return store.put(source, before, after, { isProbe, openSince, access });
  }

  private logChange(
    before: SourceState | null,
    after: SourceState | null,
    answer: SourceAnswer,
  ): void {
    const { log } = this.deps;
    const closed = closedOf(after);
    if (closed?.reason === 'rate_limited' && closedOf(before) === null) log.paused(closed);
    const wasRefused = before?.said.includes('source.unauthorized') ?? false;
    const isAccepted = answer.kind === 'valid' && closedOf(after) === null;
    if (isAccepted && wasRefused) log.authorized();
  }

  /** Raises events and marks them as raised; if the process dies in between they are raised twice. */
  private async raise(changes: readonly SourceChange[]): Promise<void> {
    if (changes.length === 0) return;
    for (const one of changes) await this.deps.raise(one);
    await this.change((state) => (state === null ? null : withSaid(state, changes)));
  }

  /** Writes a change that no answer caused. @returns false if the state is as wanted already */
  private async change(
    changeOf: (state: SourceState | null, access: string | null) => SourceState | null,
  ): Promise<boolean> {
    const { store, source } = this.deps;
    for (;;) {
      const before = await store.read(source);
      const after = changeOf(before.state, before.access);
      if (after === before.state) return false;
      const access = before.access ?? this.access;
      const change = { isProbe: false, openSince: null, access };
      if (await store.put(source, before, after, change)) {
        this.isTroubled = after !== null;
        return true;
      }
    }
  }
}

function closedOf(state: SourceState | null): ClosedSource | null {
  return state?.closed ?? null;
}

/** The changes with events to raise by the process that has just written the state. */
function unraised(
  before: SourceState | null,
  after: SourceState | null,
  now: number,
): SourceChange[] {
  const known = before?.unsaid.length ?? 0;
  return (after?.unsaid ?? []).filter(({ at }, place) => place >= known || now - at > ABANDONED_MS);
}
