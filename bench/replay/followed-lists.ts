import { longestInterval, NO_LOAD } from '../../src/core/cadence/load.ts';
import { listMember } from '../../src/core/feed/member.ts';
import { markOf, type PageMark } from '../../src/core/feed/page-layout.ts';
import {
  comparePage,
  deferrals,
  memberToCheck,
  pageIntervalMs,
  recalls,
  type PollMove,
  type WatchOnPage,
} from '../../src/core/feed/list-hint.ts';
import { backstopMs, nextPlanMs, planFeed, type FeedPlan } from '../../src/core/feed/plan.ts';
import {
  plannedWatch,
  sharedLists,
  type PlannedList,
  type PlannedWatch,
} from '../../src/core/feed/plan-input.ts';
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

/** Runs on a page of a list. */
const PAGE_SIZE = 100;

/** The share of a failed list's time until it is read again, ms. */
const AVOIDED_MS = 30_000;

/**
 * The daemon's own rules for lists, `core/feed`, with a virtual clock. Lists here are correct, so that
 * no hint is contradicted.
 */
export class FollowedLists implements ListFollower {
  private readonly active = new Map<TracedRun, Followed>();
  private readonly all = new Map<TracedRun, Followed>();
  /** Runs that were not created yet, the last to come first; null before the first plan. */
  private coming: Followed[] | null = null;
  private readonly marks = new Map<string | null, Map<number, PageMark>>();
  private readonly avoidedUntil = new Map<string | null, number>();
  private checkedAt = 0;
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

  plan(nowS: number): PlanStep {
    const now = toMs(nowS);
    this.register(nowS);
    const context = this.memberContext(now);
    const watches = [...this.active.values()].map((one) => this.plannedWatch(one, now));
    const { minIntervalMs, maxIntervalMs } = context.policy;
    const lists = sharedLists(watches).flatMap((workflowId) => this.known(workflowId, now) ?? []);
    const plan = planFeed(watches, lists, {
      requestsPerMs: this.requestsPerMs,
      minIntervalMs,
      maxIntervalMs,
      pagesPerMs: Infinity,
    });
    const moved = this.moved(recalls(plan, { ...context, minIntervalMs }));
    this.current = watches.length < 2 ? null : plan;
    if (this.current === null) return { woken: [], moved, pages: [], nextAt: null };
    this.costMultiplier = plan.costMultiplier;
    const pages = plan.lists.flatMap(({ workflowId, pages: some }) =>
      some.map(({ page, intervalMs }) => ({ workflowId, page, intervalS: intervalMs / 1_000 })),
    );
    return { woken: [], moved, pages, nextAt: toS(now + nextPlanMs(watches)) };
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
    const longestMs = longestInterval(context.policy.maxIntervalMs, context.load);
    const found = page.runs.flatMap((run) => this.found(run, context));
    const { changed, unchanged, unseen } = comparePage(found, now, true);
    this.mark(name, page, now);
    const pageMs = pageIntervalMs(found, this.current!, { ...context, longestMs: () => longestMs });
    const toCheck = memberToCheck(unchanged, { checkedAt: this.checkedAt, pageMs, now });
    if (toCheck !== null) this.checkedAt = now;
    const backstop = backstopMs(this.active.size, this.requestsPerMs);
    const runOf = ({ watch }: { watch: Watch }) => this.byId(watch.runId).run;
    for (const one of unseen) this.told.add(runOf(one));
    const replaced = found.length > 1 ? unchanged : [];
    return {
      woken: [...changed, ...(toCheck === null ? [] : [toCheck])].map(runOf),
      moved: this.moved(deferrals(replaced, { ...context, pageMs, backstopMs: backstop })),
      nextAt: toS(now + pageMs),
    };
  }

  private found(run: TracedRun, context: ObserveContext): WatchOnPage[] {
    const followed = this.active.get(run);
    if (followed === undefined) return [];
    const { watch } = followed;
    const listed = listedOf(run, watch.runId, toS(context.now));
    return [{ watch, listed, member: listMember(watch, context) }];
  }

  private mark({ workflowId, page }: TracedPageName, { runs, isLast }: TracedPage, at: number) {
    const marks = this.marks.get(workflowId) ?? new Map<number, PageMark>();
    this.marks.set(workflowId, marks);
    const createdAts = runs.map(({ created }) => toMs(created));
    const shown = { page, runs: runs.length, isLast, at, createdAts };
    marks.set(page, markOf(shown));
  }

  private known(workflowId: string | null, now: number): PlannedList | null {
    if ((this.avoidedUntil.get(workflowId) ?? 0) > now) return null;
    const isInUse = this.current?.lists.some((one) => one.workflowId === workflowId) ?? false;
    const marks = [...(this.marks.get(workflowId)?.values() ?? [])];
    return { workflowId, marks, size: PAGE_SIZE, pages: Infinity, isInUse };
  }

  private plannedWatch({ run, watch }: Followed, now: number): PlannedWatch {
    const context = this.memberContext(now);
    const { maxIntervalMs, minIntervalMs } = context.policy;
    const { roundMs } = this.contextAt(toS(now)).load;
    const hint = { workflowId: run.workflow, createdAt: toMs(run.created) };
    return plannedWatch(
      watch,
      { member: listMember(watch, context), hint: this.told.has(run) ? hint : null },
      { minIntervalMs, longestMs: longestInterval(maxIntervalMs, { ...NO_LOAD, roundMs }), now },
    );
  }

  private memberContext(now: number): ObserveContext {
    return { ...this.contextAt(toS(now)), load: NO_LOAD };
  }

  private moved(moves: readonly PollMove[]): Moves['moved'] {
    return moves.map(({ runId, to }) => {
      const followed = this.byId(runId);
      followed.watch = { ...followed.watch, nextPollAt: to };
      return [followed.run, toS(to)];
    });
  }

  /** Runs that a page has listed before their first read. */
  private readonly told = new Set<TracedRun>();
  private readonly ids = new Map<string, Followed>();

  private byId(runId: string): Followed {
    const known = this.ids.get(runId);
    if (known !== undefined) return known;
    for (const one of this.active.values()) this.ids.set(one.watch.runId, one);
    return this.ids.get(runId)!;
  }
}
