import { setTimeout as delay } from 'node:timers/promises';
import { sum } from '../core/arrays.ts';
import { longestInterval, NO_LOAD } from '../core/cadence/load.ts';
import {
  givenUp,
  heldGood,
  hintOf,
  isRepeated,
  judgeHint,
  NEW_TRUST,
  repeatedInMs,
  throttled,
  type FallbackReason,
  type ListHint,
} from '../core/feed/list-trust.ts';
import { listMember, type ListMember } from '../core/feed/member.ts';
import {
  comparePage,
  contradiction,
  deferrals,
  memberToCheck,
  pageIntervalMs,
  recalls,
  settledMs,
  type PageFindings,
  type WatchOnPage,
  type PageReport,
} from '../core/feed/list-hint.ts';
import { PLAN_MEMBER, pageMember, parsePageMember, type PageName } from '../core/feed/page-name.ts';
import { markOf } from '../core/feed/page-layout.ts';
import { backstopMs, leastMsBetweenPlans, nextPlanMs, planFeed } from '../core/feed/plan.ts';
import { plannedWatch, sharedLists, type PlannedWatch } from '../core/feed/plan-input.ts';
import type {
  ListRecord,
  PageRecord,
  PageTrace,
  StoredPlan,
  FeedStore,
} from '../redis/stores/feed-store.ts';
import type { ListedRun, ListOutcome, RunList, RunPage } from '../core/feed/run-list.ts';
import { VanishedRuns } from '../core/feed/vanished.ts';
import type { Permit } from '../core/source/rate-limit.ts';
import type { ReadTimes } from '../core/source/read-times.ts';
import { grantedPauseMs } from '../core/source/throttle.ts';
import type { ListTraits } from '../core/source/traits.ts';
import type { Watch } from '../core/watch/watch.ts';
import { logPage } from '../telemetry/logger.ts';
import type { ClaimedPermit } from './limiter.ts';
import { reopenBegunAgain } from './reopen.ts';
import type { RequestClaim } from './schedule.ts';
import type { Source } from './source.ts';
import type { StreamOffer } from './stream-openings.ts';

/** A plan that is older than this does not hold any more: no process makes a new one, ms. */
const STALE_MS = 180_000;

/** The longest time to the next plan, ms. */
const PLAN_WITHIN_MS = 60_000;

/** How often at most polls that go by call for a plan, ms. */
const NOTICE_EVERY_MS = 1_000;

/** A page that was read this long ago says nothing any more, ms. */
const MARK_KEPT_MS = 600_000;

/** Pages take at most this share of a core, by what a byte and a run cost to take in, ms. */
const CORE_SHARE = 0.5;
const MS_PER_BYTE = 5e-6;
const MS_PER_PAGE = 3;

/** Reads held back by a pause do not all come in the instant of its end, ms. */
const PAUSE_SPREAD_MS = 1_000;

/** So few runs on a page are not worth a request for it. */
const LEAST_SIZE = 5;

/** A list that is read, and by what plan; null where that does not use it. */
export interface Sweep {
  list: RunList;
  claim: RequestClaim;
  plan: StoredPlan | null;
}

export interface WantedPage {
  page: number;
  size: number;
  permit: Permit;
}

/** What a read of a page came to. */
export interface PageRead {
  outcome: ListOutcome;
  /** When it is to be read again by the plan, in ms; null where it is not. */
  nextMs: number | null;
}

interface Read extends Sweep {
  plan: StoredPlan;
  page: number;
  startedAt: number;
}

/** What a page says, and what follows. */
interface Taken {
  record: PageRecord;
  findings: PageFindings;
  judged: ReturnType<typeof judgeHints>;
  readAt: number;
  /** How long until it is read again, ms. */
  pageMs: number;
  /** The run that a single poll reads to check the list; null where no check is due. */
  checked: string | null;
}

/**
 * The lists of one source, which nothing else reads. One process at a time makes the plan that says which pages
 * are read (`core/feed/plan.ts`); any process reads one that is due. Pages show which watched runs have changed,
 * so that single polls follow, and discovery finds new runs on them. What a page says is a hint: it expedites or
 * defers single polls.
 */
export class ListFeed {
  private plan: StoredPlan | null = null;
  private lastRun: string | null = null;
  private noticedAt = -Infinity;
  private readonly vanished = new VanishedRuns();

  constructor(private readonly source: Source) {}

