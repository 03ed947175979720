import { jitterAround } from '../../src/core/backoff.ts';
import { longestInterval, NO_LOAD } from '../../src/core/cadence/load.ts';
import { listMember, type ListMember } from '../../src/core/feed/member.ts';
import type { PageMark } from '../../src/core/feed/layout.ts';
import {
  comparePage,
  deferredTo,
  memberToCheck,
  recalledTo,
  type ListedChange,
  type WatchOnPage,
} from '../../src/core/feed/page.ts';
import {
  backstopMs,
  pageInterval,
  firstReadsMs,
  planFeed,
  spendingAfter,
  unseenIntervalMs,
  type FeedPlan,
  type PlannedList,
  type PlannedWatch,
} from '../../src/core/feed/plan.ts';
import { MAX_PAGE_SIZE } from '../../src/core/feed/run-list.ts';
import type { ObserveContext } from '../../src/core/watch/observation.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { toMs, toS } from './clock.ts';
import { listedOf } from './noxus-view.ts';
import type {
  ListFollower,
  Moves,
  PageStep,
  PlanStep,
  ReadPage,
  TracedPageName,
} from './policy.ts';
import type { TracedPage } from './run-lists.ts';
import type { TracedRun } from './workload.ts';

/** A polled run and its watch. */
export interface Followed {
  run: TracedRun;
  watch: Watch;
}

/** As the daemon does, see `feed/make-plan.ts`. */
const PLAN_EVERY_MS = { least: 1_000, most: 60_000 };
const JITTER = 0.1;

/** The share of a failed list's time until it is read again, ms. */
const AVOIDED_MS = 30_000;

/**
 * The daemon's own rules for lists, `core/feed`, with a virtual clock. Lists here are correct, so that
 * no hint is contradicted.
 */
export class Batching implements ListFollower {
  private readonly active = new Map<TracedRun, Followed>();
  private readonly all = new Map<TracedRun, Followed>();
  /** Runs that were not created yet, the last to come first; null before the first plan. */
  private coming: Followed[] | null = null;
  private readonly marks = new Map<string | null, Map<number, PageMark>>();
  private readonly avoidedUntil = new Map<string | null, number>();
  private checkedAt = 0;
  private spending = 1;
  private current: FeedPlan | null = null;
  /** What requests cost by the present plan. */
  costMultiplier: number | null = null;

  constructor(
    private readonly contextAt: (now: number) => ObserveContext,
    /** Requests that the budget allows, each ms. */
    private readonly requestsPerMs: number,
  ) {}

  add(followed: Followed): void {
    this.all.set(followed.run, followed);
  }

  notice(run: TracedRun): boolean {
    const followed = this.all.get(run)!;
    if (followed.watch.state === 'active') this.active.set(run, followed);
    else this.active.delete(run);
    return this.active.size > 1 && (this.current === null || followed.watch.polls === 1);
  }

  plan(nowS: number, used: number): PlanStep {
    const now = toMs(nowS);
    this.register(nowS);
    const context = this.memberContext(now);
    const followed = [...this.active.values()];
    const members = followed.map(({ watch }) => listMember({ watch, version: 0 }, context));
    const watches = followed.map((one, at) => this.plannedWatch(one, members[at] ?? null, now));
    if (watches.length < 2) {
      this.current = null;
      return {
        woken: [],
        moved: this.recallAll(followed, watches, context),
        pages: [],
        nextAt: null,
      };
    }
    this.spending =
      this.current === null ? 1 : spendingAfter({ ...this.current, spending: this.spending }, used);
    this.current = planFeed(watches, this.listsOf(watches, now), {
      requestsPerMs: this.requestsPerMs,
      minIntervalMs: context.policy.minIntervalMs,
      maxIntervalMs: context.policy.maxIntervalMs,
      pagesPerMs: Infinity,
      spending: this.spending,
    });
    this.costMultiplier = this.current.costMultiplier;
    this.firstReadsMs = firstReadsMs(watches, this.requestsPerMs);
    const moved = followed.flatMap((one, at) => {
      const watch = watches[at]!;
      const { covered, costMultiplier } = this.current!;
      const intervalMs = 1.2 * pageInterval([watch], costMultiplier, context.policy.minIntervalMs);
      const isCovered = covered.has(watch);
      return this.moved(one, isCovered ? null : recalledTo(one.watch, { ...context, intervalMs }));
    });
    const soonest = Math.min(...watches.map(({ intervalMs }) => intervalMs));
    const everyMs = Math.min(Math.max(soonest, PLAN_EVERY_MS.least), PLAN_EVERY_MS.most);
    const pages = this.current.lists.flatMap(({ workflowId, pages: some }) =>
      some.map(({ page, intervalMs }) => ({ workflowId, page, intervalS: intervalMs / 1_000 })),
    );
    return { woken: [], moved, pages, nextAt: toS(now + everyMs) };
  }

