import { deferredTo, type PageFindings } from '../core/feed/page.ts';
import type { ListFeedDependencies } from './list-feed.ts';

/** Under a short budget the first reads of runs that go on can wait: a list shows when they do not. */
export async function deferFirst(
  { schedule, now, random }: ListFeedDependencies,
  news: PageFindings['unseen'],
  withinMs: number,
): Promise<void> {
  if (withinMs === 0) return;
  const moves = news.flatMap(({ watch: { runId, nextPollAt: from } }) =>
    from === null ? [] : [{ runId, from, to: now() + withinMs * random() }],
  );
  await schedule.defer(moves);
}

/** A page that shows runs unchanged stands in for their next single polls. */
export async function deferPolls(
  { schedule, random }: ListFeedDependencies,
  unchanged: PageFindings['unchanged'],
  options: Omit<Parameters<typeof deferredTo>[1], 'random'>,
): Promise<void> {
  const moves = unchanged.flatMap((member) => {
    const { runId, nextPollAt: from } = member.watch;
    const to = deferredTo(member, { ...options, random });
    return from === null || to === null ? [] : [{ runId, from, to }];
  });
  await schedule.defer(moves);
}
