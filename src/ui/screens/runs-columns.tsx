import { workBeganAt } from '../../core/run/snapshot.ts';
import type { Watch } from '../api/types.ts';
import { href, runPath } from '../app/router.ts';
import { Progress } from '../parts/basics.tsx';
import { Status, toneOf } from '../parts/status.tsx';
import type { Column } from '../parts/table.tsx';
import { Ago, Length, Since } from '../parts/time.tsx';
import { workflowText } from '../parts/workflow-names.ts';

export const keyOfRun = ({ run_id: id, source }: { run_id: string; source: string }) =>
  `${source}/${id}`;

/** What a run's workflow is called. */
export function workflowOf({ run, workflow_name: name }: Pick<Watch, 'run' | 'workflow_name'>) {
  return name ?? workflowText(run?.workflow_id);
}

/** What a run's state is called: its status, or what became of the watch. */
export function stateOf({ state, run }: Pick<Watch, 'state' | 'run'>): string {
  return state === 'active' || state === 'finished' ? (run?.status ?? 'unseen') : state;
}

/** How long a run took, or has taken so far. */
export function RunLength({ watch }: { watch: Watch }) {
  const from = watch.run === null ? null : workBeganAt(watch.run);
  if (from === null) return <span class="faint">–</span>;
  const until = watch.run?.finished_at ?? null;
  if (until !== null) return <Length ms={Date.parse(until) - Date.parse(from)} />;
  return watch.state === 'active' ? <Since at={from} /> : <span class="faint">–</span>;
}

export const RUN_COLUMNS: readonly Column<Watch>[] = [
  {
    name: 'Status',
    className: 'col-status',
    render: (watch) => (
      <>
        <Status state={stateOf(watch)} />
        {watch.acknowledged !== null && (
          <span class="tag" title={`acknowledged by ${watch.acknowledged.by}`}>
            ack
          </span>
        )}
        {watch.error !== null && watch.state === 'active' && (
          <span class="tag warn" title={watch.error.message}>
            trouble
          </span>
        )}
      </>
    ),
  },
  {
    name: 'Run',
    className: 'col-id',
    render: (watch) => (
      <a class="mono id" href={href(runPath(watch))} title={watch.run_id}>
        {watch.run_id}
      </a>
    ),
  },
  {
    name: 'Workflow',
    className: 'col-workflow',
    render: (watch) => (
      <span class="cut" title={watch.run?.workflow_id ?? undefined}>
        {workflowOf(watch)}
      </span>
    ),
  },
  {
    name: 'Progress',
    className: 'col-progress',
    render: (watch) => (
      <Progress value={watch.run?.progress ?? null} tone={toneOf(stateOf(watch))} />
    ),
  },
  {
    name: 'Duration',
    className: 'col-length right',
    render: (watch) => <RunLength watch={watch} />,
  },
  {
    name: 'Changed',
    className: 'col-ago right',
    render: ({ changed_at: changed }) => <Ago at={changed} />,
  },
  {
    name: 'Metadata',
    className: 'col-metadata wider',
    render: ({ metadata }) => {
      const entries = Object.entries(metadata).map(([key, value]) => `${key}=${value}`);
      return (
        <span class="cut faint" title={entries.join('\n')}>
          {entries.join('  ')}
        </span>
      );
    },
  },
  {
    name: 'Next poll',
    className: 'col-next widest right',
    render: ({ state, next_poll_at: next }) =>
      state === 'active' ? <Ago at={next} empty="now" /> : <span class="faint">–</span>,
  },
];
