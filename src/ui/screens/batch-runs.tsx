import { useEffect, useRef } from 'preact/hooks';
import type { EventView } from '../../client/types.ts';
import type { Batch, Watch } from '../api/types.ts';
import { memberStatus, type MemberStatus } from '../../core/batch.ts';
import { address, href, isKiosk, runPath } from '../app/router.ts';
import { Loading, Section, Trouble } from '../parts/basics.tsx';
import { Chips } from '../parts/chips.tsx';
import { countText, plural, statusText } from '../parts/format.ts';
import { useLive } from '../parts/hooks.ts';
import { PAGE_SIZE } from '../parts/list.ts';
import { toneOf } from '../parts/status.tsx';
import { inOrder } from '../parts/statuses.tsx';
import { keyOfRun, workflowOf } from './runs-columns.tsx';
import { patched, useRunList } from './runs.tsx';

/** A way in which a run of a batch can stand. */
interface MemberKind {
  /** Stands for it in a cell, so that colour is never all there is. */
  letter: string;
  /** Which runs stand so, as the API lists them. */
  query: { state: Watch['state']; status?: string };
  /** True where others are listed with them. */
  isRough?: true;
}

const MEMBER_KINDS: Readonly<Record<MemberStatus, MemberKind>> = {
  queued: { letter: 'Q', query: { state: 'active', status: 'queued' } },
  running: { letter: 'R', query: { state: 'active', status: 'running' } },
  awaiting_human_feedback: {
    letter: 'A',
    query: { state: 'active', status: 'awaiting_human_feedback' },
  },
  unseen: { letter: 'U', query: { state: 'active' }, isRough: true },
  unknown: { letter: '?', query: { state: 'active' }, isRough: true },
  completed: { letter: 'C', query: { state: 'finished', status: 'completed' } },
  failed: { letter: 'F', query: { state: 'finished', status: 'failed' } },
  stopped: { letter: 'S', query: { state: 'finished', status: 'stopped' } },
  gone: { letter: 'G', query: { state: 'gone' } },
  expired: { letter: 'E', query: { state: 'expired' } },
  cancelled: { letter: 'X', query: { state: 'cancelled' } },
};

/** The status that the address names; undefined for none. */
function wantedIn(text: string | null): MemberStatus | undefined {
  return (Object.keys(MEMBER_KINDS) as MemberStatus[]).find((status) => status === text);
}

/** The runs of a batch, a cell for each: the newest, or those of one status. */
export function BatchRuns({ batch }: { batch: Batch }) {
  const wanted = wantedIn(address.value.query.get('status'));
  const { list, asked, count, hold } = useMembers(batch, wanted);
  const items = isRough(wanted)
    ? list.items.filter((watch) => memberStatus(watch) === wanted)
    : list.items;
  const status = wanted === undefined ? null : statusText(wanted);
  const isEmpty = list.isRead && list.error === null && items.length === 0;
  return (
    <Section
      title="Runs"
      aside={
        <a href={href('/runs', asked)}>
          {status === null ? 'As a list' : `Those ${status} as a list`}
        </a>
      }
    >
      {!isKiosk.value && batch.total > 0 && <StatusChips batch={batch} />}
      <Trouble error={list.error} what="the runs" retry={list.reload} />
      {!list.isRead && <Loading />}
      {isEmpty && (
        <p class="faint">
          {status === null ? 'No run has joined it.' : `No run of it is ${status}.`}
        </p>
      )}
      <Cells items={items} onHold={hold} />
      {list.hasMore && (
        <p class="cells-more">
          <button type="button" onClick={list.loadMore} disabled={list.isLoading}>
            Show more
          </button>
          <span class="faint num">
            {countText(items.length)} of {plural(count, 'run')}
          </span>
        </p>
      )}
    </Section>
  );
}

const isRough = (status: MemberStatus | undefined) =>
  status !== undefined && MEMBER_KINDS[status].isRough === true;

/** The runs of a batch, page by page; they change as events say, and with the counts of the batch. */
function useMembers(batch: Batch, wanted: MemberStatus | undefined) {
  const asked = { batch: batch.id, ...(wanted && MEMBER_KINDS[wanted].query) };
  const list = useRunList(asked);
  const count = wanted === undefined ? batch.total : (batch.by_status[wanted] ?? 0);
  const held = useRef({ isHeld: false, isStale: false });
  const settle = () => {
    const { isHeld, isStale } = held.current;
    const isMany = list.items.length > PAGE_SIZE;
    if (!isStale || (isHeld && !isMany)) return;
    held.current.isStale = false;
    void (isMany ? list.renew() : refresh());
  };
  const refresh = async () => {
    if (await list.refresh(() => held.current.isHeld)) return;
    held.current.isStale = true;
    settle();
  };
  const hold = (isHeld: boolean) => {
    held.current.isHeld = isHeld;
    settle();
  };
  // No event says that a run joins, that it is watched no more, or what its first poll found.
  const counts = JSON.stringify(batch.by_status);
  const known = useRef<{ key: string; counts: string } | null>(null);
  useEffect(() => {
    const { key } = list;
    const isKnown =
      known.current?.key === key
        ? known.current.counts === counts
        : // The first page that is read now has them; rows as they were left may not.
          !list.isRead;
    known.current = { key, counts };
    if (isKnown) return;
    held.current.isStale = true;
    settle();
  }, [counts, list.key]);
  useLive((events) => {
    const newest = new Map(events?.map((event) => [keyOfEvent(event), event]));
    list.patch((watch) => {
      const event = newest.get(keyOfRun(watch));
      return event === undefined ? watch : patched(watch, event);
    });
  });
  return { list, asked, count, hold };
}

const keyOfEvent = ({ data }: EventView) =>
  keyOfRun({ run_id: data.run_id, source: data.watch.source });

interface CellsProps {
  items: readonly Watch[];
  onHold: (isHeld: boolean) => void;
}

function Cells({ items, onHold }: CellsProps) {
  return (
    <ul
      class="cells"
      aria-label="Runs of the batch"
      onMouseEnter={() => onHold(true)}
      onMouseLeave={() => onHold(false)}
    >
      {items.map((watch) => (
        <li key={keyOfRun(watch)}>
          <Cell watch={watch} />
        </li>
      ))}
    </ul>
  );
}

/** How many runs stand how; each shows those alone. */
function StatusChips({ batch: { total, by_status: counts } }: { batch: Batch }) {
  const chips = [
    { name: 'All', fields: {}, count: total },
    ...inOrder(counts).map(([status, count]) => ({
      name: statusText(status),
      fields: { status },
      count,
      mark: <Letter status={status as MemberStatus} />,
    })),
  ];
  return <Chips label="Status" chips={chips} names={['status']} />;
}

function Letter({ status }: { status: MemberStatus }) {
  return (
    <span class={`letter tone-${toneOf(status)}`} aria-hidden="true">
      {MEMBER_KINDS[status].letter}
    </span>
  );
}

function Cell({ watch }: { watch: Watch }) {
  const status = memberStatus(watch);
  const text = `${statusText(status)}: ${workflowOf(watch)}, ${watch.run_id}`;
  return (
    <a
      class={`cell tone-${toneOf(status)}`}
      href={href(runPath(watch))}
      title={text}
      aria-label={text}
    >
      {MEMBER_KINDS[status].letter}
    </a>
  );
}
