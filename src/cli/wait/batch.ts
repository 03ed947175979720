import { setTimeout as sleep } from 'node:timers/promises';
import type { RunRef, RunwatchClient } from '../../client/client.ts';
import { collectPages } from '../../client/pages.ts';
import type { OneBatchView } from '../../client/types.ts';
import type { SettledRun } from '../../client/wait-settle.ts';
import type { VerdictKind } from '../../client/wait-verdict.ts';
import { RunwatchError } from '../../core/errors.ts';
import type { CommandLine } from '../command-line.ts';
import { usageError } from '../exit.ts';
import { count, plain } from '../render/text.ts';
import { note } from '../report.ts';
import { settleThroughDaemon, type DaemonWaitFlags } from './daemon-account.ts';
import { printResults } from './wait.ts';

interface BatchWaitFlags extends DaemonWaitFlags {
  source?: string;
  timeout?: number;
}

/** Between two reads of a batch of which all runs have ended, ms. */
const REREAD_MS = 2_000;

/** For how long a daemon that does not answer is asked again, ms. */
const PATIENCE_MS = 120_000;

/** Waits for the runs of a batch, also those that join meanwhile, until no more can join. */
export async function waitForBatch(
  cli: CommandLine,
  flags: BatchWaitFlags,
  named: string,
): Promise<number> {
  const client = await cli.connect(flags);
  const { id, name } = await batchOf(client, named);
  const wait = new BatchWait(cli, flags, { client, id });
  const { batch, verdict } = await wait.done();
  const about = { name, state: batch.state, verdict };
  return printResults(wait.results, { cli, json: flags.json === true, batch: about });
}

async function batchOf(client: RunwatchClient, name: string): Promise<OneBatchView> {
  const batch = await client.getBatch(name);
  if (batch !== null) return batch;
  throw new RunwatchError(`there is no batch "${plain(name)}"`, { code: 'batch_not_found' });
}

/** How the wait for a batch has ended, where its runs do not say it all. */
interface BatchEnd {
  batch: OneBatchView;
  verdict: VerdictKind | null;
}

class BatchWait {
  readonly results: SettledRun[] = [];
  readonly #cli: CommandLine;
  readonly #flags: BatchWaitFlags;
  readonly #client: RunwatchClient;
  readonly #id: string;
  readonly #endsAt: number;
  readonly #known = new Set<string>();
  #isNoted = false;

  constructor(
    cli: CommandLine,
    flags: BatchWaitFlags,
    { client, id }: { client: RunwatchClient; id: string },
  ) {
    this.#cli = cli;
    this.#flags = flags;
    this.#client = client;
    this.#id = id;
    this.#endsAt = performance.now() + (flags.timeout ?? Infinity);
  }

  async done(): Promise<BatchEnd> {
    for (let listed = -1; ;) {
      // Before its runs: once it is closed, no other joins.
      const batch = await this.#patiently(() => batchOf(this.#client, this.#id));
      const isKnown = batch.state === 'open' && batch.total === listed;
      const fresh = isKnown ? [] : await this.#joined();
      listed = batch.total;
      if (fresh.length > 0) this.results.push(...(await this.#settle(fresh)));
      if (this.#flags.any === true && this.results.length > 0) return { batch, verdict: null };
      if (fresh.length > 0) continue;
      if (batch.state !== 'open') return { batch, verdict: this.#verdictOn(batch) };
      if (this.#leftMs() <= 0) return { batch, verdict: 'timed_out' };
      this.#noteOpen(batch);
      await this.#pause(Math.min(REREAD_MS, this.#leftMs()));
    }
  }

  #settle(runs: readonly RunRef[]): Promise<SettledRun[]> {
    const leftMs = this.#leftMs();
    const timeoutMs = leftMs === Infinity ? undefined : Math.max(1, Math.ceil(leftMs));
    return settleThroughDaemon(runs, this.#cli, this.#flags, {
      timeoutMs,
      // A cancelled or expired member has ended; registered again, it would be active.
      registers: false,
    });
  }

  /** Runs that were not waited for yet. */
  async #joined(): Promise<RunRef[]> {
    const query = { batch: this.#id, source: this.#flags.source };
    const { data } = await this.#patiently(() =>
      collectPages((page) => this.#client.listWatches({ ...query, ...page }), Infinity),
    );
    return data.flatMap(({ run_id: runId, source }) => {
      const key = `${source}/${runId}`;
      if (this.#known.has(key)) return [];
      this.#known.add(key);
      return [{ runId, source }];
    });
  }

  /** Of a batch whose runs are forgotten, its counts say what became of them. */
  #verdictOn({ name, total, by_status: counts }: OneBatchView): VerdictKind | null {
    if (this.results.length > 0) return null;
    const { source } = this.#flags;
    if (total === 0 || source !== undefined) {
      const of = source === undefined ? '' : ` of the source "${plain(source)}"`;
      throw usageError(`no run${of} has joined the batch "${plain(name)}", and none can any more`);
    }
    const { completed = 0, failed = 0, stopped = 0 } = counts;
    const text = `${completed} completed, ${failed} failed, ${stopped} stopped`;
    note(this.#cli.io.stderr, `The runs of ${plain(name)} are forgotten; of ${total}, ${text}.`);
    if (failed > 0) return 'failed';
    if (stopped > 0) return 'stopped';
    return completed === total ? 'completed' : 'cannot_tell';
  }

  #noteOpen({ name, total }: OneBatchView): void {
    if (this.#isNoted) return;
    this.#isNoted = true;
    const sofar = `${total === 0 ? 'no run' : count(total, 'run', 'runs')} so far`;
    const until = 'until it is closed, or none was active for an hour';
    const text = `The batch ${plain(name)} is open (${sofar}): waiting for others, ${until}.`;
    note(this.#cli.io.stderr, text);
  }

  #leftMs(): number {
    return this.#endsAt - performance.now();
  }

  async #pause(ms: number): Promise<void> {
    await sleep(Math.max(0, ms), undefined, { signal: this.#cli.signal });
  }

  /** Reads again where the daemon does not answer, as far as the time for that and for the wait reach. */
  async #patiently<Found>(read: () => Promise<Found>): Promise<Found> {
    const until = Math.min(performance.now() + PATIENCE_MS, this.#endsAt);
    for (;;) {
      try {
        return await read();
      } catch (error) {
        const mayPass = error instanceof RunwatchError && error.retriable;
        if (!mayPass || performance.now() >= until) throw error;
      }
      await this.#pause(REREAD_MS);
    }
  }
}