  /** False where every run is polled by itself; lists, if there are any, then serve discovery alone. */
  get isOn(): boolean {
    const { traits, process } = this.source;
    return traits.lists?.standIn === true && process.config.polling.lists === 'auto';
  }

  /**
   * Takes note of a watch that was just polled: once there are several, a plan is worth while. Sends no
   * request, so that it adds nothing to the cost of a poll.
   */
  async notice({ runId, state, polls }: Watch): Promise<void> {
    const { process, schedule } = this.source;
    if (!this.isOn || state !== 'active' || this.lastRun === runId) return;
    const isSeveral = this.lastRun !== null;
    this.lastRun = runId;
    if (!isSeveral || process.now() - this.noticedAt < NOTICE_EVERY_MS) return;
    this.noticedAt = process.now();
    await schedule.enterFeed('plan', [
      // A plan without new watches may be valid for long.
      { member: PLAN_MEMBER, withinMs: polls === 1 ? this.newPlanMs() : PLAN_WITHIN_MS },
    ]);
  }

  /** A poll that a hint asked for has read a run: where it disagrees, the run is soon read again. */
  async confirm(watch: Watch): Promise<void> {
    const { process, name, schedule } = this.source;
    if (!this.isOn) return;
    const [hint = null] = await this.store.hints(name, [watch.runId]);
    const inMs = hint === null ? null : repeatedInMs(hint, watch, process.now());
    if (inMs === null) return;
    await delay(inMs, undefined, { ref: false });
    await schedule.expedite([watch.runId]);
  }

  /** How its runs are listed; asked for where they are. */
  private get traits(): ListTraits {
    const { lists } = this.source.traits;
    if (lists === null) throw new Error('the source does not offer lists');
    return lists;
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
    const { now } = this.source.process;
    return this.plan !== null && now() - this.plan.at < STALE_MS ? this.plan : null;
  }

  /** Reads the plan that another process may have made. */
  async refresh(): Promise<void> {
    this.plan = await this.store.plan(this.source.name);
  }

  /** The rate limit has changed: the present plan does not fit it. */
  async replan(): Promise<void> {
    await this.source.schedule.expedite([PLAN_MEMBER]);
  }

  /** Makes a plan, and releases its claim. */
  async makePlan(claim: RequestClaim): Promise<void> {
    const { schedule } = this.source;
    if (!this.isOn) return schedule.release(claim, 'never');
    const { plan, nextMs } = await this.newPlan();
    this.plan = plan;
    await schedule.release(claim, nextMs === null ? 'never' : { inMs: nextMs });
  }

  /** Reads a page that was claimed, and releases its claim. */
  async readPage(claim: RequestClaim, permit: ClaimedPermit): Promise<void> {
    const { name: source, schedule, discovery } = this.source;
    const name = parsePageMember(claim.member);
    const list = { source, workflowId: name.workflowId };
    const pass = name.page === 1 ? discovery.passOver(list) : null;
    const size = await this.planned(name);
    if (size === null && pass === null) {
      permit.giveBack();
      return schedule.release(claim, 'never');
    }
    const sweep = { list, claim, plan: size === null ? null : this.plan };
    const wanted = { page: name.page, size: size ?? this.traits.pageSize, permit };
    const nextMs = await (pass?.read(sweep, permit) ??
      this.read(sweep, wanted).then((read) => read.nextMs));
    await schedule.release(claim, nextMs === null ? 'never' : { inMs: nextMs });
  }

  /** The size of a page by the present plan; null where that does not read it. */
  private async planned({ workflowId, page }: PageName): Promise<number | null> {
    if (!this.isOn) return null;
    // Another process may have made a new one, which has entered the page.
    await this.refresh();
    const list = this.current()?.lists.find((one) => one.workflowId === workflowId);
    return list?.pages.some((one) => one.page === page) === true ? list.size : null;
  }

