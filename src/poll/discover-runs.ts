import {
  beginPass,
  cursorAfter,
  datedPage,
  isNewestFirst,
  repeatPass,
  takePage,
  type DiscoveryCursor,
  type Pass,
} from '../core/feed/discovery.ts';
import type { ListOutcome, ListQuestion, RunList, RunPage } from '../core/feed/run-list.ts';

/** Runs on a page: the most that Noxus gives. */
const PAGE_SIZE = 100;

/** After so many pages the head of the list is looked at again: what has just begun cannot wait. */
const HEAD_EVERY = 10;

/** The longest pause after a list could not be read, ms. */
const LONGEST_PAUSE_MS = 60_000;

interface DiscoveryStore {
  takeTurn(list: RunList, token: string, ms: number): Promise<boolean>;
  keepTurn(list: RunList, token: string, ms: number): Promise<boolean>;
  cursor(list: RunList): Promise<DiscoveryCursor | null>;
  moveCursor(list: RunList, token: string, cursor: DiscoveryCursor): Promise<boolean>;
  fail(list: RunList, message: string): Promise<number>;
  recover(list: RunList): Promise<boolean>;
}

/** Tells of what is worth a line in the log. */
export interface DiscoveryLog {
  discovered(list: RunList, runs: number): void;
  /** Once, until the list can be read again. */
  unavailable(list: RunList, message: string): Promise<void>;
  recovered(list: RunList): Promise<void>;
}

export interface DiscoverRunsDependencies {
  list: RunList;
  /** Reads a page within the source's budget; null when there was no leave for that in time. */
  readPage: (question: ListQuestion) => Promise<ListOutcome | null>;
  store: DiscoveryStore;
  /** Before when the source takes no requests, milliseconds since the epoch; null where it does. */
  closedUntil: (source: string) => Promise<number | null>;
  /** Watches runs that nobody watches yet. @returns how many those were */
  watch: (source: string, runIds: string[]) => Promise<number>;
  /** From the end of one reading to the next, ms. */
  everyMs: number;
  /** For how long a turn is kept by one page, ms: longer than reading that may take. */
  turnMs: number;
  isStopping: () => boolean;
  log: DiscoveryLog;
  newToken: () => string;
  now: () => number;
}

/** How a reading came to its end. */
type Ending =
  | { kind: 'complete' }
  /** Somebody else has the turn, or this process stops: nothing is lost by that. */
  | { kind: 'left' }
  /** `pausedMs`: for how long the whole source is left alone for it. */
  | { kind: 'trouble'; message: string; pausedMs: number };

/**
 * The use case behind discovery: reads a list of runs down to what is known, and watches what is new.
 * Runs are watched before the cursor moves, and watching them twice does nothing, so that a process
 * may die anywhere and the next one reads the same again. Returns a function that reads the list once,
 * if it is time and nobody else does.
 */
export function createDiscoverRuns(deps: DiscoverRunsDependencies) {
  const { list, store, log } = deps;

  return async function discoverRuns(): Promise<void> {
    const token = deps.newToken();
    if (!(await store.takeTurn(list, token, deps.turnMs))) return;
    const until = await deps.closedUntil(list.source);
    if (until !== null && until > deps.now()) {
      await store.keepTurn(list, token, Math.max(1, Math.ceil(until - deps.now())));
      return;
    }
    const ending = await read(deps, token);
    await store.keepTurn(list, token, await pauseAfter(ending));
  };

  /** How long nobody reads the list after a reading, ms. */
  async function pauseAfter(ending: Ending): Promise<number> {
    if (ending.kind === 'left') return 1;
    if (ending.kind === 'complete') {
      if (await store.recover(list)) await log.recovered(list);
      return deps.everyMs;
    }
    const failures = await store.fail(list, ending.message);
    if (failures === 1) await log.unavailable(list, ending.message);
    return ending.pausedMs + restMs(deps.everyMs, failures, ending.pausedMs);
  }
}

