import type { WorkflowKey } from '../../core/cadence/phase.ts';
import type { Channel } from './channel.ts';
import { parseEvent } from './notice/sent-event.ts';

/** The name of a workflow as it is known now; null where none is. */
export type WorkflowNameOf = (workflow: WorkflowKey) => string | null;

/**
 * A channel with messages for people, which name workflows as they are known when they are sent: the first
 * events of a workflow are older than its name.
 */
export function namingWorkflows(channel: Channel, nameOf: WorkflowNameOf): Channel {
  const named = <Part extends { body: string }>(part: Part): Part => ({
    ...part,
    body: withName(part.body, nameOf),
  });
  return {
    ...channel,
    send: ({ others, ...message }, signal, mayStart) =>
      channel.send(
        { ...named(message), ...(others !== undefined && { others: others.map(named) }) },
        signal,
        mayStart,
      ),
  };
}

function withName(body: string, nameOf: WorkflowNameOf): string {
  const event = parseEvent(body);
  const { run, watch, workflow_name: known } = event.data;
  const workflowId = run?.workflow_id ?? null;
  if (known !== null || workflowId === null || watch === undefined) return body;
  const name = nameOf({ source: watch.source, workflowId });
  return name === null
    ? body
    : JSON.stringify({ ...event, data: { ...event.data, workflow_name: name } });
}
