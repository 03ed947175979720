import { isoTime } from '../../core/event/event.ts';
import { inconsistentMessage } from '../../core/source/consistency.ts';
import type { ClosedSource } from '../../core/source/throttle.ts';
import type { SourceService, SourceView } from '../../http/routes/sources.ts';
import type { BudgetStore } from '../../redis/stores/source-store.ts';
import type { SourceFigures } from '../../telemetry/gauges.ts';
import type { Poller } from '../../source/poller.ts';
import type { Source } from '../../source/source.ts';

/** Longer pauses are listed as trouble, ms. */
const NOTABLE_PAUSE_MS = 60_000;

interface SourceServiceDependencies {
  poller: Pick<Poller, 'sources' | 'sourceOf'>;
  budgets: Pick<BudgetStore, 'used'>;
}

/** Shows the state of sources, and lifts pauses. */
export function createSourceService({ poller, budgets }: SourceServiceDependencies): SourceService {
  const viewOf = async (source: Source): Promise<SourceView> => {
    const { name, throttle, limiter } = source;
    const [{ state, answeredAt }, inconsistency, used, streams] = await Promise.all([
      throttle.read(),
      source.agreement.inconsistency(),
      budgets.used(name),
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
  };
  return {
    list: () => Promise.all(poller.sources.map(viewOf)),
    async resume(name) {
      const source = poller.sourceOf(name);
      if (source === undefined) return null;
      await source.throttle.resume();
      return viewOf(source);
    },
  };
}

/** Figures of sources, for metrics. */
export async function sourceFigures(
  sources: readonly Source[],
  budgets: Pick<BudgetStore, 'used'>,
): Promise<SourceFigures[]> {
  const [closed, unknown] = await Promise.all([closedSources(sources), unknownSources(sources)]);
  const isDown = new Set(
    [...closed, ...unknown.filter(({ failure }) => failure !== null)].map(({ name }) => name),
  );
  return Promise.all(
    sources.map(async (source) => ({
      name: source.name,
      reads: source.reads(),
      streams: await source.streams.figures(),
      isUp: !isDown.has(source.name),
      isConsistent: await source.agreement.isConsistent(),
      usedRatio: Math.min(1, (await budgets.used(source.name)) / source.limiter.limit.requests),
    })),
  );
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
async function closedSources(sources: readonly Source[]): Promise<SourceTrouble[]> {
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