  readPage(name: TracedPageName, nowS: number, read: ReadPage): PageStep {
    const now = toMs(nowS);
    const list = this.current?.lists.find(({ workflowId }) => workflowId === name.workflowId);
    if (list?.pages.some(({ page }) => page === name.page) !== true)
      return { woken: [], moved: [], nextAt: null };
    const page = read(name, list.size);
    if (page === null) {
      this.avoidedUntil.set(name.workflowId, now + AVOIDED_MS);
      return { woken: [], moved: [], nextAt: null, isGivenUp: true };
    }
    return this.takeIn(name, page, now);
  }

  /** Without a plan, runs are polled singly. */
  private recallAll(
    followed: readonly Followed[],
    watches: readonly PlannedWatch[],
    context: ObserveContext,
  ): Moves['moved'] {
    return followed.flatMap((one, at) => {
      const { intervalMs = context.policy.minIntervalMs } = watches[at] ?? {};
      return this.moved(one, recalledTo(one.watch, { ...context, intervalMs }));
    });
  }

  /** Runs are registered when they are created. */
  private register(nowS: number): void {
    this.coming ??= [...this.all.values()].sort((a, b) => b.run.created - a.run.created);
    while ((this.coming.at(-1)?.run.created ?? Infinity) <= nowS) {
      const followed = this.coming.pop()!;
      if (followed.watch.state === 'active') this.active.set(followed.run, followed);
    }
  }

  private takeIn(
    name: TracedPageName,
    page: TracedPage,
    now: number,
  ): Moves & { nextAt: number | null } {
    const context = this.memberContext(now);
    const found = page.runs.flatMap((run) => this.found(run, context));
    const { changed, unchanged, unseen } = comparePage(found, now);
    this.mark(name, page, unchanged.length + unseen.length);
    const pageMs = this.intervalOf(found, context);
    const toCheck = memberToCheck(unchanged, { checkedAt: this.checkedAt, pageMs, now });
    if (toCheck !== null) this.checkedAt = now;
    const backstop = backstopMs(this.active.size, this.requestsPerMs);
    const followedOf = ({ watch }: { watch: Watch }) => this.byId(watch.runId);
    return {
      woken: [...changed, ...(toCheck === null ? [] : [toCheck])].map((one) => followedOf(one).run),
      moved: [
        ...this.deferFirst(unseen, context),
        ...(found.length > 1 ? unchanged : []).flatMap((member) =>
          this.moved(
            followedOf(member),
            deferredTo(member, { ...context, pageMs, backstopMs: backstop }),
          ),
        ),
      ],
      nextAt: toS(now + jitterAround(pageMs, JITTER, context.random)),
    };
  }

  private found(run: TracedRun, context: ObserveContext): WatchOnPage[] {
    const followed = this.active.get(run);
    if (followed === undefined) return [];
    const { watch } = followed;
    const listed = listedOf(run, watch.runId, toS(context.now));
    return [{ watch, listed, member: listMember({ watch, version: 0 }, context) }];
  }

