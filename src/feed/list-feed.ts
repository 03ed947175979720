import type { Random } from '../core/backoff.ts';
import type { PagesBefore } from '../core/cadence/load.ts';
import type { ListMember } from '../core/feed/member.ts';
import { PLAN_MEMBER, pageMember, parsePageMember, type PageName } from '../core/feed/page-name.ts';
import type { StoredPlan } from '../core/feed/record.ts';
import { MAX_PAGE_SIZE, type RunList } from '../core/feed/run-list.ts';
import type { ReadTimes } from '../core/source/read-times.ts';
import { VanishedRuns } from '../core/feed/vanished.ts';
import type { StoredWatch, Watch } from '../core/watch/watch.ts';
import type { ClaimedPoll, ListedResult, Polled } from '../poll/observe-run.ts';
import type { RequestClaim } from '../poll/schedule.ts';
import type { DiscoverPass } from './discovery.ts';
import { leastMsBetweenPlans, makePlan } from './make-plan.ts';
import type {
  FeedSchedule,
  FeedStore,
  ListReader,
  PagePermit,
  PageReport,
  StreamSurvey,
} from './ports.ts';
import { readPage, type PageRead, type Sweep, type WantedPage } from './read-page.ts';

/** A plan that is older than this does not hold any more: no process makes a new one, ms. */
const STALE_MS = 180_000;

/** For how long a process goes by the plan that it has read, ms. */
const FRESH_MS = 500;

/** The longest time to the next plan, ms. */
const PLAN_WITHIN_MS = 60_000;

/** For so long after a burst of changes pages go before confirming polls, ms. */
const BURST_LASTS_MS = 2_000;

/** How often at most all pages are called for, ms. */
const BURST_EVERY_MS = 1_000;

/** How often at most polls that go by call for a plan, ms. */
const NOTICE_EVERY_MS = 1_000;

export interface ListFeedDependencies {
  source: string;
  /** False where every run is polled by itself; lists then serve discovery alone. */
  isOn: boolean;
  store: FeedStore;
  reader: ListReader;
  schedule: FeedSchedule;
  /** A permit for one more page, without waiting; null while there is none. */
  claimPermit: () => Promise<{ settle(): void } | null>;
  requestsPerMs: number;
  /** The share of the rate limit that is used now. */
  usedShare: () => Promise<number>;
  minIntervalMs: number;
  maxIntervalMs: number;
  /** What a watch is to a list, at the interval at which it would be polled alone, or null. */
  memberOf: (stored: StoredWatch) => ListMember | null;
  /** The longest interval that a watch accepts, ms. */
  longestMs: (watch: Watch) => number;
  /** The pass of discovery over a list; null for lists in which nothing is discovered. */
  discoverPass: (list: RunList) => DiscoverPass | null;
  /** How many polls are due that hints or users asked for. */
  waitingPolls: () => Promise<number>;
  /** Event streams: what is left to them is not read by lists, and they may open more. */
  streams: { surveyed(): Promise<StreamSurvey>; offerAll(watches: readonly Watch[]): void };
  /** Commits what a list says of a run as a poll's result; see `poll/observe-run.ts`. */
  observeListed: (claim: ClaimedPoll, listed: ListedResult) => Promise<Polled>;
  /**
   * Confirming polls wait, and lists are taken at their word.
   * @param isBurst where many runs change at once, all pages are worth reading
   */
  onBacklog: (isBurst: boolean) => Promise<void>;
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
  private plan: StoredPlan | null = null;
  private readAt = -Infinity;
  private lastRun: string | null = null;
  private noticedAt = -Infinity;

  private readonly vanished = new VanishedRuns();
  private burstAt = -Infinity;
  private calledAt = -Infinity;

  constructor(private readonly deps: Omit<ListFeedDependencies, 'onBacklog' | 'vanished'>) {}

  /** Where lists are taken at their word, or many runs wait for first reads, a page shows far more. */
  pagesBefore(): PagesBefore {
    if (this.deps.now() - this.burstAt < BURST_LASTS_MS) return 'prompt';
    const isFilling = this.costMultiplier() !== null && (this.plan?.firstReadsMs ?? 0) > 0;
    return isFilling ? 'first' : 'watch';
  }

