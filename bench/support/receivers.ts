import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { BenchContext } from './context.ts';
import { endProcess } from './process.ts';

const PROCESS = fileURLToPath(new URL('./receivers-process.ts', import.meta.url));

/** A complete webhook. */
export interface Arrival {
  /** `webhook-id`. */
  id: string;
  /** Which of the endpoints. */
  endpoint: number;
  /** Milliseconds since the epoch. */
  at: number;
}

/** Messages to the receivers' process. */
export type ReceiversOrder = { kind: 'take' } | { kind: 'hang'; endpoints: number[] };

/** Its answers. */
export type ReceiversMessage =
  | { kind: 'listening'; urls: string[] }
  | { kind: 'hanging' }
  | { kind: 'arrivals'; arrivals: Arrival[] };

/** Receivers of webhooks in their own process: they answer 204 at once. */
export interface Receivers {
  /** The URL of each endpoint. */
  urls: string[];
  /** Arrivals since the last call, without requests that have no id. */
  take(): Promise<Arrival[]>;
  /** Makes these endpoints take requests and never answer them. */
  hang(endpoints: number[]): Promise<void>;
}

export async function startReceivers(context: BenchContext, endpoints: number): Promise<Receivers> {
  const child = fork(PROCESS, [String(endpoints)], { serialization: 'advanced' });
  context.onEnd(() => endProcess(child));
  const next = async <Kind extends ReceiversMessage['kind']>(kind: Kind) => {
    const [message] = (await once(child, 'message')) as [ReceiversMessage];
    if (message.kind !== kind) throw new Error(`the receivers said ${message.kind}`);
    return message as Extract<ReceiversMessage, { kind: Kind }>;
  };
  const tell = (order: ReceiversOrder) => child.send(order);
  const { urls } = await next('listening');
  return {
    urls,
    async take() {
      tell({ kind: 'take' });
      return (await next('arrivals')).arrivals;
    },
    async hang(some) {
      tell({ kind: 'hang', endpoints: some });
      await next('hanging');
    },
  };
}
