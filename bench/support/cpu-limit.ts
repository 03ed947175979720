import { spawn } from 'node:child_process';
import { mkdir, rmdir, writeFile } from 'node:fs/promises';
import { availableParallelism, setPriority } from 'node:os';
import { basename, join } from 'node:path';
import type { BenchContext } from './context.ts';
import { endProcess } from './process.ts';

const PERIOD_US = 100_000;

/** Beside a busy loop on each core, a process of this niceness gets about a tenth of a core. */
const NICE = 10;

const ROOT = '/sys/fs/cgroup';

/** A limit of CPU time on processes. */
export interface CpuLimit {
  by: 'cgroup' | 'nice';
  lift(): Promise<void>;
}

/**
 * Limits each process to a tenth of a core: by a cgroup where one can be made, else by niceness beside
 * busy loops, for which lifting needs the right to lower it.
 */
export async function limitToTenth(
  context: BenchContext,
  pids: readonly number[],
): Promise<CpuLimit> {
  const groups = await Promise.all(pids.map((pid) => tryGroup(context, pid)));
  if (groups.every((lift) => lift !== null)) {
    return {
      by: 'cgroup',
      lift: async () => void (await Promise.all(groups.map((lift) => lift()))),
    };
  }
  const loops = Array.from({ length: availableParallelism() }, () =>
    spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
  );
  for (const loop of loops) context.onEnd(() => endProcess(loop));
  for (const pid of pids) setPriority(pid, NICE);
  return {
    by: 'nice',
    async lift() {
      await Promise.all(loops.map(endProcess));
      for (const pid of pids) setPriority(pid, 0);
    },
  };
}

/** Puts a process into a cgroup of its own. @returns what lifts its limit; null where none can be made */
async function tryGroup(context: BenchContext, pid: number): Promise<(() => Promise<void>) | null> {
  return (
    (await tryForm(context, pid, {
      parent: join(ROOT, 'cpu'),
      async limit(path, us) {
        await writeFile(join(path, 'cpu.cfs_period_us'), String(PERIOD_US));
        await writeFile(join(path, 'cpu.cfs_quota_us'), String(us ?? -1));
      },
    })) ??
    (await tryForm(context, pid, {
      parent: ROOT,
      limit: (path, us) => writeFile(join(path, 'cpu.max'), `${us ?? 'max'} ${PERIOD_US}`),
    }))
  );
}

async function tryForm(
  context: BenchContext,
  pid: number,
  { parent, limit }: { parent: string; limit: (path: string, us: number | null) => Promise<void> },
): Promise<(() => Promise<void>) | null> {
  const path = join(parent, `${basename(context.dir)}-${pid}`);
  try {
    await mkdir(path);
  } catch {
    return null;
  }
  context.onEnd(() => rmdir(path).catch(() => undefined));
  try {
    await limit(path, PERIOD_US / 10);
    await writeFile(join(path, 'cgroup.procs'), String(pid));
  } catch {
    return null;
  }
  return () => limit(path, null);
}
