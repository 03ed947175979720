import { percentText } from '../../core/run/snapshot.ts';
import type { CliContext, Output } from '../context.ts';
import type { EventView } from '../../client/types.ts';
import { paint, plain, roughly } from './text.ts';
import { renderTable, type Column } from './table.ts';

export function renderEvents(events: readonly EventView[], context: CliContext): string {
  const { colors } = context.io.stdout;
  const columns: Column<EventView>[] = [
    { head: 'DETECTED', value: (event) => event.data.detected_at },
    {
      head: 'TYPE',
      value: (event) => event.type,
      paint: (text, event) => paint(text, event.type, colors),
    },
    { head: 'RUN', value: (event) => event.data.run_id },
    { head: 'WHAT', value: whatHappened },
    { head: 'EVENT', value: (event) => event.id },
  ];
  return renderTable(events, columns, context.io.stdout);
}

/** One line of a log that grows. */
export function eventLine(event: EventView, { colors }: Output): string {
  const type = paint(plain(event.type).padEnd(27), event.type, colors);
  const time = colors.dim(plain(event.data.detected_at));
  return `${time}  ${type}  ${plain(event.data.run_id)}  ${plain(whatHappened(event))}`.trimEnd();
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
