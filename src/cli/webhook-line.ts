import { z } from 'zod';
import { isoTime } from '../core/event.ts';
import { percentText } from '../core/run.ts';
import type { ReceivedWebhook } from '../simulator/receiver.ts';

/** What a line tells of an event; whatever else it holds is left to `--json`. */
const eventSchema = z.object({
  data: z.object({
    run_id: z.string(),
    run: z.object({ status: z.string(), progress: z.number().nullable() }).nullish().catch(null),
    detection_delay_ms: z.number().nullish().catch(null),
    reminder: z.number().nullish().catch(null),
  }),
});

const TYPE_WIDTH = 'run.awaiting_human_feedback'.length;

/** One line for people about one webhook. */
export function webhookLine(webhook: ReceivedWebhook): string {
  const { type, receivedAt, verified, problem } = webhook;
  const parts = [
    isoTime(receivedAt),
    verified ? '✔' : '✘',
    (type ?? '(not an event)').padEnd(TYPE_WIDTH),
    ...runParts(webhook.body),
    verified ? 'verified' : `not verified: ${problem}`,
  ];
  return printable(parts.join('  '));
}

function runParts(body: string): string[] {
  const data = parseEvent(body)?.data;
  if (data === undefined) return [];
  const { run_id: runId, run, detection_delay_ms: delay, reminder } = data;
  return [
    runId,
    ...(run ? [`${run.status} ${percentText(run.progress, ' %')}`] : []),
    ...(typeof reminder === 'number' ? [`reminder ${reminder}`] : []),
    ...(typeof delay === 'number' ? [`seen after ${delay} ms`] : []),
  ];
}

function parseEvent(body: string) {
  try {
    return eventSchema.safeParse(JSON.parse(body)).data;
  } catch {
    return undefined;
  }
}

/** Anybody may send a webhook: what could steer a terminal is not printed. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '�');
}
