import type { AuditRecord } from '../core/audit.ts';
import type { ClockStep } from '../core/clock.ts';
import { isoTime } from '../core/event/event.ts';
import {
  afterAnswer,
  movedBack,
  resumed,
  withSaid,
  type AnswerContext,
  type AskedRequest,
  type ClosedSource,
  type SourceAnswer,
  type SourceChange,
  type SourceRecord,
  type SourceState,
} from '../core/source/throttle.ts';
import type { SourceStore } from '../redis/stores/source-store.ts';
import type { Source } from './source.ts';

/** How often the time of the latest valid answer is written for other processes, ms. */
const NOTE_EVERY_MS = 1_000;

/** The number of watches to assume before they are counted: more than any decision needs. */
const MANY = 100;

/** After this time without its event a change was left by a dead process, ms. */
const ABANDONED_MS = 10_000;

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
  /** Whether what other URLs and keys led to is forgotten. */
  private isFresh = false;

  /** @param access a keyed fingerprint of the URL and API key that the source is configured with */
  constructor(
    private readonly source: Source,
    private access: string,
  ) {}

  /** A request that is sent now. */
  asks(): AskedRequest {
    return { at: this.source.process.now(), access: this.access };
  }

  /** Judges an answer. One to another key or URL says nothing of the source as it is configured now. */
  async note(answer: SourceAnswer, { at: askedAt, access }: AskedRequest): Promise<void> {
    if (access !== this.access) return;
    if (answer.kind === 'valid') this.answeredAt = this.source.process.now();
    this.failure = answer.kind === 'valid' ? null : answer.message;
    if (answer.kind === 'valid' && !this.isTroubled) return this.noteAnswered(false);
    await this.inOrder(async () => {
      if (access === this.access) await this.judge(answer, { at: askedAt, access });
    });
  }

  /** A claim of this process reports whether the source has, or may have, a stored state. */
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

  /**
   * Ends a pause at once.
   * @param audit what the audit log has of it, if there is one to end
   */
  resume(audit: AuditRecord | null = null): Promise<void> {
    return this.open(() => true, audit);
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

  /** Adapts the times of a pause, or of failures, to a store clock that was set back by a step. */
  async moveBack(step: ClockStep): Promise<void> {
    const { now } = this.source.process;
    const { policy } = this;
    await this.inOrder(() =>
      this.change((state) => state && movedBack(state, step, { now: now(), policy })),
    );
  }

  private async open(
    mayOpen: (access: string | null) => boolean,
    audit: AuditRecord | null = null,
  ): Promise<void> {
    await this.inOrder(async () => {
      let wasClosed = false;
      const isLifted = await this.change((state, access) => {
        wasClosed = closedOf(state) !== null;
        const hasFailures = wasClosed || (state?.row.length ?? 0) > 0;
        return state !== null && hasFailures && mayOpen(access) ? resumed(state) : state;
      }, audit);
      if (isLifted && wasClosed) await this.source.opened();
    });
  }

  private get policy(): AnswerContext['policy'] {
    const { unauthorized_probe, unreachable_after } = this.source.process.config.polling;
    return { unauthorizedProbeMs: unauthorized_probe, unreachableAfterMs: unreachable_after };
  }

  private get store(): SourceStore {
    return this.source.process.stores.sources;
  }

  private inOrder<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.lastWrite.then(work);
    this.lastWrite = result.catch(() => undefined);
    return result;
  }

  private async noteAnswered(isAtOnce: boolean): Promise<void> {
    const at = this.source.process.now();
    // It may have been noted by a clock that was ahead.
    if (!isAtOnce && Math.abs(at - this.notedAt) < NOTE_EVERY_MS) return;
    this.notedAt = at;
    await this.store.answered(this.source.name, at, this.access);
  }

  /** What the store knows; an answer by another URL or key says nothing of this one. */
  private async stored(): Promise<SourceRecord> {
    const record = await this.store.read(this.source.name);
    return record.answeredBy === this.access ? record : { ...record, answeredAt: null };
  }

  private async judge(answer: SourceAnswer, asked: AskedRequest): Promise<void> {
    const { now } = this.source.process;
    if (answer.kind === 'valid') await this.noteAnswered(true);
    for (;;) {
      const before = await this.stored();
      const after = afterAnswer(before.state, answer, this.contextOf(before, asked.at));
      if (after !== before.state && !(await this.write(before, after, asked))) continue;
      this.isTroubled = after !== null;
      this.logChange(before.state, after, answer);
      if (closedOf(before.state) !== null && closedOf(after) === null) await this.source.opened();
      await this.raise(unraised(before.state, after, now()));
      return;
    }
  }

  private contextOf(before: SourceRecord, askedAt: number): AnswerContext {
    const { process, limiter, traits } = this.source;
    const known = Math.max(this.answeredAt ?? 0, before.answeredAt ?? 0);
    return {
      label: traits.label,
      policy: this.policy,
      now: process.now(),
      askedAt,
      answeredAt: known === 0 ? null : known,
      active: limiter.active() || MANY,
    };
  }

  private write(
    before: SourceRecord,
    after: SourceState | null,
    { at: askedAt, access }: AskedRequest,
  ): Promise<boolean> {
    const { process, name } = this.source;
    const closed = closedOf(before.state);
    const isProbe = closed !== null && askedAt >= closed.at;
    const isRecovered = closed?.reason === 'unreachable' && closedOf(after) === null;
    const openSince = isRecovered ? process.now() : null;
    return this.store.put(name, before, after, { isProbe, openSince, access });
  }

  private logChange(
    before: SourceState | null,
    after: SourceState | null,
    answer: SourceAnswer,
  ): void {
    const closed = closedOf(after);
    if (closed?.reason === 'rate_limited' && closedOf(before) === null) this.logPause(closed);
    const wasRefused = before?.said.includes('source.unauthorized') ?? false;
    const isAccepted = answer.kind === 'valid' && closedOf(after) === null;
    if (!isAccepted || !wasRefused) return;
    const { process, name } = this.source;
    process.log.info({ source: name }, 'source.authorized');
  }

  private logPause({ message, at, probeAt }: ClosedSource): void {
    const { process, name } = this.source;
    const fields = { source: name, message, pause_ms: Math.round(probeAt - at) };
    process.log.warn({ ...fields, until: isoTime(probeAt) }, 'source.paused');
  }

  /** Raises events and marks them as raised; if the process dies in between they are raised twice. */
  private async raise(changes: readonly SourceChange[]): Promise<void> {
    if (changes.length === 0) return;
    const { process, schedule } = this.source;
    for (const one of changes) {
      await process.raise(eventOf(this.source, one, await schedule.countWatches()));
    }
    await this.change((state) => (state === null ? null : withSaid(state, changes)));
  }

  /** Writes a change that no answer caused. @returns false if the state is as wanted already */
  private async change(
    changeOf: (state: SourceState | null, access: string | null) => SourceState | null,
    audit: AuditRecord | null = null,
  ): Promise<boolean> {
    const { name } = this.source;
    for (;;) {
      const before = await this.store.read(name);
      const after = changeOf(before.state, before.access);
      if (after === before.state) return false;
      const access = before.access ?? this.access;
      const change = { isProbe: false, openSince: null, access, audit };
      if (await this.store.put(name, before, after, change)) {
        this.isTroubled = after !== null;
        return true;
      }
    }
  }
}

/** The remedy in each event. @param label what texts call the source */
const HELP: Record<SourceChange['type'], (label: string) => string> = {
  'source.unauthorized': () =>
    'set a key that may read runs as the api_key of the source, or in its headers',
  'source.throttled': () =>
    'lower rate_limit of the source; `runwatch sources resume` lifts the pause',
  'source.unreachable': (label) =>
    `check whether ${label} answers at base_url; nothing needs to be done here`,
  'source.recovered': () => 'nothing: all runs are polled again',
};

function eventOf(
  { name: source, traits }: Pick<Source, 'name' | 'traits'>,
  change: SourceChange,
  watches: number,
) {
  const { type, since, message, until, at } = change;
  return {
    type,
    level: type === 'source.recovered' ? ('info' as const) : ('error' as const),
    data: {
      source,
      message,
      since: isoTime(since),
      lasted_ms: Math.max(0, Math.round(at - since)),
      next_try_at: until === null ? null : isoTime(until),
      watches,
      help: HELP[type](traits.label),
    },
  };
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
