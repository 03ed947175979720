import type { Claim } from './delivery.ts';

/** Up to this many events of one type that wait for a receiver are messages of their own. */
export const FOLD_ABOVE = 3;

/** The most events that one message covers. */
export const FOLD_MOST = 500;

/** Claims that one message covers. The first makes the attempt, which is that of all. */
export type ClaimGroup = readonly [Claim, ...Claim[]];

/**
 * The messages that claims of one pool become: each its own, or, where more than a few events of runs
 * have one type, one for all of them. What a user asked for has its own.
 * @param foldMost the most events that one message covers; absent, each has its own
 */
export function groupClaims(claims: readonly Claim[], foldMost: number | undefined): ClaimGroup[] {
  if (foldMost === undefined || claims.length <= FOLD_ABOVE) {
    return claims.map((claim): ClaimGroup => [claim]);
  }
  const alone = claims.filter((claim) => !mayFold(claim));
  const folded = byType(claims.filter(mayFold)).flatMap((same) =>
    same.length > FOLD_ABOVE ? chunks(same.toSorted(byAge), foldMost) : same.map((one) => [one]),
  );
  return [...alone.map((one) => [one]), ...folded].flatMap(([first, ...others]) =>
    first === undefined ? [] : [[first, ...others] as const],
  );
}

function mayFold({ stored: { delivery }, body }: Claim): boolean {
  return body !== null && !delivery.urgent && delivery.runId !== '';
}

function byType(claims: readonly Claim[]): Claim[][] {
  const found = new Map<string, Claim[]>();
  for (const claim of claims) {
    const { eventType } = claim.stored.delivery;
    const same = found.get(eventType);
    if (same === undefined) found.set(eventType, [claim]);
    else same.push(claim);
  }
  return [...found.values()];
}

function byAge(a: Claim, b: Claim): number {
  return a.stored.delivery.createdAt - b.stored.delivery.createdAt;
}

function chunks(claims: readonly Claim[], size: number): Claim[][] {
  const count = Math.ceil(claims.length / size);
  return Array.from({ length: count }, (_, at) => claims.slice(at * size, (at + 1) * size));
}
