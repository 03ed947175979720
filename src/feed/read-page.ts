import { jitterAround } from '../core/backoff.ts';
import { assertNever } from '../core/errors.ts';
import {
  comparePage,
  contradiction,
  memberToCheck,
  type PageFindings,
  type WatchOnPage,
} from '../core/feed/page.ts';
import type { PageRecord, PageTrace, StoredPlan } from '../core/feed/record.ts';
import { PLAN_MEMBER } from '../core/feed/page-name.ts';
import { pageInterval, unseenIntervalMs, type PlannedWatch } from '../core/feed/plan.ts';
import type { ListOutcome, ListedRun, RunList, RunPage } from '../core/feed/run-list.ts';
import {
  givenUp,
  heldGood,
  hintOf,
  judgeHint,
  NEW_TRUST,
  throttled,
  type FallbackReason,
  isEndConfirmed,
  isOutcome,
} from '../core/feed/list-trust.ts';
import type { Watch } from '../core/watch/watch.ts';
import { grantedPauseMs } from '../core/source/throttle.ts';
import type { RequestClaim } from '../poll/schedule.ts';
import type { ListFeedDependencies } from './list-feed.ts';
import { deferFirst, deferPolls } from './defer-polls.ts';
import { reportListed } from './report-listed.ts';
import type { PagePermit, PageReport } from './ports.ts';

const JITTER = 0.1;

/** A page on which no watched run was found is read again after so many times its usual interval. */
const FUTILE = 4;

/** Pages that are not in a plan, or had nothing on them, wait for so long, ms. */
const FUTILE_MS = 2_000;

/** Reads held back by a pause do not all come in the instant of its end, ms. */
const PAUSE_SPREAD_MS = 1_000;

/** While many runs change at once, a page is read again after this time, ms. */
const BURST_MS = 1_000;

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
  permit: Pick<PagePermit, 'settle'>;
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
  switch (outcome.kind) {
    case 'page':
      return outcome.page.isCut
        ? tooLarge(deps, read, outcome.page)
        : takeIn(deps, read, outcome.page);
    case 'rate_limited':
      return slowDown(deps, read, outcome);
    case 'not_offered':
    case 'unauthorized':
    case 'forbidden':
    case 'unavailable':
    case 'invalid_response':
      return fallBack(deps, read, { reason: outcome.kind, message: outcome.message });
    default:
      return assertNever(outcome);
  }
}

async function takeIn(
  deps: ListFeedDependencies,
  read: Read,
  page: RunPage,
): Promise<number | null> {
  const { list, plan, startedAt } = read;
  const record = await deps.store.pageRecord(
    list,
    read.page,
    page.runs.map(({ id }) => id),
  );
  // Another list may have been read in time; what this one had to say of that is past.
  if ((record.trust?.since ?? 0) > deps.now()) return null;
  const readAt = deps.now();
  const judged = judgeHints(page.runs, record);
  const found = watchesOn(deps, page.runs, record);
  const findings = comparePage(found, startedAt);
  const disagrees = judged.disagrees ?? findings.disagrees;
  if (disagrees !== null) return fallBack(deps, read, { reason: 'disagrees', message: disagrees });

  const readHere = readByPage(deps, await unstreamed(deps, found));
  const nextMs = nextIn(deps, readHere, plan);
  const toCheck = memberToCheck(findings.unchanged, {
    checkedAt: record.checkedAt,
    pageMs: nextMs,
    now: readAt,
  });
  const news = unseenNews(findings, record, page.runs);
  await deps.store.putPage(
    list,
    traceOf(read, page, { record, findings, judged, readAt, checks: toCheck !== null }),
  );
  const vanished = deps.vanished.take(
    { workflowId: list.workflowId, page: read.page },
    { page, watched: creationTimes(found), now: readAt },
  );
  const stored = new Map(record.watches.flatMap((one) => (one ? [[one.watch.runId, one]] : [])));
  const { changed } = findings;
  const { runIds, isBacklog, isBurst } = await reportListed(deps, {
    watches: plan.watches,
    changed,
    stored,
    open: judged.open,
    word: record.word,
    readAt,
  });
  if (isBacklog) await deps.onBacklog(isBurst);
  await deps.schedule.expedite([
    ...toPoll(changed, runIds, toCheck?.watch.runId ?? null),
    ...vanished,
  ]);
  // Of one run alone single polls go on: the page is hardly read for it.
  const replaced = readHere.length > 1 ? findings.unchanged : [];
  const unchanged = replaced.filter(({ watch }) => !judged.open.has(watch.runId));
  await deferPolls(deps, unchanged, { pageMs: nextMs, backstopMs: plan.backstopMs, now: readAt });
  await deferFirst(deps, news, plan.firstReadsMs);
  const againMs = isBacklog ? Math.min(nextMs, BURST_MS) : nextMs;
  const seen = { outcome: 'ok' as const, message: null, nextAt: startedAt + againMs };
  report(deps, read, seen, { ...findings, vanished });
  return Math.max(0, startedAt + againMs - deps.now());
}

/** What is left to event streams needs no list. */
async function unstreamed(
  { streams }: ListFeedDependencies,
  found: readonly WatchOnPage[],
): Promise<WatchOnPage[]> {
  const survey = await streams.surveyed();
  return found.filter(({ watch }) => !survey.isRelied(watch.runId));
}