  private intervalOf(found: readonly WatchOnPage[], { policy, load, now }: ObserveContext): number {
    if (found.length === 0) return 2_000;
    const longestMs = longestInterval(policy.maxIntervalMs, load);
    const on = found.map(({ member, watch }) => {
      const ageMs = now - watch.registeredAt;
      return { intervalMs: member?.intervalMs ?? unseenIntervalMs(ageMs), longestMs };
    });
    return pageInterval(on, this.current!.costMultiplier, policy.minIntervalMs);
  }

  /** Spreads first reads of runs that a page shows going on. */
  private deferFirst(
    unseen: readonly ListedChange[],
    { now, random }: ObserveContext,
  ): Moves['moved'] {
    const followed = unseen.flatMap(({ watch }) => this.byId(watch.runId));
    const news = followed.filter(({ run }) => !this.told.has(run));
    for (const { run } of news) this.told.add(run);
    const withinMs = this.firstReadsMs;
    return withinMs === 0 ? [] : news.flatMap((one) => this.moved(one, now + withinMs * random()));
  }

  private mark(
    { workflowId, page }: TracedPageName,
    { runs, isLast }: TracedPage,
    watched: number,
  ): void {
    const marks = this.marks.get(workflowId) ?? new Map<number, PageMark>();
    this.marks.set(workflowId, marks);
    const times = runs.map(({ created }) => toMs(created));
    const [newest, oldest] = [Math.max(...times), Math.min(...times)];
    marks.set(page, { page, newest, oldest, runs: runs.length, watched, isLast });
  }

  private listsOf(watches: readonly PlannedWatch[], now: number): PlannedList[] {
    const counts = new Map<string | null, number>([[null, watches.length]]);
    for (const { workflowId } of watches) {
      if (workflowId !== null) counts.set(workflowId, (counts.get(workflowId) ?? 0) + 1);
    }
    const used = new Set(this.current?.lists.map(({ workflowId }) => workflowId));
    return [...counts].flatMap(([workflowId, count]) =>
      count < 2 || (this.avoidedUntil.get(workflowId) ?? 0) > now
        ? []
        : {
            workflowId,
            marks: [...(this.marks.get(workflowId)?.values() ?? [])],
            size: MAX_PAGE_SIZE,
            isInUse: used.has(workflowId),
          },
    );
  }

  private plannedWatch(
    { run, watch }: Followed,
    member: ListMember | null,
    now: number,
  ): PlannedWatch {
    const { policy, load } = this.contextAt(toS(now));
    const isKnown = watch.run !== null || this.told.has(run);
    const ageMs = Math.max(1, now - watch.registeredAt);
    return {
      workflowId: isKnown ? run.workflow : null,
      createdAt: isKnown ? toMs(run.created) : NaN,
      intervalMs: member?.intervalMs ?? Math.max(policy.minIntervalMs, unseenIntervalMs(ageMs)),
      longestMs: longestInterval(policy.maxIntervalMs, { ...NO_LOAD, roundMs: load.roundMs }),
      ageMs,
      isListed: member !== null || watch.run === null,
      isUnseen: watch.run === null,
    };
  }

  private memberContext(now: number): ObserveContext {
    return { ...this.contextAt(toS(now)), load: NO_LOAD };
  }

  private moved(followed: Followed, at: number | null): Moves['moved'] {
    if (at === null) return [];
    followed.watch = { ...followed.watch, nextPollAt: at };
    return [[followed.run, toS(at)]];
  }

  /** Runs that a page has listed before their first read. */
  private readonly told = new Set<TracedRun>();
  private firstReadsMs = 0;
  private readonly ids = new Map<string, Followed>();

  private byId(runId: string): Followed {
    const known = this.ids.get(runId);
    if (known !== undefined) return known;
    for (const one of this.active.values()) this.ids.set(one.watch.runId, one);
    return this.ids.get(runId)!;
  }
}
