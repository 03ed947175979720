import { escapeControls } from '../core/controls.ts';
import { isoTime } from '../core/event.ts';
import { startReceiver, type ReceivedWebhook } from '../simulator/receiver.ts';
import { untilAborted } from './until-aborted.ts';
import { webhookLine } from './webhook-line.ts';

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
  /** Takes what is said besides; default `write`, but nowhere with `json`. */
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
