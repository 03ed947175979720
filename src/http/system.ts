import type { z } from 'zod';
import { isoTime } from '../core/event/event.ts';
import type { Daemon } from '../daemon.ts';
import type { Process } from '../process.ts';
import { serverTraits } from '../redis/server-check.ts';
import type { Slice } from './routing.ts';
import type { Routes } from './schemas/routes.ts';
import type { storeSchema } from './schemas/system.ts';

/** Shows the daemons that share the work. */
export class ProcessService implements Slice<Routes['processes']> {
  constructor(private readonly daemon: Pick<Daemon, 'processes'>) {}

  async list() {
    const found = await this.daemon.processes.list();
    return {
      data: found.map(({ id, name, version, startedAt, heartbeatAt, skewMs }) => ({
        id,
        name,
        version,
        since: isoTime(startedAt),
        heartbeat: isoTime(heartbeatAt),
        clock_skew_ms: skewMs,
      })),
    };
  }
}

/** Describes the Redis that keeps everything. */
export class StorageService implements Slice<Routes['storage']> {
  constructor(private readonly process: Process) {}

  async describe(): Promise<z.output<typeof storeSchema>> {
    const { connections, stores } = this.process;
    const [traits, figures] = await Promise.all([
      serverTraits(connections.commands),
      stores.memory.figures(),
    ]);
    // No more than the schema says: the daemon knows further figures of both.
    const server = traits && {
      version: traits.version,
      policy: traits.policy,
      persistence: traits.persistence,
    };
    if (figures === null) return { server, memory: null };
    const { used, max, live, settled, indexes, daysLeft } = figures;
    const days = daysLeft === null ? null : Math.floor(daysLeft);
    return { server, memory: { used, max, live, settled, indexes, days_left: days } };
  }
}
