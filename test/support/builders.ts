import {
  DEFAULT_POLICY,
  type ObserveContext,
  type PollPolicy,
} from '../../src/core/watch/observation.ts';
import { noLinks } from '../../src/core/run/links.ts';
import { newName } from '../../src/core/event/ids.ts';
import { webhookReceiver } from '../../src/core/delivery/receiver.ts';
import { nothingLearned } from '../../src/core/cadence/hazard.ts';
import { NO_LOAD } from '../../src/core/cadence/load.ts';
import {
  RUN_FIELD_NAMES,
  type RunFieldName,
  type RunSnapshot,
} from '../../src/core/run/snapshot.ts';
import type { SourceReads } from '../../src/core/source/read-times.ts';
import type { Acting } from '../../src/http/audit.ts';
import { register } from '../../src/core/watch/register.ts';
import type { Subscription, Watch, WebhookSubscription } from '../../src/core/watch/watch.ts';

/** A request without a token, as slices take it. */
export const A_USER: Acting = { token: null, session: null, headers: {} };

/** 2026-01-01T00:00:00.000Z: "now" in tests that need a clock. */
export const NOON = Date.UTC(2026, 0, 1);

/** A run of which Noxus gives only what it must. */
export const NOTHING_GIVEN: RunSnapshot = {
  ...(Object.fromEntries(RUN_FIELD_NAMES.map((name) => [name, null])) as Record<
    RunFieldName,
    null
  >),
  id: '',
  status: '',
  observed_at: '',
};

/** A snapshot of a run, by default running at 0 %. */
export function snapshot(changes: Partial<RunSnapshot> = {}): RunSnapshot {
  return {
    ...NOTHING_GIVEN,
    id: 'run-1',
    workflow_id: 'workflow-1',
    group_id: 'group-1',
    status: 'running',
    progress: 0,
    created_at: '2026-01-01T00:00:00.000Z',
    observed_at: '2026-01-01T00:00:00.000Z',
    ...changes,
  };
}

/** An active watch of `default/run-1`, registered at {@link NOON}, without a snapshot. */
export function newWatch(changes: Partial<Watch> = {}, subscriptions: Subscription[] = []): Watch {
  const { watch } = register(
    null,
    { source: 'default', runId: 'run-1', subscriptions },
    {
      now: NOON,
      defaults: { timeoutMs: 7 * 86_400_000, minIntervalMs: 1_000, profile: 'normal' },
    },
  );
  return { ...watch, ...changes };
}

/** A subscription of a per-watch webhook; by default its sealed part cannot be opened. */
export function webhookTo(url: string, events?: string[], sealed = 'v1.…'): WebhookSubscription {
  return {
    kind: 'webhook',
    receiver: webhookReceiver(url, 'default'),
    sealed,
    ...(events !== undefined && { events }),
  };
}

/** The default limits of polling, without reminders. */
export const POLICY: PollPolicy = { ...DEFAULT_POLICY, stallAfterMs: 1_800_000 };

let marks = 0;

/** Marks of the tests' epoch, each unique. */
export const newMark = () => newName(() => 0) + newName(() => (marks += 1));

/** The context of a poll at a time, with {@link POLICY} and without statistics. */
export function observeContext(now: number): ObserveContext {
  return {
    label: 'Noxus',
    now,
    policy: POLICY,
    statistics: nothingLearned,
    wants: () => false,
    load: NO_LOAD,
    beganAt: now,
    lagMs: 0,
    mode: 'single' as const,
    isStreamed: false,
    nodes: null,
    answeredAt: now,
    openSince: null,
    closedFor: null,
    isConsistent: true,
    linksOf: noLinks,
    newMark,
    random: () => 0.5,
  };
}

/** A source whose rate limit is so short that most of its runs are read too rarely. */
export function stretchedReads(changes: Partial<SourceReads> = {}): SourceReads {
  return {
    source: 'default',
    runs: 2_000,
    usualMs: 40_000,
    longestMs: 960_000,
    stretched: 1_343,
    maxIntervalMs: 60_000,
    wantedRequests: 38,
    limit: { requests: 10, perMs: 1_000 },
    isByLists: true,
    ...changes,
  };
}
