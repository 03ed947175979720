import type { Redis } from 'ioredis';

/** Members looked at by one call of the script: bounds how long Redis is busy with it. */
const WALKED_AT_ONCE = 2_000;

interface PageRequest {
  /** Sorted sets that a member must be in; one at least. */
  indexes: string[];
  order: 'newest' | 'oldest';
  limit: number;
  /** The sorted set to look up names in; undefined where the members of the indexes are names. */
  directory?: string | undefined;
  /** The score at which the last page ended; undefined begins. */
  from?: string | undefined;
  /** Members examined by all calls together; beyond them, more matches may exist. */
  mostWalked?: number;
}

interface MemberPage {
  members: { id: string; score: string }[];
  /** The score to go on from; null on the last page. */
  next: string | null;
}

/**
 * One page of the members that are in all of the indexes. The smallest index is walked, the others
 * are asked; Redis never works on more than a bounded part in one go.
 */
export async function readPage(redis: Redis, request: PageRequest): Promise<MemberPage> {
  const indexes = await smallestFirst(redis, request.indexes);
  const keys = request.directory === undefined ? indexes : [...indexes, request.directory];
  const members: MemberPage['members'] = [];
  const { mostWalked = Infinity } = request;
  let from = request.from ?? '';
  let walked = 0;
  do {
    const wanted = request.limit - members.length;
    const reply = await redis.rwReadPage(
      keys.length,
      ...keys,
      request.order,
      from,
      wanted,
      WALKED_AT_ONCE,
      indexes.length,
    );
    from = reply.at(-1) ?? '';
    walked += WALKED_AT_ONCE;
    for (let at = 0; at + 1 < reply.length; at += 2) {
      members.push({ id: reply[at] ?? '', score: reply[at + 1] ?? '' });
    }
  } while (members.length < request.limit && from !== '' && walked < mostWalked);
  return { members, next: from === '' ? null : from };
}

async function smallestFirst(redis: Redis, indexes: string[]): Promise<string[]> {
  if (indexes.length < 2) return indexes;
  const sized = await Promise.all(
    indexes.map(async (index) => ({ index, size: await redis.zcard(index) })),
  );
  return sized.sort((a, b) => a.size - b.size).map(({ index }) => index);
}

/** The sorted sets that answer a filter; the one of all members where nothing is filtered by. */
export function filterIndexes(
  indexOf: (...filter: string[]) => string,
  filter: Record<string, string | undefined>,
): string[] {
  const wanted = Object.entries(filter).flatMap(([name, value]) =>
    value === undefined ? [] : [indexOf(name, value)],
  );
  return wanted.length === 0 ? [indexOf()] : wanted;
}

/** For each way of taking one value of each field, the sorted sets that such a member is in. */
export function filterGroups(
  indexOf: (...filter: string[]) => string,
  filter: Record<string, readonly string[] | undefined>,
): string[][] {
  const groups = Object.entries(filter).reduce<string[][]>(
    (all, [name, values]) =>
      values === undefined
        ? all
        : all.flatMap((group) => values.map((value) => [...group, indexOf(name, value)])),
    [[]],
  );
  return groups.map((group) => (group.length === 0 ? [indexOf()] : group));
}

/**
 * One page of the members that are in all indexes of one of the groups. Groups have no member in
 * common, and scores are unique in all of them.
 */
export async function readMergedPage(
  redis: Redis,
  { groups, ...request }: Omit<PageRequest, 'indexes'> & { groups: string[][] },
): Promise<MemberPage> {
  const pages = await Promise.all(
    groups.map((indexes) => readPage(redis, { ...request, indexes })),
  );
  const [only] = pages;
  if (only !== undefined && pages.length === 1) return only;
  const sign = request.order === 'newest' ? -1 : 1;
  const found = pages
    .flatMap(({ members }) => members)
    .sort((a, b) => sign * (Number(a.score) - Number(b.score)));
  const members = found.slice(0, request.limit);
  const isLast = found.length <= request.limit && pages.every((page) => page.next === null);
  return { members, next: isLast ? null : (members.at(-1)?.score ?? null) };
}
