import { createServer, type ServerResponse } from 'node:http';
import type { BenchContext } from './context.ts';
import { serve } from './serve.ts';

/** A webhook as it came in. */
export interface Webhook {
  id: string;
  type: string;
  /** '' where it is about no run. */
  runId: string;
  sequence: number;
  detectedAt: string;
  /** The path that identifies the endpoint. */
  path: string;
  /** Milliseconds since the epoch. */
  at: number;
  /** Its sender closed the connection before there was an answer. */
  isCutOff: boolean;
}

/** A receiver that accepts everything at once, unless {@link WebhookLog.hang} was called. */
export interface WebhookLog {
  url: string;
  webhooks: Webhook[];
  of(type: string): Webhook[];
  /** Answers nothing from now on; what hangs then is answered by {@link answer}. */
  hang(): void;
  answer(): void;
}

export async function startWebhookLog(context: BenchContext): Promise<WebhookLog> {
  const webhooks: Webhook[] = [];
  const hanging = new Set<ServerResponse>();
  let hangs = false;
  const hold = (response: ServerResponse, webhook: Webhook) => {
    hanging.add(response);
    response.on('close', () => {
      hanging.delete(response);
      webhook.isCutOff = !response.writableEnded;
    });
  };
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('error', () => undefined);
    request.on('end', () => {
      const webhook = read(Buffer.concat(parts).toString(), request.url ?? '/');
      webhooks.push(webhook);
      if (hangs) hold(response, webhook);
      else response.writeHead(204).end();
    });
  });
  const url = await serve(context, server);
  return {
    url,
    webhooks,
    of: (type) => webhooks.filter((one) => one.type === type),
    hang: () => void (hangs = true),
    answer() {
      hangs = false;
      for (const response of hanging) response.writeHead(204).end();
    },
  };
}

interface Body {
  id: string;
  type: string;
  data: { run_id?: string; sequence?: number; detected_at?: string };
}

function read(text: string, path: string): Webhook {
  const { id, type, data } = JSON.parse(text) as Body;
  const { run_id: runId = '', sequence = 0, detected_at: detectedAt = '' } = data;
  return { id, type, runId, sequence, detectedAt, path, at: Date.now(), isCutOff: false };
}
