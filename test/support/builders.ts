import { DEFAULT_POLICY } from '../../src/core/default-policy.ts';
import { newName } from '../../src/core/event-id.ts';
import { webhookReceiver } from '../../src/core/delivery/receiver.ts';
import { nothingLearned } from '../../src/core/hazard.ts';
import { NO_LOAD } from '../../src/core/load.ts';
import type { ObserveContext, PollPolicy } from '../../src/core/look.ts';
import type { RunSnapshot } from '../../src/core/run.ts';
import { register } from '../../src/core/register.ts';
import type { Subscription, Watch, WebhookSubscription } from '../../src/core/watch.ts';

/** 2026-01-01T00:00:00.000Z: what "now" is where a test needs a clock. */
export const NOON = Date.UTC(2026, 0, 1);

/** A snapshot of a run, running at 0 % unless told otherwise. */
export function snapshot(changes: Partial<RunSnapshot> = {}): RunSnapshot {
  return {
    id: 'run-1',
    workflow_id: 'workflow-1',
    group_id: 'group-1',
    workflow_version_id: null,
    status: 'running',
    progress: 0,
    created_at: '2026-01-01T00:00:00.000Z',
    started_at: null,
    finished_at: null,
    source: null,
    user_id: null,
    conversation_id: null,
    observed_at: '2026-01-01T00:00:00.000Z',
    ...changes,
  };
}

/** An active watch of `default/run-1`, registered at {@link NOON}, that has seen nothing yet. */
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

/** A subscription of a webhook that came with a watch; by default what is sealed opens nowhere. */
export function webhookTo(url: string, events?: string[], sealed = 'v1.…'): WebhookSubscription {
  return {
    kind: 'webhook',
    receiver: webhookReceiver(url),
    sealed,
    ...(events !== undefined && { events }),
  };
}

/** Limits of polling as they are by default, with nobody to be reminded. */
export const POLICY: PollPolicy = { ...DEFAULT_POLICY, stallAfterMs: 1_800_000 };

let marks = 0;

/** Marks of an epoch of the tests, each another one. */
export const newMark = () => newName(() => 0) + newName(() => (marks += 1));

/** A look at some time, by {@link POLICY} and with nothing learned. */
export function lookingAt(now: number): ObserveContext {
  return {
    now,
    policy: POLICY,
    statistics: nothingLearned,
    wants: () => false,
    load: NO_LOAD,
    beganAt: now,
    lagMs: 0,
    isStreamed: false,
    answeredAt: now,
    openSince: null,
    closedFor: null,
    newMark,
    random: () => 0.5,
  };
}
