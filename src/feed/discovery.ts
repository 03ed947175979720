import { setTimeout as delay } from 'node:timers/promises';
import { firstKind } from '../core/cadence/load.ts';
import { register, type RegisterDefaults } from '../core/watch/register.ts';
import type { StoredWatch, Subscription, WatchChange, WatchKey } from '../core/watch/watch.ts';
import {
  beginPass,
  cursorAfter,
  cutShortAt,
  datedPage,
  isNewestFirst,
  repeatPass,
  takePage,
  type DatedPage,
  type DiscoveryCursor,
  type Pass,
} from '../core/feed/discovery.ts';
import { MAX_PAGE_SIZE, type RunList, type RunPage } from '../core/feed/run-list.ts';
import type { RequestClaim, Schedule } from '../poll/schedule.ts';
import type { Permit } from '../poll/source-limiter.ts';
import type { PageRead, Sweep, WantedPage } from './read-page.ts';

/** The longest pause after a list could not be read, ms. */
const LONGEST_PAUSE_MS = 60_000;

/** How often a further page asks for a permit, ms. */
const ASK_EVERY_MS = 50;

interface DiscoveryStore {
  cursor(list: RunList): Promise<DiscoveryCursor | null>;
  /** @returns false where another process has the claim by now */
  moveCursor(list: RunList, claim: RequestClaim, cursor: DiscoveryCursor): Promise<boolean>;
}

/** Notes whether a list can be read, and raises an event with each change. */
export interface DiscoveryTroubles {
  /** @returns failures in a row */
  fail(list: RunList, message: string): Promise<number>;
  recover(list: RunList): Promise<void>;
}

/** Reports what is worth a line in the log. */
export interface DiscoveryLog {
  discovered(list: RunList, runs: number): void;
  /** @param oldest when the oldest run was created that was found, though `since` is earlier */
  cutShort(list: RunList, oldest: number): void;
}

export interface DiscoverRunsDependencies {
  list: RunList;
  /** Runs created before this are old, ms since the epoch; null for those before the first pass. */
  since: number | null;
  readPage: (sweep: Sweep, wanted: WantedPage) => Promise<PageRead>;
  /** A permit for one more page, without waiting; null while there is none. */
  claimPermit: () => Promise<Permit | null>;
  /** Keeps the claim. @returns false where another process has it by now */
  renew: (claim: RequestClaim) => Promise<boolean>;
  store: DiscoveryStore;
  troubles: DiscoveryTroubles;
  /** Before when the source takes no requests, milliseconds since the epoch; null where it does. */
  closedUntil: () => Promise<number | null>;
  /** Watches runs that no watch has yet. @returns how many those were */
  watch: (source: string, runIds: string[]) => Promise<number>;
  /** From the end of one pass to the next, ms. */
  everyMs: number;
  isStopping: () => boolean;
  log: DiscoveryLog;
  now: () => number;
}

/** A pass over a list from its first page on. @returns when to make the next one, in ms */
export type DiscoverPass = (sweep: Sweep, permit: Permit) => Promise<number>;

type Ending =
  /** `nextMs`: when the plan wants the first page again; null for no such wish. */
  | { kind: 'complete'; nextMs: number | null }
  /** Another process has the claim, or this one stops: nothing is lost by that. */
  | { kind: 'left' }
  /** `pausedMs`: for how long the whole source is paused for it. */
  | { kind: 'trouble'; message: string; pausedMs: number };

/**
 * Discovery: reads a list of runs down to what is known, and watches what is new. Runs are watched
 * before the cursor moves, and watching them twice does nothing, so that a process may die anywhere
 * and the next one reads the same again.
 */
export function createDiscoverRuns(deps: DiscoverRunsDependencies): DiscoverPass {
  const { list, troubles, everyMs } = deps;
  return async function discoverRuns(sweep, permit) {
    const ending = await read(deps, sweep, permit);
    if (ending.kind === 'left') return 0;
    if (ending.kind === 'complete') {
      await troubles.recover(list);
      return Math.min(everyMs, ending.nextMs ?? Infinity);
    }
    const failures = await troubles.fail(list, ending.message);
    return ending.pausedMs + restMs(everyMs, failures, ending.pausedMs);
  };
}

/**
 * How long a list rests that could not be read. Where the list alone has the source paused, it leaves
 * the source to single polls for at least as long as it keeps them waiting.
 */
function restMs(everyMs: number, failures: number, pausedMs: number): number {
  const longest = Math.max(everyMs, LONGEST_PAUSE_MS);
  const rest = Math.min(longest, everyMs * 2 ** (failures - 1));
  return failures === 1 ? rest : Math.max(rest, pausedMs);
}

