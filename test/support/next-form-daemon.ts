import { setTimeout as delay } from 'node:timers/promises';
import { CommandLine } from '../../src/cli/command-line.ts';
import { EXIT } from '../../src/cli/exit.ts';
import { LocalVerbs } from '../../src/cli/local/local-verbs.ts';
import { outputOf } from '../../src/cli/output.ts';
import { runProgram } from '../../src/cli/program.ts';
import { reportError } from '../../src/cli/report.ts';
import { readCliEnv } from '../../src/config/cli-env.ts';
import type {
  MigratedChunk,
  MigratedStore,
  Migration,
  MigrationStep,
} from '../../src/redis/migrations.ts';
import { heldAt, NEXT, NEXT_VERSION } from './next-form.ts';

/**
 * The command line of a version that knows the next form. A test holds its migration at a step: see `heldAt`.
 * It runs by `node --import tsx`.
 */

/** How often a migration that is held asks whether it may go on, ms. */
const HELD_MS = 20;

/** A step that waits where a test holds it. */
class HeldStep implements MigrationStep {
  readonly name: string;
  readonly frees: boolean;
  readonly bytesEach: number;
  readonly count: MigrationStep['count'];

  constructor(
    private readonly step: MigrationStep,
    private readonly at: number,
  ) {
    this.name = step.name;
    this.frees = step.frees;
    this.bytesEach = step.bytesEach;
    this.count = step.count;
  }

  async next(store: MigratedStore, cursor: string, most: number): Promise<MigratedChunk> {
    const key = heldAt(store.keys);
    while ((await store.redis.get(key)) === String(this.at)) await delay(HELD_MS);
    return this.step.next(store, cursor, most);
  }
}

const held: Migration = { ...NEXT, steps: NEXT.steps.map((step, at) => new HeldStep(step, at)) };

const env = readCliEnv();
const io = {
  stdout: outputOf(process.stdout, env),
  stderr: outputOf(process.stderr, env),
  stdin: process.stdin,
};
const cli = new CommandLine(io, env, NEXT_VERSION, () => new AbortController().signal);
try {
  process.exitCode = await runProgram(process.argv.slice(2), cli, new LocalVerbs(cli, [held]));
} catch (error) {
  reportError(io.stderr, error, { verbose: true });
  process.exitCode = EXIT.failure;
}