  /** A single poll contradicts an end that was reported by a list. */
  async contradicted(): Promise<void> {
    const { store, source, now } = this.deps;
    this.burstAt = -Infinity;
    await store.loseWord(source, now());
  }

  /** Reads a page, and lets single polls follow what it says. */
  read(sweep: Sweep, wanted: WantedPage): Promise<PageRead> {
    const onBacklog = (isBurst: boolean) => this.backlog(isBurst);
    return readPage({ ...this.deps, vanished: this.vanished, onBacklog }, sweep, wanted);
  }

  private async backlog(isBurst: boolean): Promise<void> {
    const { now, schedule } = this.deps;
    this.burstAt = now();
    if (!isBurst || now() - this.calledAt < BURST_EVERY_MS) return;
    this.calledAt = now();
    const pages = (this.plan?.lists ?? []).flatMap(({ workflowId, pages: some }) =>
      some.map(({ page }) => ({ member: pageMember({ workflowId, page }), withinMs: 0 })),
    );
    await schedule.enterFeed('list', pages);
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

  private newPlanMs(): number {
    return this.costMultiplier() === null ? 0 : leastMsBetweenPlans(this.plan?.watches ?? 0);
  }

  /** The cost multiplier of the present plan; null where there is none. */
  costMultiplier(): number | null {
    const isCurrent = this.plan !== null && this.deps.now() - this.plan.at < STALE_MS;
    return isCurrent ? (this.plan?.costMultiplier ?? null) : null;
  }

  /** Requests each ms with which polls would be as prompt as profiles ask for; 0 if unknown. */
  wantedPerMs(): number {
    return this.costMultiplier() === null ? 0 : (this.plan?.wantedPerMs ?? 0);
  }

  /** How often runs are read by the present plan; null where there is none. */
  readTimes(): ReadTimes | null {
    return this.costMultiplier() === null ? null : (this.plan?.reads ?? null);
  }

  /** Reads the plan that another process may have made. */
  async refresh(): Promise<void> {
    this.plan = await this.deps.store.plan(this.deps.source);
    this.readAt = this.deps.now();
  }

  /** Makes a plan, and releases its claim. */
  async makePlan(claim: RequestClaim): Promise<void> {
    const { schedule, isOn } = this.deps;
    const made = isOn ? await makePlan(this.deps) : null;
    if (made === null) this.plan = null;
    else [this.plan, this.readAt] = [made.plan, this.deps.now()];
    await schedule.release(claim, made === null ? 'never' : { inMs: made.nextMs });
  }

  /** Reads a page that was claimed, and releases its claim. */
  async readPage(claim: RequestClaim, permit: PagePermit): Promise<void> {
    const name = parsePageMember(claim.member);
    const list = { source: this.deps.source, workflowId: name.workflowId };
    const pass = name.page === 1 ? this.deps.discoverPass(list) : null;
    const planned = await this.planned(name);
    if (planned === null && pass === null) {
      permit.giveBack();
      return this.deps.schedule.release(claim, 'never');
    }
    const sweep = { list, claim, plan: planned === null ? null : this.plan };
    const nextMs = await (pass === null
      ? this.readOne(sweep, name.page, permit, planned ?? MAX_PAGE_SIZE)
      : pass(sweep, permit));
    await this.deps.schedule.release(claim, nextMs === null ? 'never' : { inMs: nextMs });
  }

  private async readOne(
    sweep: Sweep,
    page: number,
    permit: PagePermit,
    size: number,
  ): Promise<number | null> {
    const { nextMs } = await this.read(sweep, { page, size, permit });
    return nextMs;
  }

  /** The size of a page by the present plan; null where that does not read it. */
  private async planned(name: PageName): Promise<number | null> {
    const { now, isOn } = this.deps;
    if (!isOn) return null;
    const isFresh = now() - this.readAt <= FRESH_MS;
    if (!isFresh) await this.refresh();
    const size = this.sizeOf(name);
    if (size !== null || !isFresh) return size;
    // A newer plan may have entered the page.
    await this.refresh();
    return this.sizeOf(name);
  }

  private sizeOf({ workflowId, page }: PageName): number | null {
    if (this.costMultiplier() === null) return null;
    const list = this.plan?.lists.find((one) => one.workflowId === workflowId);
    return list?.pages.some((one) => one.page === page) === true ? list.size : null;
  }
}
