import { address, href, isKiosk } from '../app/router.ts';
import { attention } from '../app/attention.ts';
import { api } from '../api/calls.ts';
import { may } from '../api/session.ts';
import type { Attention } from '../api/types.ts';
import { useKeys } from '../app/keys.ts';
import { acknowledge } from '../parts/acknowledge.tsx';
import { Empty, Header, Loading, Section, Trouble } from '../parts/basics.tsx';
import { plural } from '../parts/format.ts';
import { Glyph } from '../parts/status.tsx';
import { Since } from '../parts/time.tsx';
import { useState } from 'preact/hooks';
import { describe, kindsOf, type Item } from './now-items.ts';
import { Lanes } from './now-lanes.tsx';
import { Strip } from './now-strip.tsx';
import { useAllWell } from './now-well.ts';

/** What needs a person, what runs, and whether runwatch itself keeps up. */
export function Now() {
  return (
    <>
      <Header title="Now" />
      <Strip />
      <Needs />
      <Lanes />
    </>
  );
}

/** Items that are shown before a user asks for more. */
const FEW = 12;

function Needs() {
  const loaded = attention.value;
  const [isAll, setAll] = useState(false);
  const wanted = address.value.query.get('kind');
  if (loaded === null || (loaded.value === null && loaded.error === null)) return <Loading />;
  const { value, error, reload } = loaded;
  const all = value?.data ?? [];
  const items = all.filter(({ kind }) => wanted === null || kind === wanted);
  const shown = isAll ? items : items.slice(0, FEW);
  const total = value === null ? 0 : Object.values(value.counts).reduce((sum, one) => sum + one, 0);
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
  const kinds = kindsOf(counts);
  if (kinds.length < 2) return null;
  return (
    <div class="chips" role="group" aria-label="Kind">
      {kinds.map(({ kind, name, count }) => (
        <a
          key={kind}
          class="chip"
          href={href('/', { kind: kind === wanted ? null : kind })}
          aria-current={kind === wanted ? 'true' : undefined}
        >
          {name} <span class="num count">{count}</span>
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
      const to = marked === undefined ? null : describe(marked).to;
      if (to !== null) document.querySelector<HTMLAnchorElement>('.need.marked a')?.click();
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
        {shown.to === null ? <span>{shown.what}</span> : <a href={shown.to}>{shown.what}</a>}
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
  if (typeof alert === 'string') {
    acknowledge({
      what: `the alert ${describe(item).what}`,
      send: (body) => api.acknowledgeAlert(alert, body),
      onDone: reload,
    });
  } else if (id !== undefined && source !== undefined) {
    acknowledge({
      what: `run ${id}`,
      send: (body) => api.acknowledgeRun({ run_id: id, source }, body),
      onDone: reload,
    });
  }
}

/** Nothing needs a person: says what that rests on. */
function AllWell() {
  const well = useAllWell();
  if (well === null) return null;
  return <Empty title={well.title}>{well.detail}</Empty>;
}
