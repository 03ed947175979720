import type { ChainableCommander } from 'ioredis';

/** The results of a pipeline; the first error, if there is one, is thrown. */
export async function replies<Reply>(pipeline: ChainableCommander): Promise<Reply[]> {
  const results = (await pipeline.exec()) ?? [];
  return results.map(([error, reply]) => {
    if (error) throw error;
    return reply as Reply;
  });
}
