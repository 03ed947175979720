import {
  afterAnswer,
  resumed,
  withSaid,
  type AnswerContext,
  type ClosedSource,
  type SourceAnswer,
  type SourceNews,
  type SourceState,
  type ThrottlePolicy,
} from '../core/source/throttle.ts';
import type { SourceStanding, SourceStore } from './ports.ts';

/** How exactly other processes know when a source answered last, ms. */
const NOTE_EVERY_MS = 1_000;

/** More watches than decide whether trouble is the source's. */
const MANY = 100;

/** An event that is still unsent after this time is left over from a process that died, ms. */
const LEFT_OVER_MS = 10_000;

interface SourceGuardDependencies {
  source: string;
  store: SourceStore;
  policy: ThrottlePolicy;
  /** How many watches of the source are active. */
  active: () => number;
  /** Says what became of the source: line, event. */
  tell: (source: string, news: SourceNews) => Promise<void>;
  log: {
    paused(source: string, closed: ClosedSource): void;
    authorized(source: string): void;
  };
  /** The source may be asked again: wakes what waits for that, in all processes. */
  onOpen: () => Promise<void>;
  now: () => number;
}

/**
 * Takes in what answers say of one source as a whole, and writes what becomes of it, for all
 * processes. A source that simply answers costs one command a second. Whatever else is written in
 * turn, so that many answers at once do not get in each other's way.
 */
export class SourceGuard {
  /** Whether the source was seen not simply to answer. */
  private isTroubled = true;
  private answeredAt: number | null = null;
  private notedAt = -Infinity;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly deps: SourceGuardDependencies) {}

  /** Takes in an answer. @param askedAt when that was asked for, milliseconds since the epoch */
  async note(answer: SourceAnswer, askedAt: number): Promise<void> {
    if (answer.kind === 'valid') this.answeredAt = this.deps.now();
    if (answer.kind === 'valid' && !this.isTroubled) return this.noteAnswered(false);
    await this.inTurn(() => this.take(answer, askedAt));
  }

  /** What a claim of this process was told: whether the source simply answers. */
  saw(isTroubled: boolean): void {
    if (isTroubled) this.isTroubled = true;
  }

  /** How the source stands now. */
  async standing(): Promise<SourceStanding> {
    const standing = await this.deps.store.read(this.deps.source);
    const known = standing.answeredAt;
    const own = this.answeredAt;
    return { ...standing, answeredAt: own === null ? known : Math.max(own, known ?? 0) };
  }

  /** Lifts a pause: everything may be asked again. */
  async resume(): Promise<void> {
    await this.inTurn(async () => {
      const isLifted = await this.change((state) => {
        const isClosed = (state?.closed ?? null) !== null;
        return state !== null && isClosed ? resumed(state) : state;
      });
      if (isLifted) await this.deps.onOpen();
    });
  }

  private inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.turn.then(work);
    this.turn = result.catch(() => undefined);
    return result;
  }

  private async noteAnswered(isAtOnce: boolean): Promise<void> {
    const at = this.deps.now();
    if (!isAtOnce && at - this.notedAt < NOTE_EVERY_MS) return;
    this.notedAt = at;
    await this.deps.store.answered(this.deps.source, at);
  }

  private async take(answer: SourceAnswer, askedAt: number): Promise<void> {
    const { store, source, now } = this.deps;
    if (answer.kind === 'valid') await this.noteAnswered(true);
    for (;;) {
      const before = await store.read(source);
      const after = afterAnswer(before.state, answer, this.contextOf(before, askedAt));
      if (after !== before.state && !(await this.write(before, after, askedAt))) continue;
      this.isTroubled = after !== null;
      this.logChange(before.state, after, answer);
      if (closedOf(before.state) !== null && closedOf(after) === null) await this.deps.onOpen();
      await this.say(unsaid(before.state, after, now()));
      return;
    }
  }

  private contextOf(before: SourceStanding, askedAt: number): AnswerContext {
    const { policy, now, active } = this.deps;
    const known = Math.max(this.answeredAt ?? 0, before.answeredAt ?? 0);
    return {
      policy,
      now: now(),
      askedAt,
      answeredAt: known === 0 ? null : known,
      // Before the watches are counted, as many as it takes.
      active: active() || MANY,
    };
  }

  private write(
    before: SourceStanding,
    after: SourceState | null,
    askedAt: number,
  ): Promise<boolean> {
    const { store, source, now } = this.deps;
    const closed = closedOf(before.state);
    const isProbe = closed !== null && askedAt >= closed.at;
    const isRecovered = closed?.reason === 'unreachable' && closedOf(after) === null;
    return store.put(source, before, after, { isProbe, openSince: isRecovered ? now() : null });
  }

  private logChange(
    before: SourceState | null,
    after: SourceState | null,
    answer: SourceAnswer,
  ): void {
    const { log, source } = this.deps;
    const closed = closedOf(after);
    if (closed?.reason === 'rate_limited' && closedOf(before) === null) log.paused(source, closed);
    const wasRefused = before?.said.includes('source.unauthorized') ?? false;
    const isAccepted = answer.kind === 'valid' && closedOf(after) === null;
    if (isAccepted && wasRefused) log.authorized(source);
  }

  /** Says news, and then notes that it was: a process that dies in between lets it be said twice. */
  private async say(news: readonly SourceNews[]): Promise<void> {
    if (news.length === 0) return;
    for (const one of news) await this.deps.tell(this.deps.source, one);
    await this.change((state) => (state === null ? null : withSaid(state, news)));
  }

  /** Writes a change that follows from no answer. @returns false where there was none */
  private async change(
    changeOf: (state: SourceState | null) => SourceState | null,
  ): Promise<boolean> {
    const { store, source } = this.deps;
    for (;;) {
      const before = await store.read(source);
      const after = changeOf(before.state);
      if (after === before.state) return false;
      if (await store.put(source, before, after, { isProbe: false, openSince: null })) {
        this.isTroubled = after !== null;
        return true;
      }
    }
  }
}

function closedOf(state: SourceState | null): ClosedSource | null {
  return state?.closed ?? null;
}

/** What is to be said by the process that has just written a state. */
function unsaid(before: SourceState | null, after: SourceState | null, now: number): SourceNews[] {
  const known = before?.unsaid.length ?? 0;
  return (after?.unsaid ?? []).filter(({ at }, place) => place >= known || now - at > LEFT_OVER_MS);
}
