import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A benchmark's surroundings: its own directory, and what to release after it. */
export interface BenchContext {
  dir: string;
  /** Releases run in reverse order, whatever the benchmark's result. */
  onEnd(release: () => Promise<void>): void;
}

/** Runs a benchmark; afterwards its processes are ended and its files removed, also on Ctrl-C. */
export async function withContext<Result>(
  run: (context: BenchContext) => Promise<Result>,
): Promise<Result> {
  const dir = await mkdtemp(join(tmpdir(), 'runwatch-bench-'));
  const releases = [() => rm(dir, { recursive: true, force: true })];
  let cleaning: Promise<void> | null = null;
  const clean = () => (cleaning ??= releaseAll(releases));
  const interrupted = (signal: NodeJS.Signals) => {
    console.error(`ended by ${signal}`);
    void clean().finally(() => process.exit(1));
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    return await run({ dir, onEnd: (release) => releases.push(release) });
  } finally {
    await clean();
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
  }
}

async function releaseAll(releases: (() => Promise<void>)[]): Promise<void> {
  for (const release of releases.toReversed()) {
    await release().catch((error: unknown) => console.error(error));
  }
}
