import { setTimeout as delay } from 'node:timers/promises';
import { type Config, registerDefaults } from '../config/schema.ts';
import { ALL_WORKFLOWS } from '../config/source-schema.ts';
import { firstKind } from '../core/source/request-order.ts';
import type { PlannedEvent } from '../core/delivery/planned-event.ts';
import { isoTime } from '../core/event/event.ts';
import {
  beginPass,
  cursorAfter,
  datedPage,
  hasGap,
  isNewestFirst,
  leftOutHelp,
  mostFirstRuns,
  reachesFurtherBack,
  repeatPass,
  takePage,
  withFirstPass,
  type DatedPage,
  type DiscoveryCursor,
  type FirstPass,
  type Pass,
} from '../core/feed/discovery.ts';
import { pageMember } from '../core/feed/page-name.ts';
import type { ListedRun, ListOutcome, RunList, RunPage } from '../core/feed/run-list.ts';
import { isAwaiting } from '../core/run/snapshot.ts';
import type { Permit } from '../core/source/rate-limit.ts';
import { register } from '../core/watch/register.ts';
import { withChanges, type Subscription } from '../core/watch/watch.ts';
import type { WatchChange } from '../redis/watch-change.ts';
import type { Process } from '../process.ts';
import type { DiscoveryStore } from '../redis/stores/discovery-store.ts';
import { FoundWaitsNotice, foundWaiting } from './found-waits.ts';
import type { Sweep } from './list-feed.ts';
import type { RequestClaim } from './schedule.ts';
import type { Source } from './source.ts';

/** The head of a list is missed in the schedule, or late, after so many times its usual interval. */
const MISSED = 10;

/** The longest pause after a list could not be read, ms. */
const LONGEST_PAUSE_MS = 60_000;

/** How often a further page asks for a permit, ms. */
const ASK_EVERY_MS = 50;

/** A pause that a source may ask for comes on top of the usual time to the next attempt, ms. */
const LONGEST_SOURCE_PAUSE_MS = 900_000;

/** The lists of a source that runs are discovered in. */
export class SourceDiscovery {
  private readonly lists: readonly RunList[];
  private readonly cursors: RememberedCursors;
  private readonly byWorkflow: ReadonlyMap<string | null, ListDiscovery>;
  private readonly stopping = new AbortController();

  constructor(private readonly source: Source) {
    const { process, name } = source;
    const { signal } = this.stopping;
    this.lists = listsOf(process, name);
    this.cursors = new RememberedCursors(process.stores.discoveries, this.lists);
    this.byWorkflow = new Map(
      this.lists.map((list) => [
        list.workflowId,
        new ListDiscovery(source, list, { cursors: this.cursors, signal }),
      ]),
    );
  }

  /** Whether runs are discovered at all. */
  get isOn(): boolean {
    return this.lists.length > 0;
  }

  /** How far discovery has come in each list; null in one that was not read to its end yet. */
  async progress(): Promise<{ list: RunList; cursor: DiscoveryCursor | null }[]> {
    const found = await this.source.process.stores.discoveries.cursors(this.lists);
    return this.lists.map((list, at) => ({ list, cursor: found[at] ?? null }));
  }

  /** Null for a list in which nothing is discovered. */
  passOver({ workflowId }: RunList): ListDiscovery | null {
    return this.byWorkflow.get(workflowId) ?? null;
  }

  /** Sees to it that the heads of these lists are read. */
  async tend(): Promise<void> {
    await this.cursors.refresh();
    const heads = this.lists.map((list) => ({
      member: pageMember({ workflowId: list.workflowId, page: 1 }),
      withinMs: MISSED * everyMsOf(this.source.process.config, list),
    }));
    await this.source.schedule.enterFeed('list', heads);
  }

  stop(): void {
    this.stopping.abort();
  }
}

/** What is known at the end of a pass. */
interface PassEnd {
  /** The cursor before it. */
  before: DiscoveryCursor | null;
  nextMs: number | null;
  isGap: boolean;
}

type Ending =
  /** `nextMs`: when the plan wants the first page again; null for no such wish. */
  | { kind: 'complete'; nextMs: number | null }
  /** Another process has the claim, or this one stops: nothing is lost by that. */
  | { kind: 'left' }
  /** `pausedMs`: for how long the whole source is paused for it. */
  | { kind: 'trouble'; message: string; pausedMs: number };

/**
 * Discovery: reads a list of runs down to what is known, and watches what is new. Runs are watched
 * before the cursor moves, and watching them twice does nothing, so that a process may die anywhere
 * and the next one reads the same again.
 */
export class ListDiscovery {
  private readonly everyMs: number;
  private readonly pageSize: number;
  private readonly pages: number;
  private readonly since: number | null;
  private readonly waitsNotice: FoundWaitsNotice;

