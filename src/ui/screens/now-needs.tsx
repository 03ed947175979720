import { useRef, useState } from 'preact/hooks';
import { sum } from '../../core/arrays.ts';
import type { WatchQuery } from '../../client/types.ts';
import { api } from '../api/calls.ts';
import { may } from '../api/session.ts';
import type { Attention, AttentionKind } from '../api/types.ts';
import { attention } from '../app/attention.ts';
import { useKeys } from '../app/keys.ts';
import { address, alertPath, batchPath, go, href, isKiosk, runPath } from '../app/router.ts';
import {
  acknowledgeAlert,
  acknowledgeFailures,
  acknowledgeRun,
  acknowledgeRuns,
} from '../parts/acknowledge.tsx';
import { Empty, Loading, Section, Trouble } from '../parts/basics.tsx';
import { countText, plural } from '../parts/format.ts';
import { useLoaded } from '../parts/hooks.ts';
import { Glyph, type Tone } from '../parts/status.tsx';
import { Since } from '../parts/time.tsx';
import { workflowText } from '../parts/workflow-names.ts';
import { FirstRun } from './runs-empty.tsx';

/** Items that are shown before a user asks for more. */
const FEW = 12;

/** What needs a person, a row for each cause, the heaviest first. */
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
  const isCut = wanted === null && total > all.length;
  return (
    <Section title="Needs a person" aside={<Kinds counts={value?.counts ?? {}} wanted={wanted} />}>
      <Trouble error={error} what="what needs a person" retry={reload} />
      {value !== null && all.length === 0 && <AllWell />}
      <NeedList items={shown} reload={reload} />
      <MoreRows all={items.length} shown={shown.length} show={() => setAll(true)} />
      {isAll && isCut && (
        <p class="faint">
          These are the first {countText(all.length)} of {countText(total)}.
        </p>
      )}
    </Section>
  );
}

function MoreRows({ all, shown, show }: { all: number; shown: number; show: () => void }) {
  if (all <= shown) return null;
  if (isKiosk.value) return <p class="faint">And {plural(all - shown, 'further row')}.</p>;
  return (
    <button type="button" class="quiet" onClick={show}>
      Show all {plural(all, 'row')}
    </button>
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
          {KINDS[kind]} <span class="num count">{countText(counts[kind] ?? 0)}</span>
        </a>
      ))}
    </div>
  );
}

function NeedList({ items, reload }: { items: readonly Attention[]; reload: () => void }) {
  const [key, setKey] = useState<string | null>(null);
  const at = items.findIndex((item) => keyOf(item) === key);
  const marked = items[at];
  /** Where the marked row was drawn last. */
  const last = useRef(-1);
  if (at >= 0) last.current = at;
  const move = (next: number) => {
    const item = items[Math.max(0, Math.min(next, items.length - 1))];
    if (item !== undefined) setKey(keyOf(item));
  };
  useKeys({
    // Where it is gone, the next is in its place.
    j: () => move(at >= 0 || last.current < 0 ? at + 1 : last.current),
    k: () => move((at >= 0 ? at : last.current) - 1),
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
        <Need key={keyOf(item)} item={item} isMarked={item === marked} reload={reload} />
      ))}
    </ol>
  );
}

/** The same for a row whose counts have changed: runs of one workflow in one state are one row. */
function keyOf({ kind, source, workflow_id: workflow, ...others }: Attention): string {
  const { alert_id: alert, endpoint, batch, acknowledged } = others;
  return JSON.stringify([kind, source, workflow, alert, endpoint, batch, acknowledged?.by]);
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
  const [isOpen, setOpen] = useState(false);
  const { severity, runs = [] } = item;
  return (
    <li class={`need-row ${isMarked ? 'marked' : ''}`}>
      <div class="need">
        <Glyph tone={TONE_OF[severity]} />
        <span class={`need-severity ${TONE_OF[severity]}`}>{severity}</span>
        <span class="need-kind">{shown.name}</span>
        <span class="need-what">
          <a href={shown.to} title={shown.what}>
            {shown.what}
          </a>
          {shown.detail !== '' && (
            <span class="faint need-detail" title={shown.detail}>
              {shown.detail}
            </span>
          )}
        </span>
        <span class="need-since right">
          <Since at={item.since} />
        </span>
        {runs.length > 0 && !isKiosk.value && (
          <button
            type="button"
            class="small"
            aria-expanded={isOpen}
            onClick={() => setOpen(!isOpen)}
          >
            {isOpen ? 'Hide runs' : 'Show runs'}
          </button>
        )}
        {canAcknowledge(item) && may.write.value && (
          <button type="button" class="small" onClick={() => acknowledgeItem(item, reload)}>
            Acknowledge
          </button>
        )}
      </div>
      {isOpen && <RunsOf item={item} runs={runs} to={shown.to} reload={reload} />}
    </li>
  );
}

