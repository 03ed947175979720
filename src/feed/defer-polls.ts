import { deferredTo, type PageFindings } from '../core/feed/page.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { ListFeedDependencies } from './list-feed.ts';

/** Under a short budget the first reads of runs that go on can wait: a list shows when they do not. */
export async function deferFirst(
  { schedule, now, random }: ListFeedDependencies,
  news: PageFindings['unseen'],
  withinMs: number,
): Promise<void> {
  if (withinMs === 0) return;
  await schedule.defer(news.flatMap(({ watch }) => moveOf(watch, now() + withinMs * random())));
}

/** A page that shows runs unchanged stands in for their next single polls. */
export async function deferPolls(
  { schedule, random }: ListFeedDependencies,
  unchanged: PageFindings['unchanged'],
  options: Omit<Parameters<typeof deferredTo>[1], 'random'>,
): Promise<void> {
  const moves = unchanged.flatMap((member) =>
    moveOf(member.watch, deferredTo(member, { ...options, random })),
  );
  await schedule.defer(moves);
}

/** The next poll of a watch goes from when it is due to another time; nothing where it has none. */
function moveOf(
  { runId, nextPollAt: from }: Pick<Watch, 'runId' | 'nextPollAt'>,
  to: number | null,
) {
  return from === null || to === null ? [] : [{ runId, from, to }];
}
