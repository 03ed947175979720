import type { ListedChange } from '../core/feed/page.ts';
import {
  isBacklog,
  isEarned,
  isReportable,
  isSample,
  mostChecks,
  snapshotOf,
  type ListWord,
} from '../core/feed/list-trust.ts';
import type { StoredWatch } from '../core/watch/watch.ts';
import type { ListFeedDependencies } from './list-feed.ts';

/** So many changes on a page are a burst: the other pages are read at once. */
const BURST = 5;

/** Confirming polls of what was reported by a list are spread over twice the time that they take. */
const SPREAD = 2;

/** What could not be written is polled after this time, ms. */
const FAULT_DELAY_MS = 5_000;

/** Ends and waits on a page, and how the list has done so far. */
interface ListedOutcomes {
  changed: readonly ListedChange[];
  /** The watches on the page as they are stored, by run. */
  stored: ReadonlyMap<string, StoredWatch>;
  /** Runs that an earlier read of the page has shown to change, and that no single poll has read since. */
  open: ReadonlySet<string>;
  word: ListWord;
  readAt: number;
  /** Active watches of the source: all of them may have to be confirmed. */
  watches: number;
}

/** What was reported by a list. */
interface Reported {
  runIds: ReadonlySet<string>;
  /** True while confirming polls wait and the list is taken at its word. */
  isBacklog: boolean;
  /** True where many runs change at once, too. */
  isBurst: boolean;
}

/**
 * Reports ends and waits by the word of a list that has earned it, while confirming polls would
 * wait. Each is committed under a claim as a poll's result. The watch remains active until a single
 * poll follows.
 */
export async function reportListed(
  deps: ListFeedDependencies,
  { changed, stored, open, word, readAt, watches }: ListedOutcomes,
): Promise<Reported> {
  const none = { runIds: new Set<string>(), isBacklog: false, isBurst: false };
  if (changed.length === 0 || !isEarned(word, readAt)) return none;
  const due = await deps.waitingPolls();
  const waiting = due + changed.length;
  if (!isBacklog(waiting, deps.requestsPerMs)) return none;
  const reportable = changed.filter(({ watch, listed }) => isReportable(watch, listed));
  const checked = checkedFirst(reportable, open, mostChecks(deps.requestsPerMs) - due);
  const candidates = new Map(
    reportable
      .filter(({ watch }) => !checked.has(watch.runId))
      .map((one) => [one.watch.runId, one]),
  );
  // The others wait for their confirming polls, which pages must not delay.
  if (candidates.size === 0) return none;
  const spreadMs = (SPREAD * Math.max(waiting, watches)) / deps.requestsPerMs;
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
  return {
    runIds: new Set(claims.map(({ member }) => member)),
    isBacklog: true,
    isBurst: candidates.size >= BURST,
  };
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
  claim: { member: string; token: string };
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
