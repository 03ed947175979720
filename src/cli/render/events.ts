import { percentText } from '../../core/run/snapshot.ts';
import type { Output } from '../context.ts';
import type { EventView } from '../../client/types.ts';
import { paint, plain, relative, roughly } from './text.ts';
import { linked, renderTable, type Column } from './table.ts';

interface Place {
  now: () => number;
  output: Output;
}

export function renderEvents(events: readonly EventView[], { now, output }: Place): string {
  const { colors } = output;
  const columns: Column<EventView>[] = [
    { head: 'WHEN', value: (event) => relative(event.data.detected_at, now()) },
    {
      head: 'TYPE',
      value: (event) => event.type,
      paint: (text, event) => paint(text, event.type, colors),
      keep: 'always',
    },
    {
      head: 'RUN',
      value: (event) => event.data.run_id,
      keep: 'always',
      link: (event) => event.data.run_url,
    },
    ...workflowColumn(events),
    { head: 'WHAT', value: whatHappened },
    { head: 'DETECTED', value: (event) => event.data.detected_at, keep: 'whole' },
    { head: 'EVENT', value: (event) => event.id, keep: 'whole' },
  ];
  return renderTable(events, columns, output);
}

/** Only where a name is known: an id says little beside the run's. */
function workflowColumn(events: readonly EventView[]): Column<EventView>[] {
  const isNamed = events.some(({ data }) => data.workflow_name !== null);
  return isNamed ? [{ head: 'WORKFLOW', value: ({ data }) => data.workflow_name ?? '-' }] : [];
}

/** One line of a log that grows. */
export function eventLine(event: EventView, output: Output): string {
  const { colors } = output;
  const type = paint(plain(event.type).padEnd(27), event.type, colors);
  const time = colors.dim(plain(event.data.detected_at));
  const { run_id: runId, run_url: url, workflow_name: name } = event.data;
  const run = `${linked(plain(runId), url, output)}${name === null ? '' : ` ${plain(name)}`}`;
  return `${time}  ${type}  ${run}  ${plain(whatHappened(event))}`.trimEnd();
}

/** What the type leaves open: from where to where, how far, and why. */
function whatHappened({ data }: EventView): string {
  if (data.error !== undefined) return data.error.message;
  if (data.run === null) return '';
  const { previous, run } = data;
  const came =
    previous !== null && previous.status !== run.status
      ? `${previous.status} → ${run.status}`
      : run.status;
  return [`${came}, ${percentText(run.progress)}`, ...howLong(data)].join(', ');
}

/** For events about a run that takes its time, and for the end of that. */
function howLong(data: EventView['data']): string[] {
  const { reminder, waited_ms: waited, lasted_ms: lasted, usual_ms: usual } = data;
  return [
    ...(reminder === undefined ? [] : [`reminder ${reminder}`]),
    ...(waited === undefined ? [] : [`waited ${roughly(waited)}`]),
    ...(lasted === undefined ? [] : [`for ${roughly(lasted)}`]),
    ...(typeof usual === 'number' ? [`usually ${roughly(usual)} at most`] : []),
  ];
}
