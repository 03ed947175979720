import { setTimeout as delay } from 'node:timers/promises';
import { sum } from '../core/arrays.ts';
import type { Random } from '../core/backoff.ts';
import type { ListMember } from '../core/feed/member.ts';
import { recalls } from '../core/feed/page.ts';
import { PLAN_MEMBER, pageMember, parsePageMember, type PageName } from '../core/feed/page-name.ts';
import { leastMsBetweenPlans, nextPlanMs, planFeed } from '../core/feed/plan.ts';
import { plannedWatch, sharedLists, type PlannedWatch } from '../core/feed/plan-input.ts';
import type { ListRecord, PageReport, StoredPlan } from '../core/feed/record.ts';
import { repeatedInMs } from '../core/feed/list-trust.ts';
import { MAX_PAGE_SIZE, type RunList } from '../core/feed/run-list.ts';
import type { ReadTimes } from '../core/source/read-times.ts';
import { VanishedRuns } from '../core/feed/vanished.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { RequestClaim } from '../poll/schedule.ts';
import type { ClaimedPermit } from '../poll/source-limiter.ts';
import type { DiscoverPass } from './discovery.ts';
import type { FeedSchedule, FeedStore, ListReader, StreamSurvey } from './ports.ts';
import { readPage, type PageRead, type Sweep, type WantedPage } from './read-page.ts';
import type { StreamOffer } from './stream-openings.ts';

/** A plan that is older than this does not hold any more: no process makes a new one, ms. */
const STALE_MS = 180_000;

/** The longest time to the next plan, ms. */
const PLAN_WITHIN_MS = 60_000;

/** How often at most polls that go by call for a plan, ms. */
const NOTICE_EVERY_MS = 1_000;

export interface ListFeedDependencies {
  source: string;
  /** False where every run is polled by itself; lists then serve discovery alone. */
  isOn: boolean;
  store: FeedStore;
  reader: ListReader;
  schedule: FeedSchedule;
  /** What the rate limit allows, which a reload may change. */
  requestsPerMs: () => number;
  minIntervalMs: number;
  maxIntervalMs: number;
  /** What a watch is to a list, at the interval at which it would be polled alone, or null. */
  memberOf: (watch: Watch) => ListMember | null;
  /** Whether that depends on the metadata of watches. */
  needsMetadata: () => boolean;
  /** The longest interval that a watch accepts, ms. */
  longestMs: (watch: Watch) => number;
  /** The pass of discovery over a list; null for lists in which nothing is discovered. */
  discoverPass: (list: RunList) => DiscoverPass | null;
  /** Event streams: what is left to them is not read by lists, and they may open more. */
  streams: {
    surveyed(): Promise<StreamSurvey>;
    offerOf(watch: Watch): StreamOffer | null;
    offerAll(offers: readonly StreamOffer[]): void;
  };
  vanished: VanishedRuns;
  report: (report: PageReport) => void;
  now: () => number;
  random: Random;
}

/**
 * The lists of one source, which nothing else reads. Pages show which watched runs have changed, so
 * that single polls follow, and discovery finds new runs on them. What a page says is a
 * hint: it expedites or defers single polls.
 */
export class ListFeed {
  private readonly deps: ListFeedDependencies;
  private plan: StoredPlan | null = null;
  private lastRun: string | null = null;
  private noticedAt = -Infinity;

  constructor(deps: Omit<ListFeedDependencies, 'vanished'>) {
    this.deps = { ...deps, vanished: new VanishedRuns() };
  }

  /** Reads a page, and lets single polls follow what it says. */
  read(sweep: Sweep, wanted: WantedPage): Promise<PageRead> {
    return readPage(this.deps, sweep, wanted);
  }