  /**
   * Makes the plan of a source: which pages of which lists are read, and which runs singly. Enters its
   * pages into the schedule, and recalls the single polls of runs that no page covers.
   * @returns the plan, and when to make the next one, in ms; null for never, where fewer than two runs are watched
   */
  private async newPlan(): Promise<{ plan: StoredPlan; nextMs: number | null }> {
    const { process, name: source, schedule, limiter, policy } = this.source;
    const { store } = this;
    const { now, random } = process;
    const { minIntervalMs, maxIntervalMs } = policy;
    const at = now();
    // Read before the watches are, so that a run that is registered meanwhile keeps its hint.
    const hinted = new Set(await store.hintedRuns(source));
    const watches = await this.plannedWatches((runId) => hinted.delete(runId));
    const before = await store.plan(source);
    const { byWorkflow, pages, pageSize } = this.traits;
    const named = sharedLists(watches)
      .filter((workflowId) => byWorkflow || workflowId === null)
      .map((workflowId) => ({ source, workflowId }));
    const known = await store.read(named, at - MARK_KEPT_MS);
    // A list that is not trusted is not read.
    const lists = known.flatMap(({ list: { workflowId }, trust, marks, size }) => {
      if (trust !== null && trust.since > at) return [];
      const isInUse = before?.lists.some((one) => one.workflowId === workflowId) ?? false;
      return { workflowId, marks, size: Math.min(size ?? pageSize, pageSize), pages, isInUse };
    });
    const { singles, ...planned } = planFeed(watches, lists, {
      requestsPerMs: limiter.requestsPerMs,
      minIntervalMs,
      maxIntervalMs,
      pagesPerMs: pagesPerMs(known),
    });
    const plan = { ...planned, at, watches: watches.length };
    await store.putPlan(source, plan, { lists: known, hinted: [...hinted] });
    await schedule.enterFeed('list', pagesOf(plan));
    const { costMultiplier } = plan;
    await schedule.defer(
      recalls({ singles, costMultiplier }, { minIntervalMs, now: now(), random }),
    );
    return { plan, nextMs: watches.length < 2 ? null : nextPlanMs(watches) };
  }

  /**
   * The watches that are not left to event streams. Of each it keeps what a plan goes by and nothing else:
   * all metadata at once could take more memory than there is.
   * @param onActive is called with each run that is watched
   */
  private async plannedWatches(onActive: (runId: string) => void): Promise<PlannedWatch[]> {
    const { process, name: source, streams, policy } = this.source;
    const { store } = this;
    const { minIntervalMs } = policy;
    const found: PlannedWatch[] = [];
    const offers: StreamOffer[] = [];
    const survey = await streams.surveyed();
    for await (const chunk of store.active(source, this.isBare)) {
      const runIds = chunk.map(({ watch }) => watch.runId);
      const hints = await store.hints(source, runIds);
      for (const [at, { watch }] of chunk.entries()) {
        onActive(watch.runId);
        const offer = survey.isStreamed(watch.runId) ? null : streams.offerOf(watch);
        if (offer !== null) offers.push(offer);
        if (survey.isRelied(watch.runId)) continue;
        const seen = { member: this.memberOf(watch), hint: hints[at] ?? null };
        const longestMs = this.longestMs(watch);
        found.push(plannedWatch(watch, seen, { minIntervalMs, longestMs, now: process.now() }));
      }
    }
    streams.offerAll(offers);
    return found;
  }

  /** Reads a page, and lets single polls follow what it says, also of runs that have begun again. */
  async read(sweep: Sweep, { page, size, permit }: WantedPage): Promise<PageRead> {
    const { process, reader } = this.source;
    const startedAt = process.now();
    const question = { workflowId: sweep.list.workflowId, page, size };
    const outcome = await reader.readPage(question).finally(() => permit.endProbe?.());
    permit.settle();
    if (outcome.kind === 'page') await reopenBegunAgain(this.source, outcome.page.runs);
    const read = { ...sweep, page, startedAt };
    if (sweep.plan === null) return { outcome, nextMs: null };
    return { outcome, nextMs: await this.conclude({ ...read, plan: sweep.plan }, outcome) };
  }

  private async conclude(read: Read, outcome: ListOutcome): Promise<number | null> {
    if (outcome.kind === 'page') {
      return outcome.page.isCut
        ? this.tooLarge(read, outcome.page)
        : this.takeIn(read, outcome.page);
    }
    if (outcome.kind === 'rate_limited') return this.slowDown(read, outcome);
    return this.fallBack(read, { reason: outcome.kind, message: outcome.message });
  }