  constructor(
    private readonly source: Source,
    private readonly list: RunList,
    private readonly shared: { cursors: RememberedCursors; signal: AbortSignal },
  ) {
    const { config } = source.process;
    this.everyMs = everyMsOf(config, list);
    this.pageSize = source.traits.lists?.pageSize ?? 0;
    this.pages = source.traits.lists?.pages ?? 0;
    this.since = sinceOf(config, list);
    this.waitsNotice = new FoundWaitsNotice(source, list, shared.cursors);
  }

  /** Makes a pass over the list from its first page on. @returns when to make the next one, in ms */
  async read(sweep: Sweep, permit: Permit): Promise<number> {
    await this.waitsNotice.tend(sweep.claim);
    const ending = await this.readOn(sweep, permit);
    if (ending.kind === 'left') return 0;
    if (ending.kind === 'complete') {
      await this.recovered();
      return Math.min(this.everyMs, ending.nextMs ?? Infinity, await this.waitsNotice.dueInMs());
    }
    const failures = await this.failed(ending.message);
    return ending.pausedMs + restMs(this.everyMs, failures, ending.pausedMs);
  }

  private async readOn(sweep: Sweep, first: Permit): Promise<Ending> {
    const { lists } = this.source;
    const { since, pages } = this;
    const cursor = await this.shared.cursors.cursor(this.list);
    const isFirst = cursor === null || reachesFurtherBack(cursor, { since });
    let pass = beginPass(isFirst ? null : cursor, { since, pages });
    let place = { page: 1, size: this.pageSize };
    let permit: Permit | null = first;
    let nextMs: number | null = null;
    while (permit !== null) {
      const { page, size } = place;
      const found = await lists.read(sweep, { page, size, permit });
      if (found.outcome.kind !== 'page') return this.trouble(found.outcome);
      const dated = usable(found.outcome.page);
      if (typeof dated === 'string') return { kind: 'trouble', message: dated, pausedMs: 0 };
      if (page === 1) ({ nextMs } = found);
      const step = takePage(pass, dated, page);
      await this.watchFresh(step.fresh, isFirst);
      pass = step.pass;
      if (step.isComplete && !pass.isUnsettled) {
        const isGap = hasGap(pass, dated, size);
        return this.finish(sweep, pass, { before: cursor, nextMs, isGap });
      }
      if (step.isComplete) [pass, place] = [repeatPass(pass), { page: 1, size }];
      else if (dated.isCut) place = { page: 1, size: Math.max(1, found.outcome.page.runs.length) };
      else place = { page: page + 1, size };
      permit = await this.nextPermit(sweep);
    }
    return { kind: 'left' };
  }

  /** Null where the claim was lost, or this process stops. */
  private async nextPermit({ claim }: Sweep): Promise<Permit | null> {
    const { schedule, limiter, throttle, deadlineMs } = this.source;
    while (!this.shared.signal.aborted && (await schedule.renew(claim))) {
      const permit = await limiter.claim(deadlineMs);
      if (permit !== null) {
        // It may be that of a probe: another process may have closed the source since the page before.
        throttle.saw(true);
        return permit;
      }
      await delay(ASK_EVERY_MS);
    }
    return null;
  }

  /** The oldest first, so that they are watched in the order in which they began. */
  private async watchFresh(fresh: readonly ListedRun[], isFirst: boolean): Promise<void> {
    const { traits } = this.source;
    const runsThere = fresh.filter(({ id }) => traits.idProblem(id) === null).toReversed();
    if (runsThere.length === 0) return;
    const found = runsThere.map(({ id, status }) => ({
      id,
      isFoundWaiting: isFirst && isAwaiting(status),
    }));
    const runs = await watchDiscovered(this.source, found);
    if (runs === 0) return;
    const { metrics, log } = this.source.process;
    metrics.discovered(this.list.source, runs);
    log.info({ ...fieldsOf(this.list), runs }, 'discovered');
  }

  private async finish(
    sweep: Sweep,
    pass: Pass,
    { before, nextMs, isGap }: PassEnd,
  ): Promise<Ending> {
    const { cursors } = this.shared;
    const after = cursorAfter(pass);
    if (pass.cursor !== null) {
      const moved = await cursors.moveCursor(this.list, sweep.claim, after);
      if (moved === null) return { kind: 'left' };
    } else {
      const found = await foundWaiting(this.source, [...pass.read.keys()]);
      const { now } = this.source.process;
      const next = withFirstPass(after, pass, found, { before: before?.waits, now: now() });
      const moved = await cursors.moveCursor(this.list, sweep.claim, next);
      if (moved === null) return { kind: 'left' };
      this.sayWhatBegan(pass, next.first);
    }
    if (isGap) this.sayWhatIsMissed();
    return { kind: 'complete', nextMs };
  }

