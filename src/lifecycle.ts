import type { Logger } from './telemetry/logger.ts';
export interface Releasers {
  add(name: string, release: (remainingMs: number) => Promise<void>): void;
  release(timeoutMs: number): Promise<boolean>;
}
export function createReleasers(log: Logger): Releasers {
  const list: { name: string; release: (ms: number) => Promise<void> }[] = [];
  return {
    add: (name, release) => {
      list.push({ name, release });
    },
    async release(timeoutMs) {
      const end = Date.now() + timeoutMs;
      for (const one of list.reverse())
        await one
          .release(end - Date.now())
          .catch((error: unknown) => log.error({ err: error }, one.name));
      return true;
    },
  };
}
