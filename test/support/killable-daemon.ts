import type { Simulator } from '../../src/simulator/server.ts';
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

/** A source without a limit that matters, and a receiver that is soon tried again. */
export function killableConfig(
  { url, apiKey }: Pick<Simulator, 'url' | 'apiKey'>,
  receiver: { url: string; secret: string },
) {
  const retry = Array.from({ length: 30 }, () => '300ms');
  const rate_limit = { requests: 10_000, per: '1s' };
  return {
    sources: { default: { base_url: url, api_key: apiKey, rate_limit } },
    endpoints: { hooks: { type: 'webhook', ...receiver, events: ['*'], retry } },
    egress: { allow: ['127.0.0.1/32'] },
  };
}

/** Waits for all even if one has failed: a task that still runs would disturb the clean-up. */
export async function allOf(tasks: Promise<void>[]): Promise<void> {
  await Promise.allSettled(tasks);
  await Promise.all(tasks);
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
