import { useState } from 'preact/hooks';
import { sum } from '../../core/arrays.ts';
import type { WatchQuery } from '../../client/types.ts';
import { api } from '../api/calls.ts';
import { may } from '../api/session.ts';
import type { Attention, AttentionKind } from '../api/types.ts';
import { attention } from '../app/attention.ts';
import { useKeys } from '../app/keys.ts';
import { address, go, href, isKiosk, runPath } from '../app/router.ts';
import { acknowledgeAlert, acknowledgeRun } from '../parts/acknowledge.tsx';
import { Empty, Loading, Section, Trouble } from '../parts/basics.tsx';
import { countText, plural } from '../parts/format.ts';
import { useLoaded } from '../parts/hooks.ts';
import { Glyph, type Tone } from '../parts/status.tsx';
import { Since } from '../parts/time.tsx';
import { workflowText } from '../parts/workflow-names.ts';
import { FirstRun } from './runs-empty.tsx';

/** Items that are shown before a user asks for more. */
const FEW = 12;

/** What needs a person, the oldest first. */
export function Needs() {
  const loaded = attention.value;
  const [isAll, setAll] = useState(false);
  const wanted = address.value.query.get('kind');
  if (loaded === null || (loaded.value === null && loaded.error === null)) return <Loading />;
  const { value, error, reload } = loaded;
  const all = value?.data ?? [];
  const items = all.filter(({ kind }) => wanted === null || kind === wanted);
  const shown = isAll ? items : items.slice(0, FEW);
  const total = value === null ? 0 : sum(Object.values(value.counts));
  return (
    <Section title="Needs a person" aside={<Kinds counts={value?.counts ?? {}} wanted={wanted} />}>
      <Trouble error={error} what="what needs a person" retry={reload} />
      {value !== null && all.length === 0 && <AllWell />}
      <NeedList items={shown} reload={reload} />
      {items.length > shown.length && (
        <button type="button" class="quiet" onClick={() => setAll(true)}>
          Show all {plural(Math.max(items.length, wanted === null ? total : 0), 'item')}
        </button>
      )}
    </Section>
  );
}

function Kinds({ counts, wanted }: { counts: Record<string, number>; wanted: string | null }) {
  const kinds = (Object.keys(KINDS) as AttentionKind[]).filter((kind) => (counts[kind] ?? 0) > 0);
  if (kinds.length < 2) return null;
  return (
    <div class="chips" role="group" aria-label="Kind">
      {kinds.map((kind) => (
        <a
          key={kind}
          class="chip"
          href={href('/', { kind: kind === wanted ? null : kind })}
          aria-current={kind === wanted ? 'true' : undefined}
        >
          {KINDS[kind].name} <span class="num count">{countText(counts[kind] ?? 0)}</span>
        </a>
      ))}
    </div>
  );
}

function NeedList({ items, reload }: { items: readonly Attention[]; reload: () => void }) {
  const [at, setAt] = useState(-1);
  const marked = items[Math.min(at, items.length - 1)];
  useKeys({
    j: () => setAt(Math.min(at + 1, items.length - 1)),
    k: () => setAt(Math.max(at - 1, 0)),
    Enter: () => {
      if (marked !== undefined) go(describe(marked).to);
    },
    a: () => {
      if (marked !== undefined && may.write.value) acknowledgeItem(marked, reload);
    },
  });
  return (
    <ol class="needs">
      {items.map((item) => (
        <Need key={JSON.stringify(item)} item={item} isMarked={item === marked} reload={reload} />
      ))}
    </ol>
  );
}

function Need({
  item,
  isMarked,
  reload,
}: {
  item: Attention;
  isMarked: boolean;
  reload: () => void;
}) {
  const shown: Item = describe(item);
  return (
    <li class={`need ${isMarked ? 'marked' : ''}`}>
      <Glyph tone={shown.tone} />
      <span class="need-kind">{shown.name}</span>
      <span class="need-what">
        <a href={shown.to}>{shown.what}</a>
        {shown.detail !== '' && <span class="faint need-detail">{shown.detail}</span>}
      </span>
      <span class="need-since right">
        <Since at={item.since} />
      </span>
      {shown.canAcknowledge && may.write.value && !isKiosk.value && (
        <button type="button" class="small" onClick={() => acknowledgeItem(item, reload)}>
          Acknowledge
        </button>
      )}
    </li>
  );
}

