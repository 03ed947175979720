import { isUuid } from './snapshot.ts';

/**
 * What people recognise of the id of a run or workflow: its last part, and of a UUID the first eight letters.
 * A lookup finds the run by it.
 */
export function shortId(id: string): string {
  const last = lastPartOf(id);
  return isUuid(last) ? last.slice(0, 8) : last;
}

/** What follows the last slash of an id. */
export function lastPartOf(id: string): string {
  return id.slice(id.lastIndexOf('/') + 1);
}

/** How an id is shown. */
export type IdText = (id: string) => string;

/**
 * @param ids all that are shown together: where two of them would look alike, they are whole
 * @param short of one id, where they are not of runs or workflows
 */
export function shortIds(ids: Iterable<string>, short: IdText = shortId): IdText {
  const alike = new Map<string, Set<string>>();
  for (const id of ids) {
    const same = alike.get(short(id));
    if (same === undefined) alike.set(short(id), new Set([id]));
    else same.add(id);
  }
  return (id) => ((alike.get(short(id))?.size ?? 0) > 1 ? id : short(id));
}
