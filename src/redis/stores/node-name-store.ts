import type { Redis } from 'ioredis';
import type { Keys } from '../keys.ts';

/** The most workflows of a source with names of nodes. */
const MOST_WORKFLOWS = 500;

/** For how long names are kept that no process has read again, ms: 30 days. */
const KEPT_MS = 2_592_000_000;

/** The names of the nodes of workflows, for all processes. Errors of the connection pass through. */
export class NodeNameStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Names by ids of nodes; null where no process has read them. */
  async get(source: string, workflowId: string): Promise<Map<string, string> | null> {
    const text = await this.redis.hget(this.keys.nodeNames(source), workflowId);
    return text === null ? null : new Map(JSON.parse(text) as [string, string][]);
  }

  /** Where there are too many workflows, any one of them is forgotten. */
  async put(source: string, workflowId: string, names: Map<string, string>): Promise<void> {
    const key = this.keys.nodeNames(source);
    await this.redis.rwPutBounded(key, workflowId, JSON.stringify([...names]), MOST_WORKFLOWS);
    await this.redis.pexpire(key, KEPT_MS);
  }
}
