import { claimOf, isChange, isStale, judgeClaim, type Claim } from './list-claim.ts';
import type { ListMember } from './list-member.ts';
import type { ListedRun } from './run-list.ts';
import type { Watch } from '../watch/watch.ts';

/** What a sweep of a list says of its members. */
export interface ListFindings {
  /** Members to poll at once, and the hints that the list gave for them. */
  changed: ListMember[];
  claims: Claim[];
  /** Members for which the list feed replaces the next single poll. */
  unchanged: ListMember[];
  /** Members too far down the list, or no longer on it. */
  missing: ListMember[];
}

/** The key that matches listed runs with watches: ids compare as in single polls. */
export function listedAs(runId: string): string {
  return runId.toLowerCase();
}

/** @param lookedAt when the list was read, milliseconds since the epoch */
export function compareWithList(
  members: Iterable<ListMember>,
  runs: ReadonlyMap<string, ListedRun>,
  lookedAt: number,
): ListFindings {
  const findings: ListFindings = { changed: [], claims: [], unchanged: [], missing: [] };
  for (const member of members) {
    const { watch, followsProgress } = member;
    const listed = runs.get(listedAs(watch.runId));
    if (listed === undefined) {
      findings.missing.push(member);
    } else if (isChange(watch.run, listed, followsProgress)) {
      findings.changed.push(member);
      findings.claims.push(claimOf(watch, listed, lookedAt));
    } else {
      findings.unchanged.push(member);
    }
  }
  return findings;
}

/** How many runs of a list come before and including its last member. */
export function reachOf(
  runs: ReadonlyMap<string, ListedRun>,
  members: ReadonlyMap<string, ListMember>,
): number {
  return [...runs.keys()].findLastIndex((id) => members.has(id)) + 1;
}

/**
 * Whether single polls contradict a list, and if not, which of its hints they have not judged yet.
 * @param watches by {@link listedAs}, including runs that have ended
 */
export function judgeList(
  { runs, claims }: { runs: ReadonlyMap<string, ListedRun>; claims: readonly Claim[] },
  watches: ReadonlyMap<string, Watch>,
  lookedAt: number,
): { disagrees: string | null; open: Claim[] } {
  const open: Claim[] = [];
  for (const claim of claims) {
    const watch = watches.get(listedAs(claim.runId));
    const verdict = watch === undefined ? 'settled' : judgeClaim(claim, watch);
    if (verdict === 'refuted') return { disagrees: refutation(claim, watch), open: [] };
    if (verdict === 'open') open.push(claim);
  }
  for (const [id, listed] of runs) {
    const watch = watches.get(id);
    if (watch === undefined || !isStale(listed, watch, lookedAt)) continue;
    return { disagrees: contradiction(watch.runId, listed.status, watch), open: [] };
  }
  return { disagrees: null, open };
}

function refutation({ runId, listed }: Claim, watch: Watch | undefined): string {
  return contradiction(runId, `${listed.status} at ${listed.progress}`, watch);
}

function contradiction(runId: string, listed: string, watch: Watch | undefined): string {
  const read = `${watch?.run?.status ?? 'unknown'} at ${watch?.run?.progress ?? 0}`;
  return `the list has run ${runId} ${listed}, a single read has it ${read}`;
}
