import { pollKind } from '../core/source/request-order.ts';
import { planDeliveries, planNotice } from '../core/delivery/delivery.ts';
import { UNSTREAMED, type StreamState } from '../core/feed/run-stream.ts';
import type { PollResult } from '../core/run/snapshot.ts';
import { releasedByEnd } from '../core/watch/attempt.ts';
import type { ObserveContext } from '../core/watch/observation.ts';
import { needsConsistency, observe, type Observation } from '../core/watch/observe.ts';
import type { PollMode } from '../core/watch/poll-history.ts';
import { withoutFoundWait } from '../core/watch/waits.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { NextPoll, StoredWatch } from '../redis/watch-change.ts';
import type { Source } from './source.ts';
import { isoTime } from '../core/event/event.ts';
import { faultLog } from '../fault-log.ts';
import {
  afterContradiction,
  CONSISTENT_MESSAGE,
  inconsistentMessage,
  isInconsistent,
  isQuiet,
  type SourceConsistency,
} from '../core/source/consistency.ts';
import type { ConsistencyWrite } from '../redis/stores/consistency-store.ts';

/** A poll that this process has claimed. */
export interface ClaimedPoll {
  stored: StoredWatch;
  token: string;
  /** From when the poll was due to its claim, ms. */
  lagMs: number;
  /** Whether a hint or a user asked for it. */
  isHinted?: boolean;
  /** How long its permit counts after the answer, ms; null where that need not be written. */
  permitMs: number | null;
  /** Called when the request is sent. */
  onSent?: () => void;
  /** Called before a second request. */
  onSecond?: () => void;
}

/** The end of a claimed poll. */
export type Polled =
  /** The result is written, which ended the claim. `nextMs` is null if the watch has ended. */
  | { is: 'written'; nextMs: number | null }
  /** The watch has ended meanwhile, so the claim has to be released. */
  | { is: 'unwatched' }
  /** Another process holds the claim by now, so the result is dropped: it may be older. */
  | { is: 'lost' };

/** The health of a source, which decides what a poll without a run means. */
export type SourceHealth = Pick<ObserveContext, 'answeredAt' | 'openSince' | 'closedFor'>;

/** When and how a result was read. */
interface Reading {
  startedAt: number;
  /** When its source had last given a valid answer before; undefined where that does not matter. */
  answeredAt: number | null | undefined;
}

/** What an observation goes by that differs from poll to poll. */
export interface PollTimes extends Pick<
  ObserveContext,
  'now' | 'beganAt' | 'mode' | 'lagMs' | 'isConsistent'
> {
  streamed: StreamState;
  health: SourceHealth;
}

/**
 * The use case behind a poll: it reads the run and writes watch, events, deliveries and the next due
 * time in one step.
 */
export class RunObserver {
  constructor(private readonly source: Source) {}

  async observe(claim: ClaimedPoll): Promise<Polled> {
    const { process, reader } = this.source;
    const { stored, onSent, onSecond } = claim;
    const startedAt = process.now();
    const answeredAt = await this.answeredBefore(stored.watch);
    const { runId, run: before } = stored.watch;
    const calls = { ...(onSent && { onSent }), ...(onSecond && { onSecond }) };
    const result = await reader.readRun(runId, { before, ...calls });
    this.learnName(result);
    return this.record(claim, result, { startedAt, answeredAt });
  }

  /** Field by field, since a spread here takes longer than the whole cadence computation. */
  contextOf(times: PollTimes): ObserveContext {
    const { process, policy, traits } = this.source;
    const { streamed, health } = times;
    return {
      label: traits.label,
      now: times.now,
      beganAt: times.beganAt,
      mode: times.mode,
      lagMs: times.lagMs,
      isStreamed: streamed.isStreamed,
      nodes: streamed.nodes,
      answeredAt: health.answeredAt,
      openSince: health.openSince,
      closedFor: health.closedFor,
      isConsistent: times.isConsistent,
      policy,
      statistics: process.statistics.lookup,
      wants: process.endpoints.wants,
      load: this.source.load(),
      random: process.random,
      linksOf: process.linksOf,
      newMark: process.newMark,
    };
  }

