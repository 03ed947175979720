import type { Redis } from 'ioredis';
import type { Keys } from '../keys.ts';
import { replies } from '../connection.ts';
import { script } from '../script.ts';

/** For how long names are kept that no process has read again, ms. */
const KEPT_MS = 30 * 86_400_000;

/** The names that sources give workflows, for all processes. Errors of the connection pass through. */
export class WorkflowNameStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Names by the ids of workflows. */
  async all(source: string): Promise<Map<string, string>> {
    return new Map(Object.entries(await this.redis.hgetall(this.keys.workflowNames(source))));
  }

  /** The names of some workflows, by their ids. */
  async some(source: string, ids: readonly string[]): Promise<Map<string, string>> {
    if (ids.length === 0) return new Map();
    const names = await this.redis.hmget(this.keys.workflowNames(source), ...ids);
    return new Map(
      ids.flatMap((id, at) => {
        const name = names[at] ?? null;
        return name === null ? [] : [[id, name] as const];
      }),
    );
  }

  /** @param forgotten ids of workflows with names that are dropped */
  async put(
    source: string,
    named: readonly { id: string; name: string }[],
    forgotten: readonly string[],
  ): Promise<void> {
    if (named.length === 0) return;
    const key = this.keys.workflowNames(source);
    const pipeline = this.redis.multi();
    pipeline.hset(key, ...named.flatMap(({ id, name }) => [id, name]));
    if (forgotten.length > 0) pipeline.hdel(key, ...forgotten);
    pipeline.pexpire(key, KEPT_MS);
    await replies(pipeline);
  }

  /** Claims the right to read the list. @returns false where a process has had it within that time */
  async claimPass(source: string, forMs: number): Promise<boolean> {
    const key = this.keys.workflowNamesRead(source);
    return (await this.redis.set(key, '1', 'PX', forMs, 'NX')) === 'OK';
  }
}

/** The most workflows of a source with names of nodes. */
const MOST_WORKFLOWS = 500;

/** Sets a field. Where there are too many, any other one is forgotten. */
const PUT_BOUNDED = script(
  'rwPutBounded',
  { keys: ['hash'], args: ['field', 'text', 'most', 'keptMs'] },
  `
redis.call('HSET', keys.hash, args.field, args.text)
while redis.call('HLEN', keys.hash) > tonumber(args.most) do
  local field = redis.call('HRANDFIELD', keys.hash)
  if field ~= args.field then redis.call('HDEL', keys.hash, field) end
end
redis.call('PEXPIRE', keys.hash, args.keptMs)
`,
);

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
    await PUT_BOUNDED.run(
      this.redis,
      { hash: this.keys.nodeNames(source) },
      {
        field: workflowId,
        text: JSON.stringify([...names]),
        most: MOST_WORKFLOWS,
        keptMs: KEPT_MS,
      },
    );
  }
}