  private sayWhatBegan(pass: Pass, first: FirstPass): void {
    const { log } = this.source.process;
    const { taken: runs, waiting, leftOut: left_out, cutShortAt } = first;
    const oldest = cutShortAt === null ? {} : { oldest: isoTime(cutShortAt) };
    const fields = { ...fieldsOf(this.list), ...oldest };
    log.info({ ...fields, runs, waiting, left_out, help: leftOutHelp(first) }, 'discovery.began');
    if (cutShortAt === null || pass.since === null) return;
    const most = mostFirstRuns(pass, this.pageSize).toLocaleString('en');
    const help = `register older runs yourself: the first reading takes at most ${most} of a list`;
    log.warn({ ...fields, help }, 'discovery.cut_short');
  }

  private sayWhatIsMissed(): void {
    const { log } = this.source.process;
    const fields = fieldsOf(this.list);
    const help =
      'more runs began between two readings of the list than it shows, so that some may be missed: read it ' +
      'more often, by discover.every of the source, or set list.size to the most that it gives on a page';
    log.warn({ ...fields, help }, 'discovery.gap');
  }

  private async trouble(outcome: Exclude<ListOutcome, { kind: 'page' }>): Promise<Ending> {
    const { process, throttle } = this.source;
    const until =
      outcome.kind === 'not_offered'
        ? null
        : ((await throttle.read()).state?.closed?.probeAt ?? null);
    const pausedMs = until === null ? 0 : Math.max(0, Math.ceil(until - process.now()));
    return { kind: 'trouble', message: outcome.message, pausedMs };
  }

  /** Notes that the list cannot be read, and raises an event the first time. @returns failures in a row */
  async failed(message: string): Promise<number> {
    const { process, traits } = this.source;
    const { discoveries } = process.stores;
    const { list } = this;
    // Longer than any pause between attempts, else each failure would count as the first.
    const keptMs = 2 * (this.everyMs + LONGEST_SOURCE_PAUSE_MS);
    const [before = null] = await discoveries.troubles([list]);
    const failures = (before?.failures ?? 0) + 1;
    const trouble = { message, failures, since: before?.since ?? process.now() };
    if (before !== null) {
      await discoveries.keepTrouble(list, trouble, keptMs);
      return failures;
    }
    const data = {
      ...fieldsOf(list),
      message,
      since: isoTime(trouble.since),
      help: `check that ${traits.label} answers and that the api_key of the source, or its headers, may list runs; runs that begin meanwhile are found afterwards`,
    };
    await process.raise({ type: 'discovery.unavailable', level: 'warn', data }, (event) =>
      discoveries.beginTrouble(list, trouble, { keptMs, event }),
    );
    return failures;
  }

  /** Notes that the list can be read, and raises an event where it could not. */
  async recovered(): Promise<void> {
    const { process } = this.source;
    const { discoveries } = process.stores;
    const { list } = this;
    const [before = null] = await discoveries.troubles([list]);
    if (before === null) return;
    const data = {
      ...fieldsOf(list),
      message: 'the list can be read again',
      since: isoTime(before.since),
      lasted_ms: Math.max(0, Math.round(process.now() - before.since)),
      help: 'nothing: runs that began meanwhile are watched now',
    };
    await process.raise({ type: 'discovery.recovered', level: 'info', data }, (event) =>
      discoveries.endTrouble(list, event),
    );
  }
}

/**
 * How long a list rests that could not be read. Where the list alone has the source paused, it leaves
 * the source to single polls for at least as long as it keeps them waiting.
 */
function restMs(everyMs: number, failures: number, pausedMs: number): number {
  const longest = Math.max(everyMs, LONGEST_PAUSE_MS);
  const rest = Math.min(longest, everyMs * 2 ** (failures - 1));
  return failures === 1 ? rest : Math.max(rest, pausedMs);
}

/** The page, or why discovery cannot go by it. */
function usable(page: RunPage): DatedPage | string {
  const dated = datedPage(page);
  if (dated === null) return 'the list does not say when its runs were created';
  return isNewestFirst(dated) ? dated : 'the list does not begin with the newest runs';
}

/** A run that a list shows. */
interface DiscoveredRun {
  id: string;
  /** Whether the first pass found it waiting for a human. */
  isFoundWaiting: boolean;
}

/**
 * Watches runs that are not watched yet. A run that is watched already, or was, does not change, so
 * that this can be done again and again. Resolves with how many were new.
 */
