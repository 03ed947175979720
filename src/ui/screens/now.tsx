import { api } from '../api/calls.ts';
import type { Source } from '../api/types.ts';
import { href } from '../app/router.ts';
import { Figure, Header } from '../parts/basics.tsx';
import { shortText } from '../../core/time.ts';
import { countText, lengthText, percentText } from '../parts/format.ts';
import { now, useLoaded } from '../parts/hooks.ts';
import { Lanes } from './now-lanes.tsx';
import { Needs } from './now-needs.tsx';

/** What needs a person, what runs, and whether runwatch itself keeps up. */
export function Now() {
  return (
    <div class="now">
      <Header title="Now" />
      <Strip />
      <Needs />
      <Lanes />
    </div>
  );
}

/** Whether runwatch keeps up: its sources, its budget, its polls, and its outbox. */
function Strip() {
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
  const away = all.filter(({ state }) => state !== 'answering' && state !== 'inconsistent');
  const used = usedShare(all);
  const overdue = oldestOverdue(all);
  return (
    <div class="figures">
      <Figure name="Watched now" href={href('/runs', { state: 'active' })}>
        {active?.total === undefined ? '–' : countText(active.total)}
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
  /** When the oldest delivery that waits was created; null where none does. */
  oldestAt: string | null;
}

async function loadOutbox(signal: AbortSignal): Promise<Outbox> {
  const { data } = await api.endpoints(signal);
  const waiting = data.reduce((sum, { counts }) => sum + counts.pending + counts.parked, 0);
  const times = data.flatMap(({ oldest_pending_at: at }) => at ?? []).sort();
  return { waiting, oldestAt: times[0] ?? null };
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