async function read(deps: DiscoverRunsDependencies, sweep: Sweep, first: Permit): Promise<Ending> {
  let pass = beginPass(await deps.store.cursor(deps.list), deps.since);
  let place = { page: 1, size: MAX_PAGE_SIZE };
  let permit: Permit | null = first;
  let nextMs: number | null = null;
  while (permit !== null) {
    const { page, size } = place;
    const found: PageRead = await deps.readPage(sweep, { page, size, permit });
    if (found.outcome.kind !== 'page') return trouble(deps, found.outcome);
    const dated = usable(found.outcome.page);
    if (typeof dated === 'string') return { kind: 'trouble', message: dated, pausedMs: 0 };
    if (page === 1) ({ nextMs } = found);
    const step = takePage(pass, dated, page);
    await watchFresh(deps, step.fresh);
    pass = step.pass;
    if (step.isComplete && !pass.isUnsettled) return finish(deps, { sweep, pass, nextMs });
    if (step.isComplete) [pass, place] = [repeatPass(pass), { page: 1, size }];
    else if (dated.isCut) place = { page: 1, size: Math.max(1, found.outcome.page.runs.length) };
    else place = { page: page + 1, size };
    permit = await nextPermit(deps, sweep);
  }
  return { kind: 'left' };
}

/** The page, or why discovery cannot go by it. */
function usable(page: RunPage): DatedPage | string {
  const dated = datedPage(page);
  if (dated === null) return 'the list does not say when its runs were created';
  return isNewestFirst(dated) ? dated : 'the list does not begin with the newest runs';
}

/** Null where the claim was lost, or this process stops. */
async function nextPermit(
  { claimPermit, renew, isStopping }: DiscoverRunsDependencies,
  { claim }: Sweep,
): Promise<Permit | null> {
  while (!isStopping() && (await renew(claim))) {
    const permit = await claimPermit();
    if (permit !== null) return permit;
    await delay(ASK_EVERY_MS);
  }
  return null;
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
  { list, store, log }: DiscoverRunsDependencies,
  { sweep, pass, nextMs }: { sweep: Sweep; pass: Pass; nextMs: number | null },
): Promise<Ending> {
  const moved = await store.moveCursor(list, sweep.claim, cursorAfter(pass));
  if (!moved) return { kind: 'left' };
  const oldest = cutShortAt(pass);
  if (oldest !== null) log.cutShort(list, oldest);
  return { kind: 'complete', nextMs };
}

async function trouble(
  { closedUntil, now }: DiscoverRunsDependencies,
  outcome: Exclude<PageRead['outcome'], { kind: 'page' }>,
): Promise<Ending> {
  const until = outcome.kind === 'not_offered' ? null : await closedUntil();
  const pausedMs = until === null ? 0 : Math.max(0, Math.ceil(until - now()));
  return { kind: 'trouble', message: outcome.message, pausedMs };
}

interface DiscoveredStore {
  getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]>;
  commitMany(changes: WatchChange[]): Promise<(string[] | null)[]>;
}

export interface WatchDiscoveredDependencies {
  watches: DiscoveredStore;
  scheduleOf: (source: string) => Pick<Schedule, 'entered'> | undefined;
  /** Subscriptions of runs that were discovered, not registered. */
  subscriptions: () => Subscription[];
  defaults: RegisterDefaults;
  now: () => number;
}

/**
 * Watches runs that are not watched yet. A run that is watched already, or was, does not change, so
 * that this can be done again and again. Returns a function that resolves with how many were new.
 */
export function createWatchDiscovered(deps: WatchDiscoveredDependencies) {
  const { watches, scheduleOf, subscriptions, defaults, now } = deps;
  return async function watchDiscovered(source: string, runIds: string[]): Promise<number> {
    const keys = runIds.map((runId) => ({ source, runId }));
    const stored = await watches.getMany(keys);
    const changes = keys
      .filter((_, at) => stored[at] === null)
      .map((key): WatchChange => {
        const { watch } = register(
          null,
          { ...key, subscriptions: subscriptions() },
          { now: now(), defaults },
        );
        const schedule = { does: 'enter', withinMs: 0, kind: firstKind(watch) } as const;
        return { before: null, after: watch, events: [], deliveries: [], samples: [], schedule };
      });
    // A registration made meanwhile has its own subscriptions.
    const written = changes.length === 0 ? [] : await watches.commitMany(changes);
    const created = written.filter((due) => due !== null).length;
    await scheduleOf(source)?.entered(created);
    return created;
  };
}
