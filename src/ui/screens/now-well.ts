import { h, type VNode } from 'preact';
import { api } from '../api/calls.ts';
import { plural } from '../parts/format.ts';
import { useLoaded } from '../parts/use.ts';
import { FirstRun } from './runs-empty.tsx';

/** Why nothing needs a person: all is well, or nothing is watched at all. */
export function useAllWell(): { title: string; detail?: VNode } | null {
  const { value } = useLoaded(
    'well',
    async (signal) => {
      const count = async (query: Record<string, string>) => {
        const page = await api.watches({ ...query, limit: 1 }, signal);
        return page.total ?? page.data.length;
      };
      return {
        all: await count({}),
        active: await count({ state: 'active' }),
        day: await count({ since: '24h' }),
        failed: await count({ since: '24h', status: 'failed' }),
      };
    },
    { everyMs: 30_000 },
  );
  if (value === null) return null;
  const { all, active, day, failed } = value;
  if (all === 0)
    return { title: 'Nothing needs a person: nothing is watched.', detail: h(FirstRun, {}) };
  const lost = failed === 0 ? 'None' : countOf(failed);
  return {
    title: 'Nothing needs a person.',
    detail: h(
      'p',
      {},
      `${lost} of ${plural(day, 'run')} failed in 24 h. ${plural(active, 'run')} ${active === 1 ? 'is' : 'are'} being watched.`,
    ),
  };
}

const countOf = (count: number) => String(count);
