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
  const first = await batchOf(await cli.connect(flags), named);
  const wait = new BatchWait(cli, flags, first);
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
  readonly #endsAt: number;
  /** Aborts when the time for the wait is up. */
  readonly #deadline: AbortSignal | undefined;
  /** Ends requests and pauses: Ctrl-C, or the deadline. */
  readonly #signal: AbortSignal;
  /** Ends the waits for runs that a wait for any has no use for. */
  readonly #ends = new AbortController();
  /** Waits for runs that go on while others may join; with `any` alone. */
  readonly #going: Promise<SettledRun[]>[] = [];
  readonly #known = new Set<string>();
  /** As it was read last. */
  #batch: OneBatchView;
  #isNoted = false;

  constructor(cli: CommandLine, flags: BatchWaitFlags, batch: OneBatchView) {
    const { timeout } = flags;
    this.#cli = cli;
    this.#flags = flags;
    this.#batch = batch;
    this.#endsAt = performance.now() + (timeout ?? Infinity);
    this.#deadline = timeout === undefined ? undefined : AbortSignal.timeout(timeout);
    this.#signal = AbortSignal.any([cli.signal, ...(this.#deadline ? [this.#deadline] : [])]);
  }

  async done(): Promise<BatchEnd> {
    try {
      const verdict = await this.#follow();
      return { batch: this.#batch, verdict };
    } catch (error) {
      if (this.#deadline?.aborted !== true || this.#cli.signal.aborted) throw error;
      // These end in time of their own accord.
      if (this.#going.length > 0) this.results.push(...(await Promise.race(this.#going)));
      return { batch: this.#batch, verdict: 'timed_out' };
    } finally {
      this.#ends.abort();
    }
  }

  async #follow(): Promise<VerdictKind | null> {
    const client = await this.#cli.connectQuietly(this.#flags, { signal: this.#signal });
    for (let listed = -1; ;) {
      // Before its runs: once it is closed, no other joins.
      const batch = await this.#patiently(() => batchOf(client, this.#batch.id));
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
      await this.#pause(REREAD_MS);
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
    const signal = AbortSignal.any([this.#signal, over.signal]);
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
    const leftMs = this.#leftMs();
    const timeoutMs = leftMs === Infinity ? undefined : Math.max(1, Math.ceil(leftMs));
    return settleThroughDaemon(runs, this.#cli, this.#flags, {
      timeoutMs,
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
    const { data } = await this.#patiently(() =>
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

  #leftMs(): number {
    return this.#endsAt - performance.now();
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#signal });
  }

  /** Reads again where the daemon does not answer, for as long as its patience and the wait reach. */
  async #patiently<Found>(read: () => Promise<Found>): Promise<Found> {
    const until = performance.now() + PATIENCE_MS;
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

function verdictByCounts(counts: OneBatchView['by_status'], total: number): VerdictKind {
  const { completed = 0, failed = 0, stopped = 0 } = counts;
  if (failed > 0) return 'failed';
  if (stopped > 0) return 'stopped';
  return completed === total ? 'completed' : 'cannot_tell';
}
