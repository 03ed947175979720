import {
  comparePage,
  contradiction,
  deferrals,
  memberToCheck,
  pageIntervalMs,
  settledMs,
  type PageFindings,
  type WatchOnPage,
} from '../core/feed/page.ts';
import type { PageRecord, PageReport, PageTrace, StoredPlan } from '../core/feed/record.ts';
import { PLAN_MEMBER } from '../core/feed/page-name.ts';
import { backstopMs } from '../core/feed/plan.ts';
import type { ListOutcome, ListedRun, RunList, RunPage } from '../core/feed/run-list.ts';
import {
  givenUp,
  heldGood,
  hintOf,
  isRepeated,
  judgeHint,
  NEW_TRUST,
  throttled,
  type FallbackReason,
} from '../core/feed/list-trust.ts';
import { grantedPauseMs } from '../core/source/throttle.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { RequestClaim } from '../poll/schedule.ts';
import type { Permit } from '../poll/source-limiter.ts';
import type { ListFeedDependencies } from './list-feed.ts';

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

/** Reads a page, and lets single polls follow what it says. */
export async function readPage(
  deps: ListFeedDependencies,
  sweep: Sweep,
  { page, size, permit }: WantedPage,
): Promise<PageRead> {
  const startedAt = deps.now();
  const outcome = await deps.reader.readPage({ workflowId: sweep.list.workflowId, page, size });
  permit.settle();
  const read = { ...sweep, page, startedAt };
  if (sweep.plan === null) return { outcome, nextMs: null };
  return { outcome, nextMs: await conclude(deps, { ...read, plan: sweep.plan }, outcome) };
}

interface Read extends Sweep {
  plan: StoredPlan;
  page: number;
  startedAt: number;
}

async function conclude(
  deps: ListFeedDependencies,
  read: Read,
  outcome: ListOutcome,
): Promise<number | null> {
  if (outcome.kind === 'page') {
    return outcome.page.isCut
      ? tooLarge(deps, read, outcome.page)
      : takeIn(deps, read, outcome.page);
  }
  if (outcome.kind === 'rate_limited') return slowDown(deps, read, outcome);
  return fallBack(deps, read, { reason: outcome.kind, message: outcome.message });
}

async function takeIn(
  deps: ListFeedDependencies,
  read: Read,
  page: RunPage,
): Promise<number | null> {
  const { list, plan, startedAt } = read;
  const record = await deps.store.pageRecord(
    list,
    page.runs.map(({ id }) => id),
    !deps.needsMetadata(),
  );
  // Another list may have been read in time; what this one had to say of that is past.
  if ((record.trust?.since ?? 0) > deps.now()) return null;
  const readAt = deps.now();
  const judged = judgeHints(page.runs, record, readAt);
  const found = watchesOn(deps, page.runs, record);
  const findings = comparePage(found, startedAt);
  const disagrees = judged.disagrees ?? findings.disagrees;
  if (disagrees !== null) return fallBack(deps, read, { reason: 'disagrees', message: disagrees });

  const streams = await deps.streams.surveyed();
  // What is left to event streams needs no list.
  const readHere = found.filter(
    ({ watch }) => watch.state === 'active' && !streams.isRelied(watch.runId),
  );
  const pageMs = pageIntervalMs(readHere, plan, { ...deps, now: readAt });
  const check = { checkedAt: record.checkedAt, pageMs, now: readAt };
  const checked = memberToCheck(findings.unchanged, check)?.watch.runId ?? null;
  const taken = { record, findings, judged, readAt, pageMs, checked };
  const trace = traceOf(read, page, taken);
  await deps.store.putPage(list, trace);
  const vanished = deps.vanished.take(list, trace.mark, {
    shown: new Set(page.runs.map(({ id }) => id)),
    watched: creationTimes(found),
  });
  await follow(deps, plan, { ...taken, vanished, isAlone: readHere.length < 2 });
  const nextAt = startedAt + Math.max(pageMs, settledMs(findings, deps.requestsPerMs()));
  report(deps, read, { outcome: 'ok', message: null, nextAt }, { ...findings, vanished });
  return Math.max(0, nextAt - deps.now());
}

/** Expedites and defers single polls by what a page shows. */
async function follow(
  deps: ListFeedDependencies,
  plan: StoredPlan,
  { vanished, isAlone, ...taken }: Taken & { vanished: string[]; isAlone: boolean },
): Promise<void> {
  const { judged, readAt, pageMs, checked, findings } = taken;
  const { changed, unchanged } = findings;
  const toPoll = changed.map(({ watch }) => watch.runId).filter((id) => !judged.repeated.has(id));
  await deps.schedule.expedite([...toPoll, ...(checked === null ? [] : [checked]), ...vanished]);
  const isNews = ({ watch }: { watch: Watch }) => !judged.open.has(watch.runId);
  const context = { now: readAt, random: deps.random };
  const backstop = backstopMs(plan.watches, deps.requestsPerMs());
  // Of one run alone single polls go on beside the page.
  const replaced = isAlone ? [] : unchanged.filter(isNews);
  await deps.schedule.defer(deferrals(replaced, { ...context, pageMs, backstopMs: backstop }));
}

