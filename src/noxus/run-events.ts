import { z } from 'zod';
import { withoutControls } from '../core/control-characters.ts';
import type { EventStreams, StreamNote } from '../core/feed/run-stream.ts';
import { boundedNodes, type RunNodes } from '../core/run/nodes.ts';
import type { StreamConnections } from '../fetch/event-stream.ts';

/** Streams of the events of runs: `GET /v1/runs/{run_id}/events`. */
export function streamsOfRuns(connections: StreamConnections): EventStreams {
  return {
    follow: (runId, { etag, onLive, onNote, signal }) =>
      connections.follow({
        path: pathOf(runId, etag),
        onLive,
        onEvent(event) {
          const note = noteOf(event, runId);
          if (note !== null) onNote(note);
        },
        signal,
      }),
  };
}

function pathOf(runId: string, etag: string | null): string {
  const path = `v1/runs/${encodeURIComponent(runId)}/events`;
  return etag === null ? path : `${path}?etag=${encodeURIComponent(etag)}`;
}

const text = z
  .string()
  .min(1)
  .max(128)
  .transform((found) => withoutControls(found))
  .nullable()
  .catch(null);

const ids = z
  .union([z.array(z.string().max(128)), z.record(z.string().max(128), z.unknown())])
  .transform((found) => (Array.isArray(found) ? found : Object.keys(found)))
  .transform((found) => found.map((id) => withoutControls(id)))
  .catch([]);

const details = z
  .object({
    executed_nodes: ids,
    remaining_nodes: ids,
    running_nodes: ids,
    failed_nodes: ids,
  })
  .nullable()
  .catch(null);

/** What is read of an event. Everything else, the content first of all, is private and dropped. */
const wireEvent = z.object({
  type: z.string().catch(''),
  redisId: text,
  run_id: text,
  data: z
    .object({ status: text, workflow_status: text, progress_details: details, run_id: text })
    .catch({ status: null, workflow_status: null, progress_details: null, run_id: null }),
});

/**
 * What an event says of a run; null for one of another kind, or of another run. A `state` event carries the
 * run's status as `data.status`; there a `content` event has the status of a node, which says nothing of the
 * run.
 */
export function noteOf(json: unknown, runId: string): StreamNote | null {
  const event = wireEvent.safeParse(json);
  if (!event.success) return null;
  const { type, data, redisId } = event.data;
  if (type !== 'state' && type !== 'content') return null;
  const about = event.data.run_id ?? data.run_id ?? runId;
  if (about.toLowerCase() !== runId.toLowerCase()) return null;
  const status = data.workflow_status ?? (type === 'state' ? data.status : null);
  return { status, nodes: nodesOf(data.progress_details), redisId };
}

function nodesOf(found: z.output<typeof details>): RunNodes | null {
  if (found === null) return null;
  const { executed_nodes: executed, remaining_nodes: remaining } = found;
  return boundedNodes({
    executed: executed.length,
    remaining: remaining.length,
    running: found.running_nodes,
    failed: found.failed_nodes,
  });
}
