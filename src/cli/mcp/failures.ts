import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import type { DaemonClient, FailedRuns } from '../../client/client.ts';
import type { AcknowledgeBody, AttentionView } from '../../client/types.ts';
import { UNDONE } from './acting-tools.ts';
import { answer, answerInWords } from './answers.ts';
import { attentionLine, quoted } from './texts.ts';

/** Acknowledges failures once that is confirmed. Throws RunwatchError, also where nothing has failed. */
export async function acknowledgeFailures(
  failed: FailedRuns,
  { body, isConfirmed }: { body: AcknowledgeBody; isConfirmed: boolean },
  client: DaemonClient,
): Promise<CallToolResult> {
  const whose = whoseText(failed);
  if (!isConfirmed) {
    const line = lineOf(await entryOf(failed, client), client);
    return answerInWords(`This would acknowledge the failures ${whose}. ${line}\n${UNDONE}`);
  }
  const done = await client.acknowledgeFailures(failed, body);
  if (done.acknowledged === null) return answer(`The failures ${whose} are over.`, done);
  const line = lineOf(await entryOf(failed, client), client);
  const text = `The failures ${whose} are acknowledged; unacknowledge takes it back.`;
  return answer(`${text} ${line}`, done);
}

/** Takes that back once it is confirmed. Throws RunwatchError, also where nothing has failed. */
export async function unacknowledgeFailures(
  failed: FailedRuns,
  isConfirmed: boolean,
  client: DaemonClient,
): Promise<CallToolResult> {
  const whose = whoseText(failed);
  const entry = await entryOf(failed, client);
  const line = lineOf(entry, client);
  if (entry?.acknowledged === null) {
    return answerInWords(`No user has acknowledged the failures ${whose}. ${line}`);
  }
  if (!isConfirmed) {
    const text = `This would take the acknowledgement back of the failures ${whose}. ${line}`;
    return answerInWords(`${text}\n${UNDONE}`);
  }
  await client.withdrawFailures(failed);
  const after = lineOf(await entryOf(failed, client), client);
  return answerInWords(`The failures ${whose} are no longer acknowledged. ${after}`);
}

function whoseText({ source, workflowId }: FailedRuns): string {
  const runs = workflowId === null ? 'runs without a workflow' : `workflow ${quoted(workflowId)}`;
  return `of ${runs} (source ${source})`;
}

type Entry = AttentionView['data'][number];

async function entryOf(
  { source, workflowId }: FailedRuns,
  client: DaemonClient,
): Promise<Entry | undefined> {
  const { data } = await client.readAttention({ acknowledged: 'include' });
  return data.find(
    (item) => item.kind === 'failed' && item.source === source && item.workflow_id === workflowId,
  );
}

/** What attention says of failures. An alert of a rule that is about them stands for them there. */
function lineOf(entry: Entry | undefined, { url }: DaemonClient): string {
  return entry === undefined
    ? 'An alert about them goes with them, where list_attention names one.'
    : `They are:\n${attentionLine(entry, url)}`;
}
