import { z } from 'zod';
import { escapeControls } from '../../core/control-characters.ts';
import { isoTime } from '../../core/event/event.ts';
import { percentText, type RunSnapshot } from '../../core/run/snapshot.ts';
import { startReceiver, type ReceivedWebhook } from '../../simulator/receiver.ts';
import { untilAborted } from '../command-line.ts';

interface ListenOptions {
  /** 0 takes any free port. */
  port: number;
  /** `whsec_…`; a webhook is verified when any of them signed it. */
  secrets: readonly string[];
  /** One JSON object for each webhook instead of a line for people. */
  json: boolean;
  /** Ends it. */
  signal: AbortSignal;
  /** Takes what was received, a line at a time. */
  write: (line: string) => void;
  /** Takes remarks; default `write`, but none with `json`. */
  note?: (line: string) => void;
}

/**
 * Receives webhooks until the signal, verifies them and prints each.
 * @throws RunwatchError `invalid_secret`, `port_in_use`, `cannot_listen`
 */
export async function listen(options: ListenOptions): Promise<void> {
  const { port, secrets, json, signal, write } = options;
  const receiver = await startReceiver({
    port,
    secrets,
    keep: 0,
    onReceived: (webhook) => {
      write(json ? escapeControls(JSON.stringify(asJson(webhook))) : webhookLine(webhook));
    },
  });
  try {
    const note = options.note ?? (json ? () => undefined : write);
    note(`Listening for webhooks at ${receiver.url}`);
    if (secrets.length === 0) note('No secret was given: signatures are not verified.');
    await untilAborted(signal);
  } finally {
    await receiver.close();
  }
}

/** What scripts get: the event as it came, and whether it may be trusted. */
function asJson({ id, type, receivedAt, verified, problem, body }: ReceivedWebhook) {
  return { id, type, received_at: isoTime(receivedAt), verified, problem, event: parsed(body) };
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}

/** The part of an event that a line shows; `--json` shows all of it. */
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
    ...(run ? [statusText(run)] : []),
    ...(typeof reminder === 'number' ? [`reminder ${reminder}`] : []),
    ...(typeof delay === 'number' ? [`seen after ${delay} ms`] : []),
  ];
}

function statusText({ status, progress }: Pick<RunSnapshot, 'status' | 'progress'>): string {
  return progress === null ? status : `${status} ${percentText(progress, ' %')}`;
}

function parseEvent(body: string) {
  try {
    return eventSchema.safeParse(JSON.parse(body)).data;
  } catch {
    return undefined;
  }
}

/** Any program may send a webhook: what could steer a terminal is not printed. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '�');
}
