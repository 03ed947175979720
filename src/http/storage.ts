import type { MemoryFigures } from '../core/redis-memory.ts';
import type { Process } from '../process.ts';
import { serverTraits } from '../redis/server-check.ts';

/** What is known of Redis. Null for what it does not say. */
export interface StorageView {
  server: {
    version: string;
    /** What it does when its memory is full; only `noeviction` keeps everything. */
    policy: string;
    persistence: 'append_only_file' | 'snapshots' | 'none';
  } | null;
  memory: MemoryFigures | null;
}

/** Describes the Redis that keeps everything. */
export class StorageService {
  constructor(private readonly process: Process) {}

  async describe(): Promise<StorageView> {
    const { connections, stores } = this.process;
    const [server, memory] = await Promise.all([
      serverTraits(connections.commands),
      stores.memory.figures(),
    ]);
    return { server, memory };
  }
}