  /**
   * A run is gone by an answer that was asked for after its source had answered for others. One that was
   * under way when the source came back says nothing.
   */
  private async answeredBefore({ missing }: Watch): Promise<number | null | undefined> {
    return missing === null ? undefined : (await this.source.health()).answeredAt;
  }

  /** Writes a result. If the watch was registered again meanwhile, even after a purge, the result applies to the new one. */
  private async record(
    { stored, token, lagMs, permitMs, isHinted = false }: ClaimedPoll,
    result: PollResult,
    reading: Reading,
  ): Promise<Polled> {
    const { process, reader } = this.source;
    const { watches } = process.stores;
    const { startedAt } = reading;
    const key = stored.watch;
    const streamed = await this.streamStateOf(key.runId, result, startedAt);
    const mode = modeOf(isHinted, streamed);
    const health = await this.healthAfter(result, reading);
    const isConsistent = await this.isConsistent(stored.watch, result, streamed);
    let before: StoredWatch | null = stored;
    while (before !== null && before.watch.state === 'active') {
      const now = process.now();
      const times = { now, beganAt: startedAt, mode, lagMs, streamed, health, isConsistent };
      const observed = observe(before.watch, result, this.contextOf(times));
      const { watch, events } = observed;
      const wanted = { wants: process.endpoints.wants, now };
      const planned = planDeliveries(watch, events, watch.subscriptions, wanted);
      const late = planNotice(watch, releasedByEnd(before.watch, watch), wanted);
      // Without discovery no notice would come.
      const own = this.source.discovery.isOn ? withoutFoundWait(before.watch, planned) : planned;
      const deliveries = [...late, ...own];
      const next = this.nextPoll(watch, { now, spareAt: observed.spareAt });
      const schedule = { does: 'settle' as const, token, next, permitMs };
      const change = {
        before,
        after: watch,
        events,
        deliveries,
        samples: observed.samples,
        schedule,
      };
      const due = await watches.commitPoll(change);
      if (due === 'lost') return { is: 'lost' };
      if (due !== 'changed') {
        const isFirst = before.watch.lastPolledAt === null;
        const durationMs = now - startedAt;
        process.statistics.learn(observed.samples);
        process.dispatch(due);
        if (observed.isDoubtful) reader.probeSoon();
        this.source.polled({
          before: before.watch,
          watch,
          outcome: result.kind,
          events,
          agreement: observed.agreement,
          knownBy: mode === 'single' ? 'read' : mode,
          lagMs,
          isFirst,
          durationMs,
        });
        return { is: 'written', nextMs: next === null ? null : (next.spareMs ?? next.inMs) };
      }
      before = await watches.get(key);
    }
    return { is: 'unwatched' };
  }

  /** An answer may name the workflow of its run. */
  private learnName(result: PollResult): void {
    if (result.kind !== 'run' || result.workflowName === undefined) return;
    const { process, name: source } = this.source;
    const { workflow_id: workflowId } = result.run;
    if (workflowId === null) return;
    process.workflowNames
      .note({ source, workflowId }, result.workflowName)
      .catch(faultLog(process.log, 'workflow names', { source }));
  }

  private async streamStateOf(
    runId: string,
    result: PollResult,
    startedAt: number,
  ): Promise<StreamState> {
    if (result.kind !== 'run') return UNSTREAMED;
    return this.source.streams.stateOf(runId, result.run, startedAt);
  }

  /** Read only after a poll without a run, since only such a poll needs it. */
  private async healthAfter(
    result: PollResult,
    { startedAt, answeredAt }: Reading,
  ): Promise<SourceHealth> {
    if (result.kind === 'run') return { answeredAt: startedAt, openSince: null, closedFor: null };
    const health = await this.source.health();
    return answeredAt === undefined ? health : { ...health, answeredAt };
  }

  /** Read only after a poll that takes something back, or follows one, since only such a poll needs it. */
  private async isConsistent(
    watch: Watch,
    result: PollResult,
    { nodes }: StreamState,
  ): Promise<boolean> {
    return !needsConsistency(watch, result, nodes) || this.source.agreement.isConsistent();
  }

  private nextPoll(
    watch: Watch,
    { now, spareAt }: { now: number; spareAt: number | null },
  ): NextPoll | null {
    if (watch.nextPollAt === null) return null;
    const kind = pollKind(watch, this.source.load().roundMs);
    const next = { inMs: Math.max(0, watch.nextPollAt - now), kind };
    const isSpare = spareAt !== null && spareAt < watch.nextPollAt;
    return isSpare ? { ...next, spareMs: Math.max(0, spareAt - now) } : next;
  }
}

