/** What a read of a page showed of where it lies. Creation times by Noxus, ms since the epoch. */
export interface PageMark {
  /** From 1. */
  page: number;
  newest: number;
  oldest: number;
  runs: number;
  /** How many of them are watched and go on. */
  watched: number;
  /** True where no page follows. */
  isLast: boolean;
}

/** A point of a list: so many runs are newer than this creation time. */
interface Point {
  at: number;
  offset: number;
}

/**
 * Where runs stand in a list, by their creation times: between the pages read, by interpolation;
 * beyond the last one, by its density. Runs that were created at once stand where pages have shown
 * watched runs. Without that they share what lies between, and may go on to the next page. Where
 * nothing was read, the watched runs alone count.
 * @param createdAts creation times of the watched runs on the list, the newest first
 * @returns for each of them, how many runs come before it
 */
export function offsetsOf(
  createdAts: readonly number[],
  marks: readonly PageMark[],
  size: number,
): number[] {
  const layout = layoutOf(marks, size);
  return sameTimes(createdAts).flatMap(({ createdAt, first, count }) => {
    const { least, most } = rangeAt(createdAt, count, layout);
    const shown = shownBetween(least, most, { marks, size });
    const isShown = shown.length >= count;
    return Array.from({ length: count }, (_, at) => {
      const offset = isShown ? shown[Math.floor((at * shown.length) / count)] : undefined;
      return Math.max(first + at, offset ?? Math.floor(least + ((most - least) * at) / count));
    });
  });
}

/** Offsets of the watched runs that pages have shown in a range; none where one of them was not read. */
function shownBetween(
  least: number,
  most: number,
  { marks, size }: { marks: readonly PageMark[]; size: number },
): number[] {
  const [first, last] = [Math.floor(least / size) + 1, Math.floor(most / size) + 1];
  if (first === last) return [];
  const within = marks.filter(({ page }) => page >= first && page <= last);
  if (within.length <= last - first) return [];
  return within
    .toSorted((a, b) => a.page - b.page)
    .flatMap(({ page, watched }) =>
      Array.from({ length: watched }, () => Math.max(least, (page - 1) * size)),
    );
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

interface Layout {
  points: Point[];
  /** Runs that follow the last point, each ms. */
  perMs: number;
  /** How many runs come before the last one of the list; Infinity where that was not read. */
  end: number;
}

function layoutOf(marks: readonly PageMark[], size: number): Layout {
  const sorted = [...marks].sort((a, b) => a.page - b.page);
  const last = sorted.at(-1);
  const points = pointsOf(sorted, size);
  return {
    points,
    perMs: last === undefined || last.isLast ? 0 : densityOf(last),
    end: last?.isLast === true ? (points.at(-1)?.offset ?? 0) : Infinity,
  };
}

function densityOf({ newest, oldest, runs }: PageMark): number {
  return runs / Math.max(1, newest - oldest);
}

/**
 * The least and the most runs that come before one of this creation time. What was read does not show
 * how far those of one time reach: each of the watched ones takes up a place on either side.
 * @param count how many watched runs have this creation time
 */
function rangeAt(
  createdAt: number,
  count: number,
  { points, perMs, end }: Layout,
): { least: number; most: number } {
  const [newer, older] = [
    countThat(points, ({ at }) => at > createdAt),
    countThat(points, ({ at }) => at >= createdAt),
  ];
  const [before, after] = [points[newer - 1], points[older]];
  const others = count - 1;
  const bound = after === undefined ? end : after.offset - 1;
  const [first, last] = [points[newer], points[older - 1]];
  if (older > newer && first !== undefined && last !== undefined) {
    return {
      least: Math.max(before === undefined ? 0 : before.offset + 1, first.offset - others),
      most: Math.min(bound, last.offset + others),
    };
  }
  if (before === undefined) return { least: 0, most: 0 };
  const offset = before.offset + (before.at - createdAt) * slope(before, after, perMs);
  return { least: offset, most: Math.max(offset, Math.min(bound, offset + others)) };
}

/** Runs each ms between two points. */
function slope(before: Point, after: Point | undefined, perMs: number): number {
  return after === undefined ? perMs : (after.offset - before.offset) / (before.at - after.at);
}

/** How many points from the first on are so; those after them are not. */
function countThat(points: readonly Point[], is: (point: Point) => boolean): number {
  let [low, high] = [0, points.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const point = points[middle];
    if (point !== undefined && is(point)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The later in the list, the older: what contradicts that was read at another time, and is left out. */
function pointsOf(sorted: readonly PageMark[], size: number): Point[] {
  const points: Point[] = [];
  for (const { page, newest, oldest, runs } of sorted) {
    const offset = (page - 1) * size;
    for (const point of [
      { at: newest, offset },
      { at: oldest, offset: offset + Math.max(0, runs - 1) },
    ]) {
      if (point.at <= (points.at(-1)?.at ?? Infinity)) points.push(point);
    }
  }
  return points;
}
