import type { z } from 'zod';
import type { TokenConfig } from '../config/schema.ts';
import { isoTime } from '../core/event/event.ts';
import { discoveryText } from '../core/feed/discovery.ts';
import { inconsistentMessage, type SourceConsistency } from '../core/source/consistency.ts';
import { overdueText } from '../core/source/overdue.ts';
import { readsText } from '../core/source/read-times.ts';
import type { ClosedSource, SourceRecord } from '../core/source/throttle.ts';
import { formatDuration } from '../core/time.ts';
import type { Daemon } from '../daemon.ts';
import type { SourceDiscovery } from '../source/discovery.ts';
import type { Source } from '../source/source.ts';
import { auditOf, type Acting } from './audit.ts';
import { acknowledgeFailures, withdrawFailures } from './failures.ts';
import { mayConcern } from './auth.ts';
import { timeOrNull } from './present.ts';
import { refusal } from './problem.ts';
import type { Requests, Slice } from './routing.ts';
import type { Routes } from './schemas/routes.ts';
import type { sourceSchema } from './schemas/source.ts';

/** Longer pauses are listed as trouble, ms. */
const NOTABLE_PAUSE_MS = 60_000;

type Own = Routes['sources'];
type Asked = Requests<Own>;
type SourceView = z.output<typeof sourceSchema>;

/** Shows the state of sources, and lifts pauses. */
export class SourceService implements Slice<Own> {
  constructor(private readonly daemon: Daemon) {}

  async list({ token }: Asked['list']) {
    return { data: await Promise.all(this.ofToken(token).map((one) => this.viewOf(one))) };
  }

  async resume(request: Acting & Asked['resume']) {
    const { params, token } = request;
    const { name } = params;
    const known = this.ofToken(token);
    const source = known.find((one) => one.name === name);
    if (source === undefined) {
      const names = known.map((one) => one.name).join(', ');
      throw refusal('source_not_found', `no source is named "${name}"; there are: ${names}`);
    }
    const act = { action: 'source.resume', target: name, sources: [name] } as const;
    await source.throttle.resume(auditOf(request, this.daemon.now(), act));
    return this.viewOf(source);
  }

  async acknowledge(request: Acting & Asked['acknowledge']) {
    const failed = { source: request.params.name, workflowId: null };
    return acknowledgeFailures(this.daemon, failed, request);
  }

  async withdraw(request: Acting & Asked['withdraw']) {
    const failed = { source: request.params.name, workflowId: null };
    await withdrawFailures(this.daemon, failed, request);
  }

  private ofToken(token: TokenConfig | null): Source[] {
    return this.daemon.poller.sources.filter(({ name }) => mayConcern(token, name));
  }

  private async viewOf(source: Source): Promise<SourceView> {
    const { name, traits, throttle, streams } = source;
    const { requests, perMs } = source.limiter.limit;
    const [record, inconsistency, used, figures, discovered] = await Promise.all([
      throttle.read(),
      source.agreement.inconsistency(),
      this.daemon.stores.budgets.used(name),
      streams.figures(),
      source.discovery.progress(),
    ]);
    const closed = record.state?.closed ?? null;
    const [overdue, reads] = [source.overdue(), source.reads()];
    const wouldDo = (wanted: number) => ({ requests: wanted, per: formatDuration(perMs) });
    return {
      name,
      label: traits.label,
      type: source.type,
      host: source.host,
      id_parts: [...traits.idParts],
      can: {
        list: traits.lists !== null,
        stream: traits.streams,
        wait: traits.waits,
        probe: traits.probes,
      },
      ...stateOf(record, inconsistency, throttle.lastFailure()),
      paused_until: closed === null ? null : isoTime(closed.probeAt),
      last_answer_at: timeOrNull(record.answeredAt),
      can_stop: source.traits.stop,
      rate_limit: { requests, per: formatDuration(perMs), used },
      overdue: overdue && {
        polls: overdue.polls,
        oldest_ms: Math.round(overdue.oldestMs),
        rate_limit_that_would_do: wouldDo(overdue.wantedRequests),
        message: overdueText(overdue),
      },
      reads: reads && {
        runs: reads.runs,
        usual_ms: reads.usualMs,
        longest_ms: reads.longestMs,
        beyond_max_interval: reads.stretched,
        rate_limit_that_would_do: wouldDo(reads.wantedRequests),
        message: readsText(reads),
      },
      discovery: source.discovery.isOn ? discovered.map(discoveryView) : null,
      streams: {
        open: figures.open,
        wanted: figures.wanted,
        allowed: figures.allowed,
        refused_until: timeOrNull(figures.refusedUntil),
        doubted: figures.doubted,
        known_first: figures.known,
      },
    };
  }
}

function discoveryView({ list, cursor }: Awaited<ReturnType<SourceDiscovery['progress']>>[number]) {
  const first = cursor?.first;
  return {
    workflow_id: list.workflowId,
    began_at: timeOrNull(first?.at ?? null),
    taken: first?.taken ?? 0,
    waiting: first?.waiting ?? 0,
    left_out: first?.leftOut ?? 0,
    read_back_to: timeOrNull(first?.cutShortAt ?? null),
    message: discoveryText(cursor),
  };
}

const STATES = {
  rate_limited: 'paused',
  unauthorized: 'unauthorized',
  unreachable: 'unreachable',
} as const;

function stateOf(
  { state, answeredAt }: SourceRecord,
  inconsistency: SourceConsistency | null,
  failure: string | null,
): Pick<SourceView, 'state' | 'since' | 'message'> {
  const { closed = null, since = null } = state ?? {};
  if (closed !== null) {
    return { state: STATES[closed.reason], since: timeOrNull(since), message: closed.message };
  }
  if (answeredAt === null) return { state: 'unknown', since: null, message: failure };
  if (inconsistency === null) return { state: 'answering', since: null, message: null };
  return {
    state: 'inconsistent',
    since: timeOrNull(inconsistency.since),
    message: inconsistentMessage(inconsistency),
  };
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
