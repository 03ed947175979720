import { api } from '../api/calls.ts';
import type { Endpoint, Source } from '../api/types.ts';
import { href } from '../app/router.ts';
import { Figure } from '../parts/basics.tsx';
import { countText, lengthText, percentText, shortText } from '../parts/format.ts';
import { now, useLoaded } from '../parts/use.ts';

/** Whether runwatch keeps up: its sources, its budget, its polls, and its outbox. */
export function Strip() {
  const sources = useLoaded('sources', (signal) => api.sources(signal), { everyMs: 5_000 }).value;
  const outbox = useLoaded('outbox', loadOutbox, { everyMs: 5_000 }).value;
  const active = useLoaded(
    'active',
    (signal) => api.watches({ state: 'active', limit: 1 }, signal),
    {
      on: ({ type }) => type !== 'run.progress',
      everyMs: 10_000,
    },
  ).value;
  const all = sources?.data ?? [];
  const away = all.filter(({ state }) => state !== 'answering');
  const used = usedShare(all);
  const overdue = oldestOverdue(all);
  return (
    <div class="figures">
      <Figure name="Watched now" href={href('/runs', { state: 'active' })}>
        {active?.total == null ? '–' : countText(active.total)}
      </Figure>
      <Figure
        name="Sources answering"
        href={href('/system')}
        tone={away.length > 0 ? 'bad' : 'plain'}
      >
        {sources === null ? '–' : `${all.length - away.length} of ${all.length}`}
      </Figure>
      <Figure
        name="Request budget used"
        href={href('/system')}
        tone={(used ?? 0) >= 1 ? 'warn' : 'plain'}
      >
        {used === null ? '–' : percentText(used)}
      </Figure>
      <Figure
        name="Oldest overdue poll"
        href={href('/system')}
        tone={overdue > 0 ? 'warn' : 'plain'}
      >
        {sources === null ? '–' : overdue === 0 ? 'none' : lengthText(overdue)}
      </Figure>
      <Figure
        name="Oldest in the outbox"
        href={href('/deliveries', { state: 'pending,parked' })}
        tone={ageTone(outbox)}
      >
        {outboxText(outbox)}
      </Figure>
    </div>
  );
}

function usedShare(sources: readonly Source[]): number | null {
  if (sources.length === 0) return null;
  return Math.max(
    ...sources.map(({ rate_limit: { used, requests } }) => used / Math.max(1, requests)),
  );
}

function oldestOverdue(sources: readonly Source[]): number {
  return Math.max(0, ...sources.map(({ overdue }) => overdue?.oldest_ms ?? 0));
}

interface Outbox {
  waiting: number;
  /** The oldest delivery that waits; null where none does, or the daemon does not say. */
  oldestAt: string | null;
}

type WithAge = Endpoint & { oldest_pending_at?: string | null };

async function loadOutbox(signal: AbortSignal): Promise<Outbox> {
  const { data }: { data: WithAge[] } = await api.endpoints(signal);
  const waiting = data.reduce((sum, { counts }) => sum + counts.pending + counts.parked, 0);
  const times = data.flatMap(({ oldest_pending_at: at }) => (at == null ? [] : [at])).sort();
  if (waiting === 0 || times.length > 0) return { waiting, oldestAt: times[0] ?? null };
  const page = await api.deliveries({ state: 'pending,parked', limit: 200 }, signal);
  const last = page.next_cursor === null ? page.data.at(-1) : undefined;
  return { waiting, oldestAt: last?.created_at ?? null };
}

function outboxText(outbox: Outbox | null): string {
  if (outbox === null) return '–';
  if (outbox.waiting === 0) return 'empty';
  return outbox.oldestAt === null
    ? `${countText(outbox.waiting)} waiting`
    : shortText(now.value - Date.parse(outbox.oldestAt));
}

function ageTone(outbox: Outbox | null): string {
  const at = outbox?.oldestAt ?? null;
  return at !== null && now.value - Date.parse(at) > 60_000 ? 'warn' : 'plain';
}
