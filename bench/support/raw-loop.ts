import { Agent } from 'node:http';
import { got } from 'got';
import { runIdAt, type BenchNoxus } from './noxus.ts';

interface RawLoopOptions {
  noxus: BenchNoxus;
  runs: number;
  concurrency: number;
}

/** The result of a loop. */
export interface LoopResult {
  requests: number;
  elapsedMs: number;
  /** CPU time of this process, µs. */
  cpuUs: number;
}

/**
 * The baseline without a product: got with the options of `src/fetch/transport.ts`, but for
 * its own request function. As many workers
 * as there are concurrent polls read runs repeatedly, and ignore the answers.
 */
export function createRawLoop({ noxus, runs, concurrency }: RawLoopOptions) {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: concurrency,
    maxFreeSockets: concurrency,
  });
  const client = got.extend({
    agent: { http: agent },
    headers: {
      'x-api-key': noxus.apiKey,
      'user-agent': 'runwatch-bench',
      accept: 'application/json',
      'accept-encoding': 'identity',
    },
    throwHttpErrors: false,
    decompress: false,
    followRedirect: false,
    retry: { limit: 0 },
    responseType: 'buffer',
  });

  return {
    async run(durationMs: number): Promise<LoopResult> {
      const cpu = process.cpuUsage();
      const startedAt = performance.now();
      let requests = 0;
      const worker = async () => {
        while (performance.now() - startedAt < durationMs) {
          const { statusCode } = await client(`${noxus.url}/v1/runs/${runIdAt(requests % runs)}`);
          if (statusCode !== 200) throw new Error(`the fake Noxus answered ${statusCode}`);
          requests += 1;
        }
      };
      await Promise.all(Array.from({ length: concurrency }, worker));
      const elapsedMs = performance.now() - startedAt;
      const { user, system } = process.cpuUsage(cpu);
      return { requests, elapsedMs, cpuUs: user + system };
    },
    close: () => agent.destroy(),
  };
}