  /**
   * Takes note of a watch that was just polled: once there are several, a plan is worth while. Sends no
   * request, so that it adds nothing to the cost of a poll.
   */
  async notice({ runId, state, polls }: Watch): Promise<void> {
    const { isOn, now, schedule } = this.deps;
    if (!isOn || state !== 'active' || this.lastRun === runId) return;
    const isSeveral = this.lastRun !== null;
    this.lastRun = runId;
    if (!isSeveral || now() - this.noticedAt < NOTICE_EVERY_MS) return;
    this.noticedAt = now();
    await schedule.enterFeed('plan', [
      // A plan without new watches may be valid for long.
      { member: PLAN_MEMBER, withinMs: polls === 1 ? this.newPlanMs() : PLAN_WITHIN_MS },
    ]);
  }

  /** A poll that a hint asked for has read a run: where it disagrees, the run is soon read again. */
  async confirm(watch: Watch): Promise<void> {
    const { isOn, now, source, store, schedule } = this.deps;
    if (!isOn) return;
    const [hint = null] = await store.hints(source, [watch.runId]);
    const inMs = hint === null ? null : repeatedInMs(hint, watch, now());
    if (inMs === null) return;
    await delay(inMs, undefined, { ref: false });
    await schedule.expedite([watch.runId]);
  }

  private newPlanMs(): number {
    const plan = this.current();
    return plan === null ? 0 : leastMsBetweenPlans(plan.watches);
  }

  /** The cost multiplier of the present plan; null where there is none. */
  costMultiplier(): number | null {
    return this.current()?.costMultiplier ?? null;
  }

  /** Requests each ms with which polls would be as prompt as profiles ask for; 0 if unknown. */
  wantedPerMs(): number {
    return this.current()?.wantedPerMs ?? 0;
  }

  /** How often runs are read by the present plan; null where there is none. */
  readTimes(): ReadTimes | null {
    return this.current()?.reads ?? null;
  }

  private current(): StoredPlan | null {
    return this.plan !== null && this.deps.now() - this.plan.at < STALE_MS ? this.plan : null;
  }

  /** Reads the plan that another process may have made. */
  async refresh(): Promise<void> {
    this.plan = await this.deps.store.plan(this.deps.source);
  }

  /** The rate limit has changed: the present plan does not fit it. */
  async replan(): Promise<void> {
    await this.deps.schedule.expedite([PLAN_MEMBER]);
  }

  /** Makes a plan, and releases its claim. */
  async makePlan(claim: RequestClaim): Promise<void> {
    const { schedule, isOn } = this.deps;
    if (!isOn) return schedule.release(claim, 'never');
    const { plan, nextMs } = await makePlan(this.deps);
    this.plan = plan;
    await schedule.release(claim, nextMs === null ? 'never' : { inMs: nextMs });
  }

  /** Reads a page that was claimed, and releases its claim. */
  async readPage(claim: RequestClaim, permit: ClaimedPermit): Promise<void> {
    const { source, schedule, discoverPass } = this.deps;
    const name = parsePageMember(claim.member);
    const list = { source, workflowId: name.workflowId };
    const pass = name.page === 1 ? discoverPass(list) : null;
    const size = await this.planned(name);
    if (size === null && pass === null) {
      permit.giveBack();
      return schedule.release(claim, 'never');
    }
    const sweep = { list, claim, plan: size === null ? null : this.plan };
    const wanted = { page: name.page, size: size ?? MAX_PAGE_SIZE, permit };
    const nextMs = await (pass?.(sweep, permit) ??
      this.read(sweep, wanted).then((read) => read.nextMs));
    await schedule.release(claim, nextMs === null ? 'never' : { inMs: nextMs });
  }

  /** The size of a page by the present plan; null where that does not read it. */
  private async planned({ workflowId, page }: PageName): Promise<number | null> {
    if (!this.deps.isOn) return null;
    // Another process may have made a new one, which has entered the page.
    await this.refresh();
    const list = this.current()?.lists.find((one) => one.workflowId === workflowId);
    return list?.pages.some((one) => one.page === page) === true ? list.size : null;
  }
}

/** A page that was read this long ago says nothing any more, ms. */
const MARK_KEPT_MS = 600_000;

/** Pages take at most this share of a core, by what a byte and a run cost to take in, ms. */
const CORE_SHARE = 0.5;
const MS_PER_BYTE = 5e-6;
const MS_PER_PAGE = 3;