  private async takeIn(read: Read, page: RunPage): Promise<number | null> {
    const { process, streams: feed, limiter } = this.source;
    const { list, plan, startedAt } = read;
    const record = await this.store.pageRecord(
      list,
      page.runs.map(({ id }) => id),
      this.isBare,
    );
    // Another list may have been read in time; what this one had to say of that is past.
    if ((record.trust?.since ?? 0) > process.now()) return null;
    const readAt = process.now();
    const judged = judgeHints(page.runs, record, readAt);
    const found = this.watchesOn(page.runs, record);
    const findings = comparePage(found, startedAt, this.traits.endsAreFinal);
    const disagrees = judged.disagrees ?? findings.disagrees;
    if (disagrees !== null) return this.fallBack(read, { reason: 'disagrees', message: disagrees });

    const streams = await feed.surveyed();
    // What is left to event streams needs no list.
    const readHere = found.filter(
      ({ watch }) => watch.state === 'active' && !streams.isRelied(watch.runId),
    );
    const pageMs = pageIntervalMs(readHere, plan, {
      longestMs: (watch) => this.longestMs(watch),
      now: readAt,
      random: process.random,
    });
    const check = { checkedAt: record.checkedAt, pageMs, now: readAt };
    const checked = memberToCheck(findings.unchanged, check)?.watch.runId ?? null;
    const taken = { record, findings, judged, readAt, pageMs, checked };
    const trace = traceOf(read, page, taken);
    await this.store.putPage(list, trace);
    const vanished = this.vanished.take(list, trace.mark, {
      shown: new Set(page.runs.map(({ id }) => id)),
      watched: creationTimes(found),
    });
    await this.follow(plan, { ...taken, vanished, isAlone: readHere.length < 2 });
    const nextAt = startedAt + Math.max(pageMs, settledMs(findings, limiter.requestsPerMs));
    this.report(read, { outcome: 'ok', message: null, nextAt }, { ...findings, vanished });
    return Math.max(0, nextAt - process.now());
  }

  /** Expedites and defers single polls by what a page shows. */
  private async follow(
    plan: StoredPlan,
    { vanished, isAlone, ...taken }: Taken & { vanished: string[]; isAlone: boolean },
  ): Promise<void> {
    const { process, schedule, limiter } = this.source;
    const { judged, readAt, pageMs, checked, findings } = taken;
    const { changed, unchanged } = findings;
    const toPoll = changed.map(({ watch }) => watch.runId).filter((id) => !judged.repeated.has(id));
    await schedule.expedite([...toPoll, ...(checked === null ? [] : [checked]), ...vanished]);
    const isNews = ({ watch }: { watch: Watch }) => !judged.open.has(watch.runId);
    const context = { now: readAt, random: process.random };
    const backstop = backstopMs(plan.watches, limiter.requestsPerMs);
    // Of one run alone single polls go on beside the page.
    const replaced = isAlone ? [] : unchanged.filter(isNews);
    await schedule.defer(deferrals(replaced, { ...context, pageMs, backstopMs: backstop }));
  }

  /** A smaller page would fit; the next plan reads those. */
  private async tooLarge(read: Read, { runs }: RunPage): Promise<number | null> {
    if (runs.length < LEAST_SIZE) {
      return this.fallBack(read, { reason: 'too_large', message: 'its runs are too large' });
    }
    await this.store.putSize(read.list, runs.length);
    await this.source.schedule.expedite([PLAN_MEMBER]);
    return null;
  }

  private async slowDown(
    read: Read,
    trouble: Extract<ListOutcome, { kind: 'rate_limited' }>,
  ): Promise<number | null> {
    const { now, random } = this.source.process;
    const untilAt = now() + grantedPauseMs(trouble.retryAfterMs);
    const { message } = trouble;
    const { trust } = await this.store.pageRecord(read.list, [], true);
    const next = throttled(trust ?? NEW_TRUST);
    if (next === null) return this.fallBack(read, { reason: 'throttled', message, from: untilAt });
    await this.store.putTrust(read.list, next);
    this.report(read, { outcome: 'rate_limited', message, nextAt: untilAt });
    return untilAt - now() + random() * PAUSE_SPREAD_MS;
  }

  /** A plan without the list follows at once, and recalls what it stood in for. */
  private async fallBack(
    read: Read,
    {
      reason,
      message,
      from = this.source.process.now(),
    }: { reason: FallbackReason; message: string; from?: number },
  ): Promise<null> {
    const { trust } = await this.store.pageRecord(read.list, [], true);
    // Several pages of a list can fail at once: that is one failure.
    if ((trust?.since ?? 0) > from) return null;
    const next = givenUp(trust ?? NEW_TRUST, from);
    await this.store.putTrust(read.list, next);
    this.report(read, { outcome: reason, message, nextAt: next.since });
    await this.source.schedule.expedite([PLAN_MEMBER]);
    return null;
  }

