/** What a read of a page showed of where it lies. Creation times by the source, ms since the epoch. */
export interface PageMark {
  /** From 1. */
  page: number;
  newest: number;
  oldest: number;
  runs: number;
  /** True where no page follows. */
  isLast: boolean;
  /** When it was read, ms since the epoch. */
  at: number;
}

/**
 * What a read of a page shows of where it lies.
 * @param read.createdAts of the runs on it, as far as they are known
 */
export function markOf({
  createdAts,
  ...read
}: Omit<PageMark, 'newest' | 'oldest'> & { createdAts: readonly number[] }): PageMark {
  return { ...read, newest: Math.max(...createdAts), oldest: Math.min(...createdAts) };
}

/** A point of a list: so many runs come before one of this creation time. */
interface Point {
  at: number;
  offset: number;
}

/**
 * Where runs stand in a list, by their creation times: between the pages read, by interpolation;
 * beyond the last one, by its density. What has come since a page was read has moved it on: a page that
 * is not read any more would else seem to follow those that are. Runs that were created at once share what
 * lies between, and may go on to the next page. Where nothing was read, the watched runs alone count.
 * @param createdAts creation times of the watched runs on the list, the newest first
 * @returns for each of them, how many runs come before it
 */
export function offsetsOf(
  createdAts: readonly number[],
  marks: readonly PageMark[],
  size: number,
): number[] {
  const points = pointsOf(marks, size, createdAts);
  let [newer, older] = [0, 0];
  return sameTimes(createdAts).flatMap(({ createdAt, first, count }) => {
    while ((points[newer]?.at ?? -Infinity) > createdAt) newer += 1;
    older = Math.max(older, newer);
    while (points[older]?.at === createdAt) older += 1;
    const { least, most } = rangeOf({ createdAt, count }, points, { newer, older });
    return Array.from({ length: count }, (_, at) =>
      Math.max(first + at, Math.floor(least + ((most - least) * at) / count)),
    );
  });
}

/** Times, each once, with the place of the first and how many there are. */
function sameTimes(createdAts: readonly number[]) {
  const groups: { createdAt: number; first: number; count: number }[] = [];
  for (const [at, createdAt] of createdAts.entries()) {
    const last = groups.at(-1);
    if (last?.createdAt === createdAt) last.count += 1;
    else groups.push({ createdAt, first: at, count: 1 });
  }
  return groups;
}

/** The later in the list, the older: what contradicts that was read at another time, and is left out. */
function pointsOf(
  marks: readonly PageMark[],
  size: number,
  createdAts: readonly number[],
): Point[] {
  const points: Point[] = [];
  const sorted = [...marks].sort((a, b) => a.page - b.page);
  const aheadMs = sourceAheadMs(marks);
  let last: PageMark | undefined;
  for (const mark of sorted) {
    const { page, newest, oldest, runs, at } = mark;
    const since = runsSince(at + aheadMs, withEnd(points, last), createdAts);
    const offset = (page - 1) * size + since;
    const ends = [
      { at: newest, offset },
      { at: oldest, offset: offset + Math.max(0, runs - 1) },
    ];
    for (const point of ends) if (point.at <= (points.at(-1)?.at ?? Infinity)) points.push(point);
    last = mark;
  }
  return withEnd(points, last);
}

function withEnd(points: Point[], last: PageMark | undefined): Point[] {
  const end = points.at(-1);
  return last === undefined || end === undefined ? points : [...points, pointBeyond(last, end)];
}

/**
 * How far the clock of the source is ahead of ours, at the least, ms: no run was created after it was read. How far it
 * may be behind is not known, so that runs that came within as much time after a read are not held to be new.
 */
function sourceAheadMs(marks: readonly PageMark[]): number {
  return Math.max(0, ...marks.map(({ newest, at }) => newest - at));
}

/**
 * How many runs have come since this time, by the source's clock. They stand before what was read then, or are watched
 * and newer than all that was read.
 */
function runsSince(time: number, points: readonly Point[], createdAts: readonly number[]): number {
  const older = points.findIndex(({ at }) => at <= time);
  const [before, after] = [points[older - 1], points[older]];
  if (before !== undefined && after !== undefined) return placeBetween(before, after, time);
  return createdAts.filter((at) => at > time && at < Infinity).length;
}

/** The list goes on as its last page that was read, or does not go on at all. */
function pointBeyond({ newest, oldest, runs, isLast }: PageMark, end: Point): Point {
  if (isLast) return { at: -Infinity, offset: end.offset + 1 };
  const pages = 1e6;
  return { at: end.at - Math.max(1, newest - oldest) * pages, offset: end.offset + runs * pages };
}

/**
 * The least and the most runs that come before those of a creation time. What was read does not show
 * how far these reach: each of the watched ones takes up a place on either side.
 * @param newer how many points are newer; `older` counts those of this time, too
 */
function rangeOf(
  { createdAt, count }: { createdAt: number; count: number },
  points: readonly Point[],
  { newer, older }: { newer: number; older: number },
): { least: number; most: number } {
  const [before, after] = [points[newer - 1], points[older]];
  const [first, last] = [points[newer], points[older - 1]];
  const bound = (after?.offset ?? 0) - 1;
  if (older > newer && first !== undefined && last !== undefined) {
    const least = Math.max((before?.offset ?? -1) + 1, first.offset - count + 1);
    return { least, most: Math.min(bound, last.offset + count - 1) };
  }
  if (before === undefined || after === undefined) return { least: 0, most: 0 };
  const offset = placeBetween(before, after, createdAt);
  return { least: offset, most: Math.max(offset, Math.min(bound, offset + count - 1)) };
}

function placeBetween(before: Point, after: Point, createdAt: number): number {
  const perMs = (after.offset - before.offset) / (before.at - after.at);
  return before.offset + (before.at - createdAt) * perMs;
}