/**
 * Makes the plan of a source: which pages of which lists are read, and which runs singly. Enters its
 * pages into the schedule, and recalls the single polls of runs that no page covers.
 * @returns the plan, and when to make the next one, in ms; null for never, where fewer than two runs are watched
 */
async function makePlan(
  deps: ListFeedDependencies,
): Promise<{ plan: StoredPlan; nextMs: number | null }> {
  const { source, store, schedule, now, random, minIntervalMs } = deps;
  const at = now();
  // Read before the watches are, so that a run that is registered meanwhile keeps its hint.
  const hinted = new Set(await store.hintedRuns(source));
  const watches = await plannedWatches(deps, (runId) => hinted.delete(runId));
  const before = await store.plan(source);
  const named = sharedLists(watches).map((workflowId) => ({ source, workflowId }));
  const known = await store.read(named, at - MARK_KEPT_MS);
  // A list that is not trusted is not read.
  const lists = known.flatMap(({ list: { workflowId }, trust, marks, size }) => {
    if (trust !== null && trust.since > at) return [];
    const isInUse = before?.lists.some((one) => one.workflowId === workflowId) ?? false;
    return { workflowId, marks, size: size ?? MAX_PAGE_SIZE, isInUse };
  });
  const { singles, ...planned } = planFeed(watches, lists, {
    requestsPerMs: deps.requestsPerMs(),
    minIntervalMs,
    maxIntervalMs: deps.maxIntervalMs,
    pagesPerMs: pagesPerMs(known),
  });
  const plan = { ...planned, at, watches: watches.length };
  await store.putPlan(source, plan, { lists: known, hinted: [...hinted] });
  await schedule.enterFeed('list', pagesOf(plan));
  const { costMultiplier } = plan;
  await schedule.defer(recalls({ singles, costMultiplier }, { minIntervalMs, now: now(), random }));
  return { plan, nextMs: watches.length < 2 ? null : nextPlanMs(watches) };
}

/** The pages of a plan by their names in the schedule, with their intervals. */
function pagesOf({ lists }: StoredPlan): { member: string; withinMs: number }[] {
  return lists.flatMap(({ workflowId, pages }) =>
    pages.map(({ page, intervalMs }) => ({
      member: pageMember({ workflowId, page }),
      withinMs: intervalMs,
    })),
  );
}

/**
 * The watches that are not left to event streams. Of each it keeps what a plan goes by and nothing else:
 * all metadata at once could take more memory than there is.
 * @param onActive is called with each run that is watched
 */
async function plannedWatches(
  deps: ListFeedDependencies,
  onActive: (runId: string) => void,
): Promise<PlannedWatch[]> {
  const { source, store, streams, memberOf, minIntervalMs } = deps;
  const found: PlannedWatch[] = [];
  const offers: StreamOffer[] = [];
  const survey = await streams.surveyed();
  for await (const chunk of store.active(source, !deps.needsMetadata())) {
    const runIds = chunk.map(({ watch }) => watch.runId);
    const hints = await store.hints(source, runIds);
    for (const [at, { watch }] of chunk.entries()) {
      onActive(watch.runId);
      const offer = survey.isStreamed(watch.runId) ? null : streams.offerOf(watch);
      if (offer !== null) offers.push(offer);
      if (survey.isRelied(watch.runId)) continue;
      const seen = { member: memberOf(watch), hint: hints[at] ?? null };
      const longestMs = deps.longestMs(watch);
      found.push(plannedWatch(watch, seen, { minIntervalMs, longestMs, now: deps.now() }));
    }
  }
  streams.offerAll(offers);
  return found;
}

/** How many pages a process can take in, each ms, by the bytes of those that it read. */
function pagesPerMs(lists: readonly ListRecord[]): number {
  const marks = lists.flatMap((list) => list.marks);
  if (marks.length === 0) return Infinity;
  const bytes = sum(marks.map((mark) => mark.bytes)) / marks.length;
  return CORE_SHARE / (MS_PER_PAGE + bytes * MS_PER_BYTE);
}
