import { isoTime } from '../core/event/event.ts';
import type { StreamFigures } from '../core/feed/run-stream.ts';
import { inconsistentMessage, type SourceConsistency } from '../core/source/consistency.ts';
import type { RateLimit } from '../core/source/rate-limit.ts';
import type { Overdue } from '../core/source/overdue.ts';
import type { SourceReads } from '../core/source/read-times.ts';
import type { ClosedSource } from '../core/source/throttle.ts';
import type { Daemon } from '../daemon.ts';
import type { Source } from '../source/source.ts';

/** Longer pauses are listed as trouble, ms. */
const NOTABLE_PAUSE_MS = 60_000;

/** A source as users may see it: no key. Times are milliseconds since the epoch. */
export interface SourceView {
  name: string;
  /** Why nothing but probes is asked of it; null while it answers. */
  closed: ClosedSource | null;
  /** Since when it has given no valid answer; null while it does. */
  since: number | null;
  /** Why polls of its runs are not trusted; null while they agree. */
  inconsistency: SourceConsistency | null;
  /** When it last gave a valid answer; null where that is not known. */
  answeredAt: number | null;
  /** Why its last answer was not valid; null where it was, or none is known. */
  failure: string | null;
  limit: RateLimit;
  /** Requests that count against the limit now. */
  used: number;
  /** Its overdue polls; null where they keep up. */
  overdue: Overdue | null;
  /** How often its runs are read; null where that is not known. */
  reads: SourceReads | null;
  /** Its event streams. */
  streams: StreamFigures;
}

/** Shows the state of sources, and lifts pauses. */
export class SourceService {
  constructor(private readonly daemon: Daemon) {}

  list(): Promise<SourceView[]> {
    return Promise.all(this.daemon.poller.sources.map((source) => this.viewOf(source)));
  }

  /** Lifts a pause; null when there is no such source. */
  async resume(name: string): Promise<SourceView | null> {
    const source = this.daemon.poller.sourceOf(name);
    if (source === undefined) return null;
    await source.throttle.resume();
    return this.viewOf(source);
  }

  private async viewOf(source: Source): Promise<SourceView> {
    const { name, throttle, limiter } = source;
    const [{ state, answeredAt }, inconsistency, used, streams] = await Promise.all([
      throttle.read(),
      source.agreement.inconsistency(),
      this.daemon.stores.budgets.used(name),
      source.streams.figures(),
    ]);
    const { closed = null, since = null } = state ?? {};
    return {
      name,
      closed,
      since,
      answeredAt,
      inconsistency,
      failure: throttle.lastFailure(),
      limit: limiter.limit,
      used,
      overdue: source.overdue(),
      reads: source.reads(),
      streams,
    };
  }
}

/** A source that has given no valid answer as it is configured now. */
export interface UnknownSource {
  name: string;
  /** Why its last answer was not valid; null without one. */
  failure: string | null;
}

/** Sources that are open, and of which no valid answer is known. */
export async function unknownSources(sources: readonly Source[]): Promise<UnknownSource[]> {
  const records = await Promise.all(sources.map(({ throttle }) => throttle.read()));
  return sources.flatMap(({ name, throttle }, at) => {
    const record = records[at];
    const isKnown = record === undefined || record.answeredAt !== null || record.state?.closed;
    return isKnown ? [] : [{ name, failure: throttle.lastFailure() }];
  });
}

/** Why a source takes no requests now; null if it does. */
export async function closedSource(source: Source | undefined): Promise<ClosedSource | null> {
  return (await source?.throttle.read())?.state?.closed ?? null;
}

/** A source with lasting trouble. */
export interface SourceTrouble {
  name: string;
  /** Since when, ms since the epoch; for one that does not answer, when it last did. */
  since: number;
  /** What is wrong with it, for people. */
  text: string;
}

function closedText(name: string, { reason, message, probeAt }: ClosedSource): string {
  return `${name} ${WHAT_IT_DOES[reason]} (${message}), tried next at ${isoTime(probeAt)}`;
}

const WHAT_IT_DOES = {
  unauthorized: 'is refusing its key',
  rate_limited: 'has asked for a pause',
  unreachable: 'does not answer',
} as const;

/** Sources that are closed, see {@link closedSources}, or inconsistent. */
export async function troubledSources(sources: readonly Source[]): Promise<SourceTrouble[]> {
  const [closed, inconsistent] = await Promise.all([
    closedSources(sources),
    inconsistentSources(sources),
  ]);
  return [...closed, ...inconsistent];
}

async function inconsistentSources(sources: readonly Source[]): Promise<SourceTrouble[]> {
  const found = await Promise.all(sources.map(({ agreement }) => agreement.inconsistency()));
  return sources.flatMap(({ name }, at) => {
    const { since = null, changes = [] } = found[at] ?? {};
    if (since === null) return [];
    const text = `${name} contradicts itself (${inconsistentMessage({ changes })}): a replica or cache of it may lag`;
    return [{ name, since, text }];
  });
}

/** Sources that refuse their key, asked for a long pause, or were reported as unreachable. */
export async function closedSources(sources: readonly Source[]): Promise<SourceTrouble[]> {
  const found = await Promise.all(
    sources.map(async ({ name, throttle }) => ({ name, state: (await throttle.read()).state })),
  );
  return found.flatMap(({ name, state }) => {
    const closed = state?.closed ?? null;
    if (state === null || closed === null) return [];
    const isNotable =
      closed.reason === 'unauthorized' ||
      state.said.includes('source.unreachable') ||
      closed.probeAt - closed.at > NOTABLE_PAUSE_MS;
    const text = closedText(name, closed);
    return isNotable ? [{ name, since: state.since ?? closed.at, text }] : [];
  });
}
