import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { BenchContext } from './context.ts';
import { endProcess } from './process.ts';

const PROCESS = fileURLToPath(new URL('./noxus-process.ts', import.meta.url));

/** Messages of the fake Noxus's process. */
export type NoxusMessage =
  | { kind: 'listening'; url: string; apiKey: string }
  /** When the first request after the last `watch` came in, milliseconds since the epoch. */
  | { kind: 'first_request'; at: number }
  /** How many requests came in so far. */
  | { kind: 'count'; requests: number };

/** The fake Noxus in its own process, with runs that wait for ever. */
export interface BenchNoxus {
  url: string;
  apiKey: string;
  /** Resolves with the time at which the next request comes in, milliseconds since the epoch. */
  nextRequest(): Promise<number>;
  /** How many requests came in so far. */
  countRequests(): Promise<number>;
}

/** The id of one of the runs: the same in every process. */
export function runIdAt(index: number): string {
  return `00000000-0000-4000-8000-${index.toString(16).padStart(12, '0')}`;
}

export async function startNoxus(context: BenchContext, runs: number): Promise<BenchNoxus> {
  const child = fork(PROCESS, [String(runs)]);
  context.onEnd(() => endProcess(child));
  const next = async <Kind extends NoxusMessage['kind']>(kind: Kind) => {
    const [message] = (await once(child, 'message')) as [NoxusMessage];
    if (message.kind !== kind) throw new Error(`the fake Noxus said ${message.kind}`);
    return message as Extract<NoxusMessage, { kind: Kind }>;
  };
  const { url, apiKey } = await next('listening');
  return {
    url,
    apiKey,
    async nextRequest() {
      child.send('watch');
      return (await next('first_request')).at;
    },
    async countRequests() {
      child.send('count');
      return (await next('count')).requests;
    },
  };
}
