import type { Redis } from 'ioredis';
import type { Keys } from '../keys.ts';
import { script } from '../script.ts';

/**
 * Raises the counter of a process that others do not know. Where just one other is there, it raises that one's,
 * too: a process that is alone reads no counters until its own is raised by another.
 */
const SHOW_PROCESS = script(
  'rwShowProcess',
  { keys: ['processes'], args: ['process'], reply: (counter: number) => counter },
  `
local counter = redis.call('HINCRBY', keys.processes, args.process, 1)
local ids = redis.call('HKEYS', keys.processes)
if #ids == 2 then
  redis.call('HINCRBY', keys.processes, ids[1] == args.process and ids[2] or ids[1], 1)
end
return counter
`,
);

/** What a process says of itself. */
export interface ProcessInfo {
  host: string;
  pid: number;
  version: string;
  /** The form in which it reads and writes records; versions before form 12 do not say. */
  form?: string;
  /** Milliseconds since the epoch. */
  startedAt: number;
  /** By how much the clock of its host is ahead of the store's, ms. */
  skewMs: number;
  /** Hashes of the configuration that it works by, by section. */
  sections: Record<string, string>;
}

/** The daemons on this store: each raises a counter, and has said what it is. */
export class ProcessStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async describe(process: string, info: ProcessInfo): Promise<void> {
    await this.redis.hset(this.keys.processInfo, process, JSON.stringify(info));
  }

  /** Raises the counter of a process that others do not know, and shows it to one that is alone. */
  show(process: string): Promise<number> {
    return SHOW_PROCESS.run(this.redis, this.keys, { process });
  }

  /** Raises the counter of a process. @returns what it is now: 1 where the store had forgotten it */
  async beat(process: string): Promise<number> {
    return this.redis.hincrby(this.keys.processes, process, 1);
  }

  /** The counters of all processes. */
  async counters(): Promise<Map<string, string>> {
    return new Map(Object.entries(await this.redis.hgetall(this.keys.processes)));
  }

  /** What the processes have said of themselves, by their ids. */
  async described(): Promise<Map<string, ProcessInfo>> {
    const texts = await this.redis.hgetall(this.keys.processInfo);
    return new Map(
      Object.entries(texts).map(([id, text]) => [id, JSON.parse(text) as ProcessInfo]),
    );
  }

  async forget(process: string): Promise<void> {
    await this.redis.hdel(this.keys.processes, process);
    await this.redis.hdel(this.keys.processInfo, process);
  }
}
