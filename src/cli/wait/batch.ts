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
import { Patience } from './patience.ts';
import { printResults } from './wait.ts';

interface BatchWaitFlags extends DaemonWaitFlags {
  source?: string;
  timeout?: number;
}

/** Between two reads of a batch of which all runs have ended, ms. */
const REREAD_MS = 2_000;

/** Waits for the runs of a batch, also those that join meanwhile, until no more can join. */
export async function waitForBatch(
  cli: CommandLine,
  flags: BatchWaitFlags,
  named: string,
): Promise<number> {
  const patience = new Patience(cli, flags.timeout);
  const first = await patience.lookUp(async () => {
    const client = await cli.connect(flags, { signal: patience.signal });
    return patience.through(() => batchOf(client, named));
  });
  if (typeof first === 'number') return first;
  const wait = new BatchWait(cli, { flags, patience }, first);
  const { batch, verdict } = await wait.done();
  const about = { name: first.name, state: batch.state, verdict };
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
  readonly #patience: Patience;
  /** Ends the waits for runs that a wait for any has no use for. */
  readonly #ends = new AbortController();
  /** Waits for runs that go on while others may join; with `any` alone. */
  readonly #going: Promise<SettledRun[]>[] = [];
  readonly #known = new Set<string>();
  /** As it was read last. */
  #batch: OneBatchView;
  #isNoted = false;

  constructor(
    cli: CommandLine,
    { flags, patience }: { flags: BatchWaitFlags; patience: Patience },
    batch: OneBatchView,
  ) {
    this.#cli = cli;
    this.#flags = flags;
    this.#patience = patience;
    this.#batch = batch;
  }

  async done(): Promise<BatchEnd> {
    try {
      const verdict = await this.#follow();
      return { batch: this.#batch, verdict };
    } catch (error) {
      if (!this.#patience.isOver) throw error;
      // These end in time of their own accord.
      if (this.#going.length > 0) this.results.push(...(await Promise.race(this.#going)));
      return { batch: this.#batch, verdict: 'timed_out' };
    } finally {
      this.#ends.abort();
    }
  }

  async #follow(): Promise<VerdictKind | null> {
    const patience = this.#patience;
    const client = await this.#cli.connectQuietly(this.#flags, { signal: patience.signal });
    for (let listed = -1; ;) {
      // Before its runs: once it is closed, no other joins.
      const batch = await patience.through(() => batchOf(client, this.#batch.id));
      this.#batch = batch;
      const isKnown = batch.state === 'open' && batch.total === listed;
      const fresh = isKnown ? [] : await this.#joined(client);
      listed = batch.total;
      if (this.#flags.any === true) {
        this.results.push(...(await this.#firstOf(fresh, batch.state === 'open')));
        if (this.results.length > 0) return null;
        if (this.#going.length > 0) continue;
      } else if (fresh.length > 0) {
        this.results.push(...(await this.#settle(fresh)));
        continue;
      }
      if (batch.state !== 'open') return this.#verdictOn(batch);
      this.#noteOpen(batch);
      await patience.pause(REREAD_MS);
    }
  }

  /**
   * The first of all runs that there is a verdict on.
   * @param mayGrow gives nothing after a while, as another run may have joined
   */
  async #firstOf(fresh: readonly RunRef[], mayGrow: boolean): Promise<SettledRun[]> {
    if (fresh.length > 0) {
      const wait = this.#settle(fresh);
      // Only the first is of interest, and the others are ended.
      wait.catch(() => undefined);
      this.#going.push(wait);
    }
    if (this.#going.length === 0) return [];
    const over = new AbortController();
    const signal = AbortSignal.any([this.#patience.signal, over.signal]);
    const pause = async () => {
      await sleep(REREAD_MS, undefined, { signal });
      return [];
    };
    try {
      return await Promise.race([...this.#going, ...(mayGrow ? [pause()] : [])]);
    } finally {
      over.abort();
    }
  }

  #settle(runs: readonly RunRef[]): Promise<SettledRun[]> {
    return settleThroughDaemon(runs, this.#cli, this.#flags, {
      timeoutMs: this.#patience.leftMs(),
      // A cancelled or expired member has ended; registered again, it would be active.
      registers: false,
      signal: AbortSignal.any([this.#cli.signal, this.#ends.signal]),
      // Bars of two waits side by side would overwrite each other.
      isQuiet: this.#going.length > 0 && this.#cli.io.stderr.isTty,
    });
  }

  /** Runs that were not waited for yet. */
  async #joined(client: RunwatchClient): Promise<RunRef[]> {
    const query = { batch: this.#batch.id, source: this.#flags.source };
    const { data } = await this.#patience.through(() =>
      collectPages((page) => client.listWatches({ ...query, ...page }), Infinity),
    );
    return data.flatMap(({ run_id: runId, source }) => {
      const key = `${source}/${runId}`;
      if (this.#known.has(key)) return [];
      this.#known.add(key);
      return [{ runId, source }];
    });
  }

  /** Of a batch whose runs are forgotten, its counts say what became of them. */
  #verdictOn({ name, state, total, by_status: counts }: OneBatchView): VerdictKind | null {
    const { source } = this.#flags;
    const known = this.results.length;
    const isAllKnown = known >= total || source !== undefined || state !== 'completed';
    if (known > 0 && isAllKnown) return null;
    if (total === 0 || source !== undefined) {
      const of = source === undefined ? '' : ` of the source "${plain(source)}"`;
      throw usageError(`no run${of} has joined the batch "${plain(name)}", and none can any more`);
    }
    const { completed = 0, failed = 0, stopped = 0 } = counts;
    const text = `${completed} completed, ${failed} failed, ${stopped} stopped`;
    const which = known === 0 ? 'The' : 'Some';
    note(
      this.#cli.io.stderr,
      `${which} runs of ${plain(name)} are forgotten; of ${total}, ${text}.`,
    );
    return verdictByCounts(counts, total);
  }

  #noteOpen({ name, total }: OneBatchView): void {
    if (this.#isNoted) return;
    this.#isNoted = true;
    const sofar = `${total === 0 ? 'no run' : count(total, 'run', 'runs')} so far`;
    const until = 'until it is closed, or none was active for an hour';
    const text = `The batch ${plain(name)} is open (${sofar}): waiting for others, ${until}.`;
    note(this.#cli.io.stderr, text);
  }
}

function verdictByCounts(counts: OneBatchView['by_status'], total: number): VerdictKind {
  const { completed = 0, failed = 0, stopped = 0 } = counts;
  if (failed > 0) return 'failed';
  if (stopped > 0) return 'stopped';
  return completed === total ? 'completed' : 'cannot_tell';
}
