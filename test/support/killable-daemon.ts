import {
  spawnDaemonProcess,
  type DaemonOptions,
  type DaemonProcess,
  type LogLine,
} from './daemon-process.ts';

/** A daemon that the test kills now and then; it restarts at once on the same data. */
export interface KillableDaemon {
  /** The present process, which may be starting. */
  readonly current: DaemonProcess;
  /** SIGKILL at any time; the next process has been started when this returns. */
  kill(): Promise<void>;
  /** Ends it for good by SIGTERM. @returns its exit code */
  stop(): Promise<number | null>;
  /** The log of all its processes. */
  log(): LogLine[];
}

export async function startKillableDaemon(options: DaemonOptions): Promise<KillableDaemon> {
  const lives = [await spawnDaemonProcess(options)];
  const current = (): DaemonProcess => {
    const latest = lives.at(-1);
    if (latest === undefined) throw new Error('there is always one');
    return latest;
  };
  return {
    get current() {
      return current();
    },
    async kill() {
      await current().stop('SIGKILL');
      lives.push(await spawnDaemonProcess({ ...options, dataDir: current().dataDir }));
    },
    stop: () => current().stop(),
    log: () => lives.flatMap((life) => life.log()),
  };
}
