import { plural } from './format.ts';
import type { News } from './news.ts';

/** Shows the new rows that wait, once a user wants them. */
export function NewsButton({ news, noun }: { news: News; noun: string }) {
  if (news.count === 0) return null;
  return (
    <button type="button" class="news" onClick={news.show}>
      {plural(news.count, noun)}
    </button>
  );
}