function watchesOn(
  { memberOf }: ListFeedDependencies,
  runs: readonly ListedRun[],
  { watches }: PageRecord,
): WatchOnPage[] {
  return runs.flatMap((listed, at) => {
    const stored = watches[at] ?? null;
    if (stored === null) return [];
    const member = stored.watch.state === 'active' ? memberOf(stored) : null;
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
function judgeHints(runs: readonly ListedRun[], { hints, watches, readAt }: PageRecord) {
  const verdict = {
    /** Ends and waits that a single poll has confirmed. */
    confirmed: 0,
    judged: [] as string[],
    open: new Set<string>(),
    disagrees: null as string | null,
  };
  for (const [at, { id, status }] of runs.entries()) {
    const [hint, stored] = [hints[at] ?? null, watches[at] ?? null];
    if (hint === null) {
      verdict.confirmed += Number(isEndConfirmed(stored, status, readAt));
      continue;
    }
    const found = stored === null ? 'moot' : judgeHint(hint, stored.watch);
    if (found === 'confirmed' && isOutcome(hint.listed.status)) verdict.confirmed += 1;
    if (found === 'open') verdict.open.add(id);
    else verdict.judged.push(id);
    if (stored !== null && found === 'contradicted') {
      const listed = `${hint.listed.status} at ${hint.listed.progress}`;
      verdict.disagrees ??= contradiction(stored.watch, listed);
    }
  }
  return verdict;
}

/** What a page is to be read for. */
type ReadHere = Pick<PlannedWatch, 'intervalMs' | 'longestMs'>[];

/** The runs that were found, rather than those that were expected. */
function readByPage(
  { longestMs, now }: ListFeedDependencies,
  found: readonly WatchOnPage[],
): ReadHere {
  return found.flatMap(({ member, watch, listed }) => {
    if (watch.state !== 'active') return [];
    const intervalMs = member?.intervalMs ?? unseenIntervalMs(ageOf(watch, listed, now()));
    const isRead = member !== null || watch.run === null;
    return isRead ? { intervalMs, longestMs: longestMs(watch) } : [];
  });
}

function nextIn(
  { minIntervalMs, random }: ListFeedDependencies,
  runs: ReadHere,
  { costMultiplier, pageMultiplier }: StoredPlan,
): number {
  if (runs.length === 0) return FUTILE_MS;
  const interval = pageInterval(runs, costMultiplier * pageMultiplier, minIntervalMs);
  const wanted = runs.length === 1 ? interval * FUTILE : interval;
  return jitterAround(wanted, JITTER, random);
}

/** By whichever clock says more. */
function ageOf({ registeredAt }: Watch, { created_at: at }: ListedRun, now: number): number {
  const createdAt = at === null ? registeredAt : Date.parse(at);
  return now - Math.min(createdAt, registeredAt);
}

interface Taken {
  record: PageRecord;
  findings: PageFindings;
  judged: ReturnType<typeof judgeHints>;
  readAt: number;
  checks: boolean;
}

function traceOf(
  read: Read,
  page: RunPage,
  { record, findings, judged, readAt, checks }: Taken,
): PageTrace {
  const times = page.runs.flatMap(({ created_at: at }) => (at === null ? [] : [Date.parse(at)]));
  return {
    mark: {
      page: read.page,
      newest: Math.max(...times),
      oldest: Math.min(...times),
      runs: page.runs.length,
      watched: findings.unchanged.length + findings.unseen.length,
      isLast: page.isLast,
      at: readAt,
      bytes: page.bytes,
    },
    hints: [...findings.changed, ...findings.unseen]
      .filter(({ watch }) => !judged.open.has(watch.runId))
      .map(({ watch, listed }) => ({ runId: watch.runId, hint: hintOf(watch, listed, readAt) })),
    judged: judged.judged,
    confirmed: judged.confirmed,
    checkedAt: checks ? readAt : null,
    trust: heldGood(record.trust ?? NEW_TRUST, readAt),
  };
}

function toPoll(
  changed: PageFindings['changed'],
  reported: ReadonlySet<string>,
  checked: string | null,
): string[] {
  const runIds = changed.map(({ watch }) => watch.runId).filter((id) => !reported.has(id));
  return checked === null ? runIds : [...runIds, checked];
}

/** Runs before their first read that no page has shown before. */
function unseenNews({ unseen }: PageFindings, { hints }: PageRecord, runs: readonly ListedRun[]) {
  const known = new Set(runs.filter((_, at) => hints[at] !== null).map(({ id }) => id));
  return unseen.filter(({ watch }) => !known.has(watch.runId));
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
  const { trust } = await deps.store.pageRecord(read.list, read.page, []);
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
  const { trust } = await deps.store.pageRecord(read.list, read.page, []);
  // Several pages of a list can fail at once: that is one failure.
  if ((trust?.since ?? 0) > from) return null;
  const next = givenUp(trust ?? NEW_TRUST, from);
  await deps.store.putTrust(read.list, next);
  if (reason === 'disagrees') await deps.store.loseWord(deps.source, deps.now());
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
