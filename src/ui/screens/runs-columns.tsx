import { shortId } from '../../core/run/short-id.ts';
import { workBeganAt } from '../../core/run/snapshot.ts';
import type { Watch } from '../api/types.ts';
import { href, runPath } from '../app/router.ts';
import { Progress } from '../parts/basics.tsx';
import { Brief } from '../parts/brief.tsx';
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

/** The whole name of a run's workflow, with its id. */
function workflowTitle(watch: Watch): string {
  const id = watch.run?.workflow_id ?? null;
  return watch.workflow_name === null ? (id ?? '') : `${watch.workflow_name} (${id ?? 'no id'})`;
}

/** The status of a run, and whether it is acknowledged or cannot be read. */
function RunStatus({ watch }: { watch: Watch }) {
  const { acknowledged, error, state } = watch;
  return (
    <>
      <Status state={stateOf(watch)} />
      {acknowledged !== null && (
        <span class="tag" title={`acknowledged by ${acknowledged.by}`}>
          ack
        </span>
      )}
      {error !== null && state === 'active' && (
        <span class="tag warn" title={error.message}>
          trouble
        </span>
      )}
    </>
  );
}

/** A run in two lines: its workflow, and below that its status and id. */
export function runBrief(watch: Watch) {
  const progress = watch.run?.progress ?? null;
  return (
    <Brief
      name={workflowOf(watch)}
      title={workflowTitle(watch)}
      href={href(runPath(watch))}
      aside={<Ago at={watch.changed_at} />}
    >
      <RunStatus watch={watch} />
      <span class="mono cut" title={watch.run_id}>
        {shortId(watch.run_id)}
      </span>
      {progress !== null && watch.state === 'active' && <span class="num">{progress} %</span>}
    </Brief>
  );
}

export const RUN_COLUMNS: readonly Column<Watch>[] = [
  {
    name: 'Workflow',
    className: 'col-workflow',
    render: (watch) => (
      <span class="cut name" title={workflowTitle(watch)}>
        {workflowOf(watch)}
      </span>
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
    name: 'Status',
    className: 'col-status',
    render: (watch) => <RunStatus watch={watch} />,
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