function watchesOn(
  { memberOf }: ListFeedDependencies,
  runs: readonly ListedRun[],
  { watches }: PageRecord,
): WatchOnPage[] {
  return runs.flatMap((listed, at) => {
    const stored = watches[at] ?? null;
    if (stored === null) return [];
    const member = stored.watch.state === 'active' ? memberOf(stored.watch) : null;
    return { watch: stored.watch, listed, member };
  });
}

/** When the active runs on a page were created. */
function creationTimes(found: readonly WatchOnPage[]): Map<string, number> {
  return new Map(
    found.flatMap(({ watch, listed: { created_at: at } }) =>
      watch.state !== 'active' || at === null ? [] : [[watch.runId, Date.parse(at)]],
    ),
  );
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
      const listed = `${hint.listed.status} at ${hint.listed.progress}`;
      verdict.disagrees ??= contradiction(stored.watch, listed);
    }
  }
  return verdict;
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

function traceOf(
  read: Read,
  page: RunPage,
  { record, findings, judged, readAt, checked }: Taken,
): PageTrace {
  const times = page.runs.flatMap(({ created_at: at }) => (at === null ? [] : [Date.parse(at)]));
  return {
    mark: {
      page: read.page,
      newest: Math.max(...times),
      oldest: Math.min(...times),
      runs: page.runs.length,
      isLast: page.isLast,
      at: readAt,
      bytes: page.bytes,
    },
    hints: [...findings.changed, ...findings.unseen]
      .filter(({ watch }) => !judged.open.has(watch.runId))
      .map(({ watch, listed }) => ({ runId: watch.runId, hint: hintOf(watch, listed, readAt) })),
    judged: judged.judged,
    checkedAt: checked === null ? null : readAt,
    trust: heldGood(record.trust ?? NEW_TRUST, readAt),
  };
}

/** A smaller page would fit; the next plan reads those. */
async function tooLarge(
  deps: ListFeedDependencies,
  read: Read,
  { runs }: RunPage,
): Promise<number | null> {
  if (runs.length < LEAST_SIZE) {
    return fallBack(deps, read, { reason: 'too_large', message: 'its runs are too large' });
  }
  await deps.store.putSize(read.list, runs.length);
  await deps.schedule.expedite([PLAN_MEMBER]);
  return null;
}

async function slowDown(
  deps: ListFeedDependencies,
  read: Read,
  trouble: Extract<ListOutcome, { kind: 'rate_limited' }>,
): Promise<number | null> {
  const untilAt = deps.now() + grantedPauseMs(trouble.retryAfterMs);
  const { message } = trouble;
  const { trust } = await deps.store.pageRecord(read.list, [], true);
  const next = throttled(trust ?? NEW_TRUST);
  if (next === null) return fallBack(deps, read, { reason: 'throttled', message, from: untilAt });
  await deps.store.putTrust(read.list, next);
  report(deps, read, { outcome: 'rate_limited', message, nextAt: untilAt });
  return untilAt - deps.now() + deps.random() * PAUSE_SPREAD_MS;
}

/** A plan without the list follows at once, and recalls what it stood in for. */
async function fallBack(
  deps: ListFeedDependencies,
  read: Read,
  {
    reason,
    message,
    from = deps.now(),
  }: { reason: FallbackReason; message: string; from?: number },
): Promise<null> {
  const { trust } = await deps.store.pageRecord(read.list, [], true);
  // Several pages of a list can fail at once: that is one failure.
  if ((trust?.since ?? 0) > from) return null;
  const next = givenUp(trust ?? NEW_TRUST, from);
  await deps.store.putTrust(read.list, next);
  report(deps, read, { outcome: reason, message, nextAt: next.since });
  await deps.schedule.expedite([PLAN_MEMBER]);
  return null;
}

function report(
  { report: tell, now }: ListFeedDependencies,
  { list, page, startedAt }: Read,
  seen: Pick<PageReport, 'outcome' | 'message' | 'nextAt'>,
  findings?: PageFindings & { vanished: string[] },
): void {
  tell({
    ...seen,
    list,
    page,
    changed: findings?.changed.length ?? 0,
    unchanged: findings?.unchanged.length ?? 0,
    vanished: findings?.vanished.length ?? 0,
    durationMs: now() - startedAt,
  });
}