export async function watchDiscovered(
  { process, name: source, schedule }: Source,
  runs: readonly DiscoveredRun[],
): Promise<number> {
  const { watches } = process.stores;
  const defaults = registerDefaults(process.config);
  const stored = await watches.getMany(runs.map(({ id: runId }) => ({ source, runId })));
  const changes = runs
    .filter((_, at) => stored[at] === null)
    .map(({ id: runId, isFoundWaiting }): WatchChange => {
      const subscriptions = process.endpoints.defaults.map((endpoint): Subscription => ({
        kind: 'endpoint',
        endpoint,
      }));
      const request = { source, runId, subscriptions };
      const { watch: made } = register(null, request, { now: process.now(), defaults });
      const watch = withChanges(made, { foundWaiting: isFoundWaiting });
      const enters = { does: 'enter', withinMs: 0, kind: firstKind(watch) } as const;
      return {
        before: null,
        after: watch,
        events: [],
        deliveries: [],
        samples: [],
        schedule: enters,
      };
    });
  // A registration made meanwhile has its own subscriptions.
  const written = changes.length === 0 ? [] : await watches.commitMany(changes);
  const created = written.filter((due) => due !== null).length;
  await schedule.entered(created);
  return created;
}

/**
 * The cursors of lists as this process has last seen them. A store that has lost one would begin the list
 * with its present runs, and all that began meanwhile would never be watched: then the pass goes on from
 * here, and moves the cursor as ever.
 */
export class RememberedCursors {
  private readonly seen = new Map<string | null, DiscoveryCursor>();

  /** @param lists the lists of one source */
  constructor(
    private readonly store: Pick<DiscoveryStore, 'cursors' | 'moveCursor'>,
    private readonly lists: readonly RunList[],
  ) {}

  /** Takes in how far other processes have come. */
  async refresh(): Promise<void> {
    const found = await this.store.cursors(this.lists);
    this.lists.forEach((list, at) => this.note(list, found[at] ?? null));
  }

  async cursor(list: RunList): Promise<DiscoveryCursor | null> {
    const [found = null] = await this.store.cursors([list]);
    this.note(list, found);
    return found ?? this.seen.get(list.workflowId) ?? null;
  }

  /** @returns as {@link DiscoveryStore.moveCursor} */
  async moveCursor(
    list: RunList,
    claim: RequestClaim,
    cursor: DiscoveryCursor,
    event: PlannedEvent | null = null,
  ): Promise<string[] | null> {
    const pools = await this.store.moveCursor(list, claim, cursor, event);
    if (pools !== null) this.note(list, cursor);
    return pools;
  }

  private note({ workflowId }: RunList, cursor: DiscoveryCursor | null): void {
    if (cursor !== null) this.seen.set(workflowId, cursor);
  }
}

/** A list of runs that cannot be read. */
export interface UnreadList extends RunList {
  /** Since when, ms since the epoch. */
  since: number;
  /** Which list, and why. */
  text: string;
}

/** How discovery stands, in all processes. */
export class Discovery {
  private readonly lists: readonly RunList[];
  /** Lists that were read since this process began. */
  private readonly read = new Set<string>();

  constructor(private readonly process: Process) {
    const names = Object.keys(process.config.sources);
    this.lists = names.flatMap((source) => listsOf(process, source));
  }

  /** The lists that cannot be read; null where nothing is to be discovered. */
  async troubles(): Promise<UnreadList[] | null> {
    const { lists } = this;
    if (lists.length === 0) return null;
    const found = await this.process.stores.discoveries.troubles(lists);
    return lists.flatMap((list, at) => {
      const trouble = found[at] ?? null;
      if (trouble === null) return [];
      return [{ ...list, since: trouble.since, text: `${nameOf(list)}: ${trouble.message}` }];
    });
  }

  /** The sources with lists that no process has read to where they were read before within so many ms. */
  async unreadFor(ms: number): Promise<string[]> {
    const left = this.lists.filter((list) => !this.read.has(nameOf(list)));
    const ages = await this.process.stores.discoveries.ages(left);
    left.forEach((list, at) => {
      if ((ages[at] ?? Infinity) < ms) this.read.add(nameOf(list));
    });
    return this.lists.flatMap((list) => (this.read.has(nameOf(list)) ? [] : [list.source]));
  }
}

function nameOf({ source, workflowId }: RunList): string {
  return workflowId === null ? source : `${source}, workflow ${workflowId}`;
}

function listsOf(process: Process, source: string): RunList[] {
  if ((process.traitsOf(source)?.lists ?? null) === null) return [];
  return (process.config.sources[source]?.discover?.workflows ?? []).map((id) => ({
    source,
    workflowId: id === ALL_WORKFLOWS ? null : id,
  }));
}

/** From when on runs of a list are discovered, ms since the epoch; null for its first reading. */
function sinceOf({ sources }: Config, { source }: RunList): number | null {
  const since = sources[source]?.discover?.since ?? 'registration';
  return since === 'registration' ? null : Date.parse(since);
}

/** From one reading of a list to the next, ms. */
function everyMsOf({ sources }: Config, { source }: RunList): number {
  return sources[source]?.discover?.every ?? 0;
}

function fieldsOf({ source, workflowId }: RunList) {
  return { source, workflow_id: workflowId };
}
