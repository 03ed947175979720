import { nextLook } from './cadence.ts';
import { isoTime } from './event.ts';
import { NO_LOAD } from './load.ts';
import { register } from './register.ts';
import { SECOND_MS } from './stage.ts';
import type { Profile } from './watch.ts';
import type { WorkflowStatistics } from './workflow-statistics.ts';

/** How runs are polled where the watch sets nothing. */
export interface PollingDefaults {
  profile: Profile;
  minIntervalMs: number;
  maxIntervalMs: number;
}

/** A phase that every run goes through, with statistics from its beginning on. */
type PlainStage = 'queued' | 'running/0';

/**
 * The interval, before jitter, for a run with unknown or unwatched progress, in a source that keeps
 * up.
 * @returns a function from the age of the phase to the time until the next poll, both in seconds
 */
export function policyInterval(
  stage: PlainStage,
  { source, workflowId, states }: WorkflowStatistics,
  defaults: PollingDefaults,
): (ageS: number) => number {
  const { watch } = register(
    null,
    { source, runId: '', subscriptions: [] },
    { now: 0, defaults: { ...defaults, timeoutMs: Infinity } },
  );
  const began = isoTime(0);
  const seen = {
    ...watch,
    stages: [{ state: stage, since: 0, seenAt: 0, secondMs: SECOND_MS }],
    run: {
      id: '',
      workflow_id: workflowId,
      group_id: '',
      workflow_version_id: null,
      status: stage === 'queued' ? 'queued' : 'running',
      progress: 0,
      created_at: began,
      started_at: stage === 'queued' ? null : began,
      finished_at: null,
      source: null,
      user_id: null,
      conversation_id: null,
      observed_at: began,
    },
  };
  return (ageS) =>
    nextLook(seen, false, {
      now: ageS * SECOND_MS,
      random: () => 0.5,
      policy: defaults,
      statistics: (_source, _workflow, state) => states.get(state),
      wants: () => false,
      load: NO_LOAD,
    }).intervalMs / SECOND_MS;
}
