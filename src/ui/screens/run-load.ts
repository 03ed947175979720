import { api, type RunRef } from '../api/calls.ts';
import { ApiError } from '../api/request.ts';
import type { DeliveryDetail, EventView, Timeline, TimelineState, Watch } from '../api/types.ts';

/** A run, and all that is known of its course. */
export interface RunStory {
  watch: Watch;
  timeline: Timeline;
  /** False where the daemon gives no timeline, so that polls are missing. */
  isWhole: boolean;
}

/** Deliveries whose attempts are asked for one by one. */
const MOST_DELIVERIES = 60;

export async function loadRun(run: RunRef, signal: AbortSignal): Promise<RunStory> {
  const watch = await api.watch(run, signal);
  try {
    const timeline = await api.timeline(run, signal);
    return {
      watch,
      timeline: { ...timeline, deliveries: await withAttempts(timeline.deliveries, signal) },
      isWhole: true,
    };
  } catch (error) {
    if (!(error instanceof ApiError && error.isMissing)) throw error;
    return { watch, timeline: await pieced(watch, signal), isWhole: false };
  }
}

/** What events and deliveries tell of a run's course. */
async function pieced(watch: Watch, signal: AbortSignal): Promise<Timeline> {
  const query = { run_id: watch.run_id, limit: 200 };
  const [events, deliveries] = await Promise.all([
    api.events(query, signal),
    api.deliveries(query, signal),
  ]);
  return {
    states: statesOf(watch, events.data),
    polls: [],
    events: events.data,
    deliveries: await withAttempts(deliveries.data.toReversed(), signal),
  };
}

async function withAttempts(
  deliveries: readonly (Omit<DeliveryDetail, 'attempts'> & Partial<DeliveryDetail>)[],
  signal: AbortSignal,
): Promise<DeliveryDetail[]> {
  return Promise.all(
    deliveries.map(async (delivery, at) => {
      const { attempts } = delivery;
      if (attempts !== undefined) return { ...delivery, attempts };
      if (delivery.attempt_count === 0 || at >= MOST_DELIVERIES)
        return { ...delivery, attempts: [] };
      return api.delivery(delivery.id, signal);
    }),
  );
}

function statesOf(
  { run, registered_at: registered }: Watch,
  events: readonly EventView[],
): TimelineState[] {
  const first: TimelineState[] =
    run?.created_at == null ? [] : [{ at: run.created_at, status: 'queued', progress: 0 }];
  const started: TimelineState[] =
    run?.started_at == null ? [] : [{ at: run.started_at, status: 'running', progress: 0 }];
  const seen = events.flatMap(({ timestamp, data }) =>
    data.run === null
      ? []
      : [{ at: timestamp, status: data.run.status, progress: data.run.progress }],
  );
  const all = [...first, ...started, ...seen].sort(
    (one, other) => Date.parse(one.at) - Date.parse(other.at),
  );
  if (all.length > 0) return all;
  return run === null ? [] : [{ at: registered, status: run.status, progress: run.progress }];
}
