import { spawnSync } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { Redis } from 'ioredis';
import type { BenchContext } from './context.ts';
import type { BenchRedis } from './redis.ts';

/** Commands that take longer than this are in Redis's slow log, µs. */
const SLOW_US = 500;

/** The longest that a command has blocked Redis for, how many took longer than a time, and the slowest ones. */
interface Blocks {
  longestMs: number;
  /** How many commands were noted as slow. */
  over(ms: number): number;
  slow: { us: number; command: string }[];
}

/** Writes down from now on how long commands block Redis. @returns a function that reads it */
export async function noteBlocks(
  context: BenchContext,
  { socket, info }: BenchRedis,
): Promise<() => Promise<Blocks>> {
  const control = new Redis(socket);
  context.onEnd(async () => control.disconnect());
  hurry(await info('server'));
  await control.config('SET', 'slowlog-log-slower-than', SLOW_US);
  await control.config('SET', 'slowlog-max-len', 10_000);
  await control.slowlog('RESET');
  return async () => {
    const entries = (await control.slowlog('GET', 10_000)) as [number, number, number, string[]][];
    const sorted = entries
      .filter(([, , , [name]]) => name !== 'slowlog')
      .toSorted((a, b) => b[2] - a[2]);
    const slow = sorted
      .slice(0, 10)
      .map(([, , us, command]) => ({ us, command: command.join(' ').slice(0, 200) }));
    const over = (ms: number) => sorted.filter(([, , us]) => us > ms * 1_000).length;
    return { longestMs: (slow[0]?.us ?? SLOW_US) / 1_000, over, slow };
  };
}

/** Time that Redis loses to other processes is no block: it runs before all of them, where permitted. */
function hurry({ process_id: pid = 0 }: Record<string, number>): void {
  if (spawnSync('chrt', ['--fifo', '--pid', '10', String(pid)]).status === 0) return;
  try {
    setPriority(pid, constants.priority.PRIORITY_HIGHEST);
  } catch {
    console.error('Redis has no priority over other processes: its longest block is theirs, too');
  }
}
