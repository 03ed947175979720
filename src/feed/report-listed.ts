import type { ListedChange } from '../core/feed/page.ts';
import type { PageRecord, StoredPlan } from '../core/feed/record.ts';
import {
  isBacklog,
  isEarned,
  isReportable,
  isSample,
  mostChecks,
  snapshotOf,
} from '../core/feed/list-trust.ts';
import type { HeldClaim } from '../core/source/schedule.ts';
import type { StoredWatch } from '../core/watch/watch.ts';
import type { ListFeedDependencies } from './list-feed.ts';

/** Confirming polls of what was reported by a list are spread over twice the time that they take. */
const SPREAD = 2;

/** What could not be written is polled after this time, ms. */
const FAULT_DELAY_MS = 5_000;

/** What a page shows, and how the list has done so far. */
interface ListedOutcomes extends Pick<PageRecord, 'watches' | 'word'> {
  changed: readonly ListedChange[];
  /** Runs that an earlier read of the page has shown to change, and that no single poll has read since. */
  open: ReadonlySet<string>;
  readAt: number;
  plan: Pick<StoredPlan, 'watches'>;
}

/**
 * Reports ends and waits by the word of a list that has earned it, while confirming polls would
 * wait. Each is committed under a claim as a poll's result. The watch remains active until a single
 * poll follows.
 * @returns the runs that were reported
 */
export async function reportListed(
  deps: ListFeedDependencies,
  { changed, watches, open, word, readAt, plan }: ListedOutcomes,
): Promise<ReadonlySet<string>> {
  if (changed.length === 0 || !isEarned(word, readAt)) return new Set();
  const due = await deps.waitingPolls();
  const waiting = due + changed.length;
  if (!isBacklog(waiting, deps.requestsPerMs)) return new Set();
  const reportable = changed.filter(({ watch, listed }) => isReportable(watch, listed));
  const checked = checkedFirst(reportable, open, mostChecks(deps.requestsPerMs) - due);
  const candidates = new Map(
    reportable
      .filter(({ watch }) => !checked.has(watch.runId))
      .map((one) => [one.watch.runId, one]),
  );
  const stored = new Map(watches.flatMap((one) => (one ? [[one.watch.runId, one]] : [])));
  // All active watches of the source may have to be confirmed.
  const spreadMs = (SPREAD * Math.max(waiting, plan.watches)) / deps.requestsPerMs;
  const claims = await deps.schedule.claimPolls([...candidates.keys()]);
  await Promise.all(
    claims.map((claim) => {
      const found = candidates.get(claim.member);
      const before = stored.get(claim.member);
      if (found === undefined || before === undefined) {
        return deps.schedule.release(claim, 'as before');
      }
      return report(deps, { claim, found, before, readAt, spreadMs });
    }),
  );
  return new Set(claims.map(({ member }) => member));
}

/** Runs that a single poll checks before they are reported. @param room for polls that are soon made */
function checkedFirst(
  reportable: readonly ListedChange[],
  open: ReadonlySet<string>,
  room: number,
): ReadonlySet<string> {
  const samples = reportable.map(({ watch }) => watch.runId).filter(isSample);
  const added = samples.filter((id) => !open.has(id)).slice(0, Math.max(0, room));
  return new Set([...samples.filter((id) => open.has(id)), ...added]);
}

interface OneReport {
  claim: HeldClaim;
  found: ListedChange;
  before: StoredWatch;
  readAt: number;
  spreadMs: number;
}

async function report(
  { schedule, observeListed, random }: ListFeedDependencies,
  { claim, found: { watch, listed }, before, readAt, spreadMs }: OneReport,
): Promise<void> {
  if (watch.run === null) return schedule.release(claim, 'as before');
  const run = snapshotOf(watch.run, listed, readAt);
  const written = await observeListed(
    { stored: before, token: claim.token, lagMs: 0, permitMs: null },
    { result: { kind: 'run', run }, readAt, confirmInMs: Math.round(spreadMs * random()) },
  ).catch(async (error: unknown) => {
    await schedule.release(claim, { inMs: FAULT_DELAY_MS });
    throw error;
  });
  if (written.is === 'unwatched') await schedule.release(claim, 'as before');
  else schedule.settled(claim, written.is === 'written' ? written.nextMs : null);
}
