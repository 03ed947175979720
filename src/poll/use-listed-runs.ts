import {
  compareWithList,
  judgeList,
  listedAs,
  reachOf,
  type ListFindings,
} from '../core/feed/list-findings.ts';
import { scheduleAfter } from '../core/feed/list-schedule.ts';
import { heldGood, nextSize, type ListStanding } from '../core/feed/list-standing.ts';
import { isTerminalStatus } from '../core/run/snapshot.ts';
import type { Watch } from '../core/watch/watch.ts';
import { reportLook, type Look, type LookAtListDependencies } from './list-look.ts';
import type { ListRuns } from './list-pages.ts';

/**
 * Lets single polls follow what a list says: those of changed runs come now, those of others later.
 * @returns when to look again, or in what single reads show that the list is not true
 */
export async function useListedRuns(
  deps: LookAtListDependencies,
  look: Look,
  { runs, pages }: ListRuns,
): Promise<{ nextReadAt: number } | { disagrees: string }> {
  const { list, standing, members, startedAt } = look;
  const readAt = deps.now();
  const others = await otherWatches(deps, look, runs);
  const known = new Map<string, Watch>([...members].map(([id, { watch }]) => [id, watch]));
  for (const watch of others) known.set(listedAs(watch.runId), watch);
  const verdict = judgeList({ runs, claims: standing.claims }, known, startedAt);
  if (verdict.disagrees !== null) return { disagrees: verdict.disagrees };

  const findings = compareWithList(members.values(), runs, readAt);
  const claims = [...verdict.open, ...newClaims(findings, verdict.open)];
  const size = nextSize(reachOf(runs, members), findings.missing.length === 0);
  const { putOff, recalled, toCheck, checkedAt, nextMs } = scheduleAfter(findings, {
    pages,
    minIntervalMs: deps.minIntervalMs,
    checkedAt: standing.checkedAt,
    now: readAt,
    random: deps.random,
  });
  await deps.lists.put(list, heldGood(standing, { size, claims, checkedAt }, deps.now()));
  await deps.polls.expedite(findings.changed);

  await deps.polls.defer(putOff);
  await deps.polls.recall(recalled);
  if (toCheck !== null) await deps.polls.expedite([toCheck]);
  const nextReadAt = startedAt + nextMs;
  reportLook(deps, look, { outcome: 'ok', message: null, nextReadAt, pages, findings });
  return { nextReadAt };
}

/** Watches that the list, or a claim of it, is about although they are no members, such as ended ones. */
async function otherWatches(
  { watches }: LookAtListDependencies,
  { list, standing, members }: Look,
  runs: ListRuns['runs'],
): Promise<Watch[]> {
  const underWay = [...runs.values()].filter(({ status }) => !isTerminalStatus(status));
  const about = [...underWay.map(({ id }) => id), ...standing.claims.map(({ runId }) => runId)];
  const others = [...new Set(about)].filter((runId) => !members.has(listedAs(runId)));
  const stored = await watches.getMany(others.map((runId) => ({ source: list.source, runId })));
  return stored.flatMap((one) => (one === null ? [] : [one.watch]));
}

/** A claim that is open already stands as it was first made. */
function newClaims({ claims }: ListFindings, open: ListStanding['claims']) {
  const known = new Set(open.map(({ runId }) => runId));
  return claims.filter(({ runId }) => !known.has(runId));
}