function acknowledgeItem(item: Attention, reload: () => void): void {
  const { run_id: id, source, alert_id: alert } = item;
  if (alert !== undefined) acknowledgeAlert(alert, describe(item).what, reload);
  else if (id !== undefined) acknowledgeRun({ run_id: id, source }, reload);
}

/** Nothing needs a person: says what that rests on. */
function AllWell() {
  const { value } = useLoaded('well', loadWell, { everyMs: 30_000 });
  if (value === null) return null;
  const { all, active, day, failed } = value;
  if (all === 0) return <FirstRun />;
  return (
    <Empty title="Nothing needs a person.">
      <p>
        {failed === 0 ? 'None' : countText(failed)} of {plural(day, 'run')} failed in 24 h.{' '}
        {plural(active, 'run')} {active === 1 ? 'is' : 'are'} being watched.
      </p>
    </Empty>
  );
}

async function loadWell(signal: AbortSignal) {
  const count = async (query: WatchQuery) => {
    const page = await api.watches({ ...query, limit: 1 }, signal);
    return page.total ?? page.data.length;
  };
  const [all, active, day, failed] = await Promise.all([
    count({}),
    count({ state: 'active' }),
    count({ since: '24h' }),
    count({ since: '24h', status: 'failed' }),
  ]);
  return { all, active, day, failed };
}

/** Something that needs a person, as it is shown. */
interface Item extends Place {
  name: string;
  tone: Tone;
  detail: string;
  canAcknowledge: boolean;
}

/** What it is about, and where it is seen to. */
interface Place {
  what: string;
  to: string;
}

const KINDS: Readonly<Record<AttentionKind, { name: string; tone: Tone }>> = {
  awaiting: { name: 'Awaiting', tone: 'warn' },
  stalled: { name: 'Stalled', tone: 'warn' },
  gone: { name: 'Gone', tone: 'bad' },
  unreachable: { name: 'Unreachable', tone: 'bad' },
  alert: { name: 'Alert', tone: 'bad' },
  dead: { name: 'Dead delivery', tone: 'bad' },
  parked: { name: 'Parked', tone: 'warn' },
  endpoint: { name: 'Endpoint', tone: 'bad' },
  source: { name: 'Source', tone: 'bad' },
  overdue: { name: 'Polls overdue', tone: 'warn' },
  discovery: { name: 'Discovery', tone: 'warn' },
};

function describe(item: Attention): Item {
  const { kind, run_id: id, alert_id: alert, count, message } = item;
  const detail =
    alert !== undefined && count !== undefined ? `fires on ${plural(count, 'event')}` : message;
  const canAcknowledge = id !== undefined || alert !== undefined;
  return { ...KINDS[kind], ...placeOf(item), detail, canAcknowledge };
}

function placeOf(item: Attention): Place {
  const { kind, run_id: id, source, endpoint, alert_id: alert, rule } = item;
  if (alert !== undefined) {
    return { what: named(rule ?? 'alert', item), to: href(`/alerts/${encodeURIComponent(alert)}`) };
  }
  if (kind === 'dead' || kind === 'parked') {
    return { what: endpoint ?? 'a receiver', to: href('/deliveries', { state: kind, endpoint }) };
  }
  if (kind === 'endpoint') return { what: endpoint ?? 'endpoint', to: href('/endpoints') };
  if (id !== undefined) {
    return { what: named(id, item), to: href(runPath({ run_id: id, source })) };
  }
  return { what: source ?? kind, to: href('/system') };
}

/** With the workflow that it is of. */
function named(what: string, { workflow_name: name, workflow_id: id = null }: Attention): string {
  const workflow = name ?? (id === null ? null : workflowText(id));
  return workflow === null ? what : `${workflow} · ${what}`;
}
