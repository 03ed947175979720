import type { IdText } from '../../core/run/short-id.ts';
import { percentText } from '../../core/run/snapshot.ts';
import type { TableView } from '../listing.ts';
import type { Output } from '../output.ts';
import { type AnyEventView, type EventView, isRunEvent } from '../../client/types.ts';
import { paint, plain, relative, roughly } from './text.ts';
import { linked, type Column } from './table.ts';

export function eventColumns(
  events: readonly AnyEventView[],
  { now, colors, idTexts }: TableView,
): Column<AnyEventView>[] {
  const idText = idTexts(events.filter(isRunEvent).map(({ data }) => data.run_id));
  return [
    { head: 'WHEN', value: (event) => relative(detectedAt(event), now), passes: true },
    {
      head: 'TYPE',
      value: (event) => event.type,
      paint: (text, event) => paint(text, event.type, colors),
      keep: 'always',
    },
    {
      head: events.every(isRunEvent) ? 'RUN' : 'ABOUT',
      value: (event) => subjectOf(event, idText),
      keep: 'always',
      link: (event) => (isRunEvent(event) ? event.data.run_url : null),
    },
    ...workflowColumn(events),
    { head: 'WHAT', value: whatHappened },
    { head: 'DETECTED', value: detectedAt, keep: 'whole' },
    { head: 'EVENT', value: (event) => event.id, keep: 'whole' },
  ];
}

function detectedAt(event: AnyEventView): string {
  return isRunEvent(event) ? event.data.detected_at : event.timestamp;
}

/** The run, alert, endpoint, workflow or source that an event is about. */
function subjectOf(event: AnyEventView, idText: IdText): string {
  if (isRunEvent(event)) return idText(event.data.run_id);
  const { alert, endpoint, workflow_id: workflow, source } = event.data as OwnData;
  return alert?.id ?? endpoint ?? workflow ?? source ?? '-';
}

/** What is read of events that are about no run. */
interface OwnData {
  alert?: { id: string; rule: string; count: number };
  repeat?: boolean;
  endpoint?: string;
  source?: string;
  workflow_id?: string;
  workflow_name?: string | null;
  message?: string;
  error?: { message: string } | null;
}

function nameOf(event: AnyEventView): string | null {
  return (event.data as OwnData).workflow_name ?? null;
}

/** Only where a name is known: an id says little beside the run's. */
function workflowColumn(events: readonly AnyEventView[]): Column<AnyEventView>[] {
  const isNamed = events.some((event) => nameOf(event) !== null);
  return isNamed ? [{ head: 'WORKFLOW', value: (event) => nameOf(event) ?? '-' }] : [];
}

/** One line of a log that grows. */
export function eventLine(event: AnyEventView, output: Output, idText: IdText): string {
  const { colors } = output;
  const type = paint(plain(event.type).padEnd(27), event.type, colors);
  const time = colors.dim(plain(detectedAt(event)));
  const url = isRunEvent(event) ? event.data.run_url : null;
  const name = nameOf(event);
  const about = `${linked(plain(subjectOf(event, idText)), url, output)}${name === null ? '' : ` ${plain(name)}`}`;
  return `${time}  ${type}  ${about}  ${plain(whatHappened(event))}`.trimEnd();
}

/** What the type leaves open: from where to where, how far, and why. */
function whatHappened(event: AnyEventView): string {
  if (!isRunEvent(event)) return whatOfOwn(event.data);
  const { data } = event;
  if (data.error !== undefined) return data.error.message;
  if (data.run === null) return '';
  const { previous, run } = data;
  const came =
    previous !== null && previous.status !== run.status
      ? `${previous.status} → ${run.status}`
      : run.status;
  const share = run.progress === null ? [] : [percentText(run.progress)];
  return [came, ...share, ...howLong(data)].join(', ');
}

function whatOfOwn({ alert, repeat, error, message }: OwnData): string {
  if (alert === undefined) return error?.message ?? message ?? '';
  const events = alert.count === 1 ? '1 event' : `${alert.count} events`;
  return `${alert.rule}, ${events}${repeat === true ? ', reminder' : ''}`;
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