  private report(
    { list, page, startedAt }: Read,
    seen: Pick<PageReport, 'outcome' | 'message' | 'nextAt'>,
    findings?: PageFindings & { vanished: string[] },
  ): void {
    const { metrics, log, now } = this.source.process;
    const report = {
      ...seen,
      list,
      page,
      changed: findings?.changed.length ?? 0,
      unchanged: findings?.unchanged.length ?? 0,
      vanished: findings?.vanished.length ?? 0,
      durationMs: now() - startedAt,
    };
    metrics.list(report);
    logPage(log, report);
  }

  private watchesOn(runs: readonly ListedRun[], { watches }: PageRecord): WatchOnPage[] {
    return runs.flatMap((listed, at) => {
      const stored = watches[at] ?? null;
      if (stored === null) return [];
      const member = stored.watch.state === 'active' ? this.memberOf(stored.watch) : null;
      return { watch: stored.watch, listed, member };
    });
  }

  private get store(): FeedStore {
    return this.source.process.stores.feeds;
  }

  /** Whether watches are read without their metadata, which only conditions of endpoints go by. */
  private get isBare(): boolean {
    return !this.source.process.endpoints.matchMetadata;
  }

  /** A watch as its list has it, at the interval that it would have in a source that keeps up; or null. */
  private memberOf(watch: Watch): ListMember | null {
    const { process, policy } = this.source;
    return listMember(watch, {
      policy,
      statistics: process.statistics.lookup,
      wants: process.endpoints.wants,
      load: NO_LOAD,
      now: process.now(),
      random: process.random,
    });
  }

  /** The longest interval that a watch accepts, ms. */
  private longestMs({ maxDelayMs }: Watch): number {
    const { limiter, policy } = this.source;
    const { roundMs } = limiter.load();
    return maxDelayMs ?? longestInterval(policy.maxIntervalMs, { ...NO_LOAD, roundMs });
  }
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

/** How many pages a process can take in, each ms, by the bytes of those that it read. */
function pagesPerMs(lists: readonly ListRecord[]): number {
  const marks = lists.flatMap((list) => list.marks);
  if (marks.length === 0) return Infinity;
  const bytes = sum(marks.map((mark) => mark.bytes)) / marks.length;
  return CORE_SHARE / (MS_PER_PAGE + bytes * MS_PER_BYTE);
}

/** When the active runs on a page were created. */
function creationTimes(found: readonly WatchOnPage[]): Map<string, number> {
  return new Map(
    found.flatMap(({ watch, listed: { created_at: at } }) =>
      watch.state !== 'active' || at === null ? [] : [[watch.runId, Date.parse(at)]],
    ),
  );
}

function shownIn({ listed: { status, progress } }: ListHint): string {
  return progress === null ? status : `${status} at ${progress}`;
}

/** What single polls since say of the hints that the list gave before. */
function judgeHints(runs: readonly ListedRun[], { hints, watches }: PageRecord, now: number) {
  const verdict = {
    judged: [] as string[],
    open: new Set<string>(),
    /** Of these, runs that are read again by themselves. */
    repeated: new Set<string>(),
    disagrees: null as string | null,
  };
  for (const [at, { id }] of runs.entries()) {
    const [hint, stored] = [hints[at] ?? null, watches[at] ?? null];
    if (hint === null) continue;
    if (stored === null) {
      verdict.judged.push(id);
      continue;
    }
    const found = judgeHint(hint, stored.watch);
    const isOpen = found === 'open' || found === 'doubted';
    if (isOpen) verdict.open.add(id);
    else verdict.judged.push(id);
    if (found === 'doubted' && isRepeated(hint, now)) verdict.repeated.add(id);
    if (found === 'contradicted') {
      verdict.disagrees ??= contradiction(stored.watch, shownIn(hint));
    }
  }
  return verdict;
}

function traceOf(
  read: Read,
  page: RunPage,
  { record, findings, judged, readAt, checked }: Taken,
): PageTrace {
  const { runs, isLast, bytes } = page;
  const createdAts = runs.flatMap(({ created_at: at }) => (at === null ? [] : [Date.parse(at)]));
  const shown = { page: read.page, runs: runs.length, isLast, at: readAt, createdAts };
  return {
    mark: { ...markOf(shown), bytes },
    hints: [...findings.changed, ...findings.unseen]
      .filter(({ watch }) => !judged.open.has(watch.runId))
      .map(({ watch, listed }) => ({ runId: watch.runId, hint: hintOf(watch, listed, readAt) })),
    judged: judged.judged,
    checkedAt: checked === null ? null : readAt,
    trust: heldGood(record.trust ?? NEW_TRUST, readAt),
  };
}