/** What a poll was made for: a hint of the run's stream, one of a list, or the cadence. */
function modeOf(isHinted: boolean, streamed: StreamState): PollMode {
  if (streamed.isHinted) return 'stream';
  return isHinted ? 'list' : 'single';
}

/** A source becomes inconsistent, or consistent again. */
interface AgreementChange {
  type: 'source.inconsistent' | 'source.consistent';
  /** What makes it so: the record now, or until now. */
  found: SourceConsistency;
  /** Since when it is inconsistent, or was, milliseconds since the epoch. */
  since: number;
}

/**
 * Counts how far polls of one source's runs agree, in the store for all processes. Only contradictions
 * are written; reads that agreed are counted here and added by the next contradiction.
 */
export class SourceAgreement {
  private stood = 0;

  constructor(private readonly source: Source) {}

  /** Takes in what a poll of a run says. */
  async note(runId: string, agreement: Observation['agreement']): Promise<void> {
    if (agreement === 'agreed') this.stood += 1;
    if (agreement === 'contradicted') await this.contradicted(runId);
  }

  async isConsistent(): Promise<boolean> {
    return (await this.inconsistency()) === null;
  }

  /** Why the source is inconsistent; null where it is not. */
  async inconsistency(): Promise<SourceConsistency | null> {
    const { process, name } = this.source;
    const { found } = await process.stores.consistencies.read(name);
    return isInconsistent(found, process.now()) ? found : null;
  }

  /** Ends an inconsistency once no poll has contradicted another for long enough. */
  async tend(): Promise<void> {
    const { process, name: source } = this.source;
    const { found, text } = await process.stores.consistencies.read(source);
    if (found === null || found.since === null || !isQuiet(found, process.now())) return;
    const write = { source, before: text, after: null };
    await this.raise({ type: 'source.consistent', found, since: found.since }, write);
  }

  private async contradicted(runId: string): Promise<void> {
    const { process, name: source } = this.source;
    const store = process.stores.consistencies;
    const { stood } = this;
    this.stood = 0;
    process.metrics.contradicted(source);
    for (;;) {
      const { found, text } = await store.read(source);
      const after = afterContradiction(found, { runId, stood, now: process.now() });
      const write = { source, before: text, after };
      const begins = (found?.since ?? null) === null ? after.since : null;
      const isWritten =
        begins === null
          ? (await store.put(write, null)) !== null
          : await this.raise({ type: 'source.inconsistent', found: after, since: begins }, write);
      if (isWritten) return;
    }
  }

  /**
   * Writes a record with the event that the source became inconsistent, or consistent again.
   * @returns false where another process has written since
   */
  private async raise(change: AgreementChange, write: ConsistencyWrite): Promise<boolean> {
    const { process, schedule } = this.source;
    const watches = await schedule.countWatches();
    const event = agreementEvent(this.source, change, { watches, now: process.now() });
    let isWritten = false;
    await process.raise(event, async (planned) => {
      const pools = await process.stores.consistencies.put(write, planned);
      isWritten = pools !== null;
      return pools;
    });
    return isWritten;
  }
}

/** The data of both events; the remedy is outside runwatch. */
const AGREEMENT = {
  'source.inconsistent': {
    level: 'warn',
    help: (label: string) =>
      `look for a replica or cache of ${label} that lags; until polls agree again, leaving a wait is notified up to half a minute later`,
  },
  'source.consistent': {
    level: 'info',
    help: () => 'nothing: changes are notified as usual again',
  },
} as const;

function agreementEvent(
  { name: source, traits }: Pick<Source, 'name' | 'traits'>,
  { type, found, since }: AgreementChange,
  { watches, now }: { watches: number; now: number },
) {
  const { level, help } = AGREEMENT[type];
  const message = type === 'source.consistent' ? CONSISTENT_MESSAGE : inconsistentMessage(found);
  return {
    type,
    level,
    data: {
      source,
      message,
      since: isoTime(since),
      lasted_ms: Math.max(0, Math.round(now - since)),
      watches,
      help: help(traits.label),
    },
  };
}