type Runs = NonNullable<Attention['runs']>;

/** The runs of a row, as far as it lists them, and where all are. */
function RunsOf({
  item,
  runs,
  to,
  reload,
}: {
  item: Attention;
  runs: Runs;
  to: string;
  reload: () => void;
}) {
  const { kind, source, count } = item;
  const isEach = kind !== 'failed' && may.write.value;
  return (
    <ul class="need-runs">
      {runs.map((run) => (
        <li key={run.run_id}>
          <a href={href(runPath({ run_id: run.run_id, source }))}>{run.run_id}</a>
          <Since at={run.since} />
          {isEach && (
            <button
              type="button"
              class="small"
              onClick={() => acknowledgeRun({ run_id: run.run_id, source }, reload)}
            >
              Acknowledge
            </button>
          )}
        </li>
      ))}
      {count > runs.length && (
        <li>
          <a href={to}>All {plural(count, 'run')}</a>
        </li>
      )}
    </ul>
  );
}

function canAcknowledge({ kind, runs, run_id: id, alert_id: alert }: Attention): boolean {
  return kind === 'failed' || runs !== undefined || id !== undefined || alert !== undefined;
}

function acknowledgeItem(item: Attention, reload: () => void): void {
  const { kind, run_id: id, source = '', alert_id: alert, workflow_id: workflowId = null } = item;
  const { what } = describe(item);
  if (kind === 'failed') acknowledgeFailures({ source, workflowId }, what, reload);
  else if (alert !== undefined) acknowledgeAlert(alert, what, reload);
  else if (item.runs !== undefined) {
    const runs = item.runs.map((run) => ({ run_id: run.run_id, source }));
    const some = item.count > runs.length ? `the first ${runs.length} of ` : '';
    acknowledgeRuns(runs, `${some}${plural(item.count, 'run')} of ${what}`, reload);
  } else if (id !== undefined) acknowledgeRun({ run_id: id, source }, reload);
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
  detail: string;
}

/** What it is about, and where it is seen to. */
interface Place {
  what: string;
  to: string;
}

/** How heavy something is, beside its word. */
const TONE_OF: Readonly<Record<Attention['severity'], Tone>> = {
  critical: 'bad',
  error: 'bad',
  warning: 'warn',
  info: 'idle',
};

const KINDS: Readonly<Record<AttentionKind, string>> = {
  failed: 'Failed',
  awaiting: 'Awaiting',
  stalled: 'Stalled',
  gone: 'Gone',
  unreachable: 'Unreachable',
  alert: 'Alert',
  dead: 'Dead delivery',
  parked: 'Waiting',
  endpoint: 'Endpoint',
  source: 'Source',
  overdue: 'Polls overdue',
  discovery: 'Discovery',
  batch: 'Open batch',
};

function describe(item: Attention): Item {
  const { kind, alert_id: alert, count, message } = item;
  const detail = alert === undefined ? message : `fires on ${plural(count, 'event')}`;
  return { name: KINDS[kind], ...placeOf(item), detail };
}

/** The filter that finds the runs of a row, and others like them. */
const RUNS_OF: Readonly<Partial<Record<AttentionKind, Record<string, string>>>> = {
  failed: { status: 'failed' },
  awaiting: { status: 'awaiting_human_feedback' },
  stalled: { state: 'active' },
  gone: { state: 'gone' },
  unreachable: { state: 'active' },
};

function placeOf(item: Attention): Place {
  const { kind, run_id: id, source, endpoint, alert_id: alert, rule, workflow_id: workflow } = item;
  if (alert !== undefined) {
    return { what: named(rule ?? 'alert', item), to: href(alertPath(alert)) };
  }
  if (item.runs !== undefined) {
    const to = href('/runs', { ...RUNS_OF[kind], workflow, source });
    return { what: workflowOf(item) ?? `${source}, without a workflow`, to };
  }
  if (item.batch !== undefined) {
    return { what: item.batch, to: href(batchPath(item.batch)) };
  }
  if (kind === 'dead' || kind === 'parked') {
    const state = kind === 'parked' ? 'pending,parked' : kind;
    return { what: endpoint ?? 'a receiver', to: href('/deliveries', { state, endpoint }) };
  }
  if (kind === 'endpoint') return { what: endpoint ?? 'endpoint', to: href('/endpoints') };
  if (id !== undefined) {
    return { what: named(id, item), to: href(runPath({ run_id: id, source })) };
  }
  return { what: source ?? kind, to: href('/system') };
}

function workflowOf({ workflow_name: name, workflow_id: id = null }: Attention): string | null {
  return name ?? (id === null ? null : workflowText(id));
}

/** With the workflow that it is of. */
function named(what: string, item: Attention): string {
  const workflow = workflowOf(item);
  return workflow === null ? what : `${workflow} · ${what}`;
}
