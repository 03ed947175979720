import { Agent } from 'node:http';
import { got } from 'got';
import type { LoopResult } from './raw-loop.ts';

interface PostLoopOptions {
  urls: string[];
  body: string;
  concurrency: number;
}

/**
 * The baseline without a product: got with agents like those of `src/deliver/http-post.ts`, and whatever
 * it does that a webhook has no use for switched off. As many workers as there are concurrent attempts post
 * to all endpoints in turn. Nothing is signed, stored or retried.
 */
export function createPostLoop({ urls, body, concurrency }: PostLoopOptions) {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 64,
    maxFreeSockets: 4,
    timeout: 4_000,
  });
  const client = got.extend({
    method: 'POST',
    agent: { http: agent },
    headers: { 'content-type': 'application/json', 'user-agent': 'runwatch-bench' },
    body,
    followRedirect: false,
    decompress: false,
    throwHttpErrors: false,
    retry: { limit: 0 },
    maxHeaderSize: 16_384,
    responseType: 'buffer',
  });

  return {
    async run(durationMs: number): Promise<LoopResult> {
      const cpu = process.cpuUsage();
      const startedAt = performance.now();
      let requests = 0;
      const worker = async () => {
        while (performance.now() - startedAt < durationMs) {
          const { statusCode } = await client(urls[requests++ % urls.length] ?? '');
          if (statusCode !== 204) throw new Error(`a receiver answered ${statusCode}`);
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
