import { chunksOf, groupBy } from '../arrays.ts';
import type { Claim } from './claim.ts';

/** Up to this many events of one type that wait for a receiver are messages of their own. */
export const FOLD_ABOVE = 3;

/** The most events that one message covers. */
export const FOLD_MOST = 500;

/** Claims that one message covers. The first makes the attempt, which is that of all. */
export type ClaimGroup = readonly [Claim, ...Claim[]];

/**
 * The most events of the messages that follow one about so many that was refused: half, or one where that is
 * few. Undefined where it was about one event.
 */
export function foldMostAfter(covered: number): number | undefined {
  if (covered === 1) return undefined;
  const half = Math.ceil(covered / 2);
  return half > FOLD_ABOVE ? half : 1;
}

/**
 * The messages that claims of one pool become: each its own, or, where more than a few events of runs
 * have one type, one for all of them. What a user asked for has its own, and events of a rejected message
 * remain apart from others. A claim takes together what may become one message, by the same rule
 * (`redis/stores/pool-claims.ts`); `fold` in `config/endpoint-schema.ts` says which endpoints have it.
 * @param foldMost the most events that one message covers; absent, each has its own
 */
export function foldClaims(claims: readonly Claim[], foldMost: number | undefined): ClaimGroup[] {
  if (foldMost === undefined || claims.length <= FOLD_ABOVE) {
    return claims.map((claim): ClaimGroup => [claim]);
  }
  const alone = claims.filter((claim) => !mayFold(claim));
  const alike = groupBy(claims.filter(mayFold), ({ stored: { delivery } }) =>
    JSON.stringify([delivery.eventType, delivery.foldMost]),
  );
  const folded = [...alike.values()].flatMap((same) => {
    if (same.length <= FOLD_ABOVE) return same.map((one) => [one]);
    const own = same[0]?.stored.delivery.foldMost ?? foldMost;
    return Array.from(chunksOf(same.toSorted(byAge), Math.min(own, foldMost)));
  });
  return [...alone.map((one) => [one]), ...folded].flatMap(([first, ...others]) =>
    first === undefined ? [] : [[first, ...others] as const],
  );
}

function mayFold({ stored: { delivery }, body }: Claim): boolean {
  const { urgent, runId, foldMost } = delivery;
  return body !== null && !urgent && runId !== '' && foldMost !== 1;
}

function byAge(a: Claim, b: Claim): number {
  return a.stored.delivery.createdAt - b.stored.delivery.createdAt;
}
