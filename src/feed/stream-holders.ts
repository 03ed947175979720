import { streamRank } from '../core/feed/stream-trust.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { FollowedRun } from './followed-run.ts';
import type { StreamSurvey } from './ports.ts';
import type { StreamFeedDependencies } from './stream-feed.ts';

/** How long one survey of all streams holds, ms. */
export const SURVEY_MS = 2_000;

interface StreamHoldersDependencies extends Pick<
  StreamFeedDependencies,
  'source' | 'process' | 'store' | 'watches' | 'schedule' | 'requestsPerMs' | 'now'
> {
  /** Runs that this process streams. */
  open: ReadonlyMap<string, FollowedRun>;
}

/** Which process streams which run, as the store has it. */
export class StreamHolders {
  /** Processes that held streams without a heartbeat at the last comparison: new ones have none yet. */
  private unknown = new Set<string>();
  private survey: { at: number; found: Promise<StreamSurvey> } | null = null;

  constructor(private readonly deps: StreamHoldersDependencies) {}

  /** Which runs have streams, of all processes, as a moment ago. */
  surveyed(): Promise<StreamSurvey> {
    const { now } = this.deps;
    if (this.survey === null || now() - this.survey.at > SURVEY_MS) {
      const found = this.takeSurvey().catch((error: unknown) => {
        this.survey = null;
        throw error;
      });
      this.survey = { at: now(), found };
    }
    return this.survey.found;
  }

  /** Gives runs back, and reads them in this order: all, or those with reads left to streams. */
  async giveBack(
    runIds: readonly string[],
    { reads, holder = this.deps.process }: { reads: 'all' | 'relied'; holder?: string },
  ): Promise<void> {
    if (runIds.length === 0) return;
    const { store, source, schedule, requestsPerMs } = this.deps;
    const after = { reads, everyMs: 1 / requestsPerMs() };
    const count = await store.release(source, { process: holder, runIds }, after);
    this.survey = null;
    await schedule.entered(count);
  }

  /** Gives back all that a dead process holds. @returns whether that was anything */
  async takeOver(dead: string): Promise<boolean> {
    const all = await this.deps.store.all(this.deps.source);
    const lost = [...all].filter(([, { process }]) => process === dead).map(([runId]) => runId);
    await this.giveBack(await this.ranked(lost), { reads: 'all', holder: dead });
    return lost.length > 0;
  }

  /**
   * Gives back runs that nothing streams: this process does not, as after a fail-over, or the process
   * that did is neither alive nor taken over. Lets go of those that this process was thought dead for.
   */
  async compare(): Promise<void> {
    const { store, source, process, open } = this.deps;
    const opened = [...open.keys()];
    const [all, alive] = await Promise.all([store.all(source), store.processes()]);
    for (const runId of opened) if (all.get(runId)?.process !== process) open.get(runId)?.close();
    const isStray = (runId: string, holder: string) =>
      holder === process ? !open.has(runId) : alive.size > 0 && !alive.has(holder);
    const strays = [...all].filter(([runId, held]) => isStray(runId, held.process));
    const holders = new Set(strays.map(([, held]) => held.process));
    const before = this.unknown;
    this.unknown = holders;
    for (const holder of holders) {
      if (holder !== process && !before.has(holder)) continue;
      const runIds = strays.filter(([, held]) => held.process === holder).map(([runId]) => runId);
      await this.giveBack(runIds, { reads: 'all', holder });
    }
  }

  private async takeSurvey(): Promise<StreamSurvey> {
    const held = await this.deps.store.all(this.deps.source);
    const isHinted = (runId: string) => (this.deps.open.get(runId)?.hints.pending ?? null) !== null;
    return {
      isStreamed: (runId) => held.has(runId),
      // Where many runs end at once, lists may show it before all hints are read.
      isRelied: (runId) => held.get(runId)?.isRelied === true && !isHinted(runId),
    };
  }

  /** Runs in the order in which they should be read or streamed. */
  private async ranked(runIds: string[]): Promise<string[]> {
    const { watches, source } = this.deps;
    const stored = await watches.getMany(runIds.map((runId) => ({ source, runId })));
    const ranks = new Map(runIds.map((id, at) => [id, rankOf(stored[at]?.watch)]));
    return runIds.toSorted((a, b) => (ranks.get(a) ?? 0) - (ranks.get(b) ?? 0));
  }
}

function rankOf(watch: Watch | undefined): number {
  return watch === undefined ? Infinity : streamRank(watch);
}
