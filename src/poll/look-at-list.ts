import { planBatch } from '../core/feed/batch.ts';
import { assertNever } from '../core/errors.ts';
import { listedAs } from '../core/feed/list-findings.ts';
import { leftAloneUntil } from '../core/feed/list-schedule.ts';
import {
  givenUp,
  NEW_STANDING,
  throttled,
  type FallbackReason,
} from '../core/feed/list-standing.ts';
import { grantedPauseMs } from '../core/source/throttle.ts';
import type { StoredWatch } from '../core/watch/watch.ts';
import {
  reportLook,
  type ClaimedLook,
  type Look,
  type LookAtListDependencies,
  type NextLook,
} from './list-look.ts';
import { readList, type ListAccess, type ListPermit, type ListReading } from './list-pages.ts';
import { useListedRuns } from './use-listed-runs.ts';

/** Looks held back by a pause do not all come in the instant of its end, ms. */
const PAUSE_SPREAD_MS = 1_000;

/**
 * The use case behind batch polling: read the list that many watched runs are on, expedite the
 * single polls of those that it shows changed and defer those of the others. Lists are hints: nothing here
 * writes a snapshot or makes an event. Returns a function from a list's id to the next look.
 */
export function createLookAtList(deps: LookAtListDependencies) {
  return async function lookAtList({ list, permit }: ClaimedLook): Promise<NextLook> {
    const access = accessTo(deps, list.source, permit);
    const startedAt = deps.now();
    const ground = await deps.lists.getForLook(list);
    const standing = ground.standing ?? NEW_STANDING;
    const members = membersOf(deps, ground.watches);
    const plan = planBatch([...members.values()], { ...deps, pages: 1 });

    if (access === null || members.size < 2) return end(deps, members, permit);
    const look = { list, standing, members, plan, startedAt };
    return { dueAt: await nextLook(deps, look, access) };
  };
}

/** Looks if this is the time to. @returns when to look again, milliseconds since the epoch */
async function nextLook(
  deps: LookAtListDependencies,
  look: Look,
  access: ListAccess,
): Promise<number> {
  const { list, standing, members, plan, startedAt } = look;
  const ground = { members: [...members.values()], plan, now: startedAt };
  const until = leftAloneUntil(standing, ground);
  if (until !== null) {
    access.permit.giveBack();
    return leaveAlone(deps, members, until);
  }
  const wanted = { workflowId: list.workflowId, size: standing.size, members, plan };
  return conclude(deps, look, await readList(wanted, access));
}

function accessTo(
  deps: LookAtListDependencies,
  source: string,
  permit: ListPermit,
): ListAccess | null {
  const [reader, budget] = [deps.readerOf(source), deps.budgetOf(source)];
  return reader === undefined || budget === undefined ? null : { reader, budget, permit };
}

function membersOf({ memberOf }: LookAtListDependencies, watches: StoredWatch[]) {
  const members = watches.flatMap((stored) => memberOf(stored) ?? []);
  return new Map(members.map((member) => [listedAs(member.watch.runId), member]));
}

async function end(
  { polls }: LookAtListDependencies,
  members: Look['members'],
  permit: ListPermit,
): Promise<null> {
  permit.giveBack();
  await polls.recall([...members.values()]);
  return null;
}

/** While the list is not read, every run is polled at its own pace. */
async function leaveAlone(
  { polls }: LookAtListDependencies,
  members: Look['members'],
  until: number,
): Promise<number> {
  await polls.recall([...members.values()]);
  return until;
}

async function conclude(
  deps: LookAtListDependencies,
  look: Look,
  reading: ListReading,
): Promise<number> {
  switch (reading.kind) {
    case 'runs': {
      const used = await useListedRuns(deps, look, reading);
      if ('nextReadAt' in used) return used.nextReadAt;
      return fallBack(deps, look, { reason: 'disagrees', message: used.disagrees });
    }
    case 'rate_limited':
      return slowDown(deps, look, reading);
    case 'too_large':
      return fallBack(deps, look, { reason: 'too_large', message: 'its runs are too large' });
    case 'not_offered':
    case 'unauthorized':
    case 'forbidden':
    case 'unavailable':
    case 'invalid_response':
      return fallBack(deps, look, { reason: reading.kind, message: reading.message });
    default:
      return assertNever(reading);
  }
}

async function slowDown(
  deps: LookAtListDependencies,
  look: Look,
  trouble: Extract<ListReading, { kind: 'rate_limited' }>,
): Promise<number> {
  const untilMs = deps.now() + grantedPauseMs(trouble.retryAfterMs);
  const standing = throttled(look.standing);
  const { message } = trouble;
  if (standing === null) {
    return fallBack(deps, look, { reason: 'throttled', message, from: untilMs });
  }
  await deps.lists.put(look.list, standing);
  reportLook(deps, look, { outcome: 'rate_limited', message, nextReadAt: untilMs });
  return untilMs + deps.random() * PAUSE_SPREAD_MS;
}

/** A process that dies on the way leaves the rest to whoever finds the list given up. */
async function fallBack(
  deps: LookAtListDependencies,
  look: Look,
  { reason, message, from }: { reason: FallbackReason; message: string; from?: number },
): Promise<number> {
  const standing = givenUp(look.standing, from ?? deps.now());
  await deps.lists.put(look.list, standing);
  reportLook(deps, look, { outcome: reason, message, nextReadAt: standing.since });
  return leaveAlone(deps, look.members, standing.since);
}