/**
 * How long a list rests that could not be read. Where it is the list alone that has the source paused,
 * it leaves the source to those who read runs for at least as long as it keeps them from that.
 */
function restMs(everyMs: number, failures: number, pausedMs: number): number {
  const longest = Math.max(everyMs, LONGEST_PAUSE_MS);
  const rest = Math.min(longest, everyMs * 2 ** (failures - 1));
  return failures === 1 ? rest : Math.max(rest, pausedMs);
}

/** Where in the list the reading is. */
interface Place {
  /** From 1. */
  page: number;
  size: number;
  /** The first page that was not read yet. */
  frontier: number;
  /** Pages read since the head of the list was. */
  sinceHead: number;
}

const HEAD: Place = { page: 1, size: PAGE_SIZE, frontier: 1, sinceHead: 0 };

async function read(deps: DiscoverRunsDependencies, token: string): Promise<Ending> {
  const { list, store } = deps;
  let pass = beginPass(await store.cursor(list));
  let place = HEAD;
  while (!deps.isStopping() && (await store.keepTurn(list, token, deps.turnMs))) {
    const { page, size } = place;
    const outcome = await deps.readPage({ workflowId: list.workflowId, page, size });
    if (outcome === null) continue;
    if (outcome.kind !== 'page') return trouble(deps, outcome);
    const dated = datedPage(outcome.page);
    if (dated === null) {
      const message = 'the list does not say when its runs were created';
      return { kind: 'trouble', message, pausedMs: 0 };
    }
    if (!isNewestFirst(dated)) {
      const message = 'the list does not begin with the newest runs';
      return { kind: 'trouble', message, pausedMs: 0 };
    }
    const step = takePage(pass, dated, page);
    await watchFresh(deps, step.fresh);
    pass = step.pass;
    if (!step.isComplete) {
      place = nextPlace(place, outcome.page, step.fresh.length > 0);
    } else if (pass.isUnsettled) {
      [pass, place] = [repeatPass(pass), { ...HEAD, size: place.size }];
    } else {
      return finish(deps, token, pass);
    }
  }
  return { kind: 'left' };
}

/** The oldest first, so that they are watched in the order in which they began. */
async function watchFresh(
  { list, watch, log }: DiscoverRunsDependencies,
  fresh: readonly { id: string }[],
): Promise<void> {
  if (fresh.length === 0) return;
  const watched = await watch(list.source, fresh.map(({ id }) => id).toReversed());
  if (watched > 0) log.discovered(list, watched);
}

async function finish(
  { list, store }: DiscoverRunsDependencies,
  token: string,
  pass: Pass,
): Promise<Ending> {
  const moved = await store.moveCursor(list, token, cursorAfter(pass));
  return { kind: moved ? 'complete' : 'left' };
}

async function trouble(
  { list, closedUntil, now }: DiscoverRunsDependencies,
  outcome: Exclude<ListOutcome, { kind: 'page' }>,
): Promise<Ending> {
  const until = outcome.kind === 'not_offered' ? null : await closedUntil(list.source);
  const pausedMs = until === null ? 0 : Math.max(0, Math.ceil(until - now()));
  return { kind: 'trouble', message: outcome.message, pausedMs };
}

/**
 * The page to be read next. Now and then that is the first again; from there it goes down to what is
 * known by now, and on from a page above the one where it stopped, for runs that were deleted
 * meanwhile have moved all others up.
 */
function nextPlace(place: Place, { isCut, runs }: RunPage, hasFresh: boolean): Place {
  if (isCut) return { ...HEAD, size: Math.max(1, runs.length) };
  const frontier = Math.max(place.frontier, place.page + 1);
  const sinceHead = place.sinceHead + 1;
  if (sinceHead >= HEAD_EVERY) return { ...place, page: 1, frontier, sinceHead: 0 };
  const isKnown = !hasFresh && place.page + 1 < frontier;
  return { ...place, page: isKnown ? frontier - 1 : place.page + 1, frontier, sinceHead };
}
