import type { EventType } from '../../../core/event/event.ts';
import { nodesText } from '../../../core/run/nodes.ts';
import { isTerminalStatus, percentText } from '../../../core/run/snapshot.ts';
import { spanText } from '../../../core/time.ts';
import {
  bareNotice,
  counted,
  isLink,
  listUrl,
  oneLine,
  shortId,
  shortRunId,
  RUNS_LISTED,
  type Notice,
  type Tone,
  type Wording,
} from './notice.ts';
import type { SentEvent, SentRun } from './sent-event.ts';

interface Words {
  /** The workflow's name, or the run. */
  who: string;
  /** ` at 60 %`, or nothing. */
  at: string;
  /** ` after 6 s`, or nothing. */
  after: string;
  /** What texts call its source. */
  label: string;
  data: SentEvent['data'];
}

interface RunEvent {
  tone: Tone;
  title: (words: Words) => string;
  /** In place of "5 runs of invoices failed": what several runs did. */
  several: string;
}

const RUN_EVENTS: Readonly<Record<string, RunEvent>> = {
  'run.completed': {
    tone: 'good',
    title: ({ who, after }) => `${who} completed${after}`,
    several: 'completed',
  },
  'run.failed': {
    tone: 'bad',
    title: ({ who, at, after }) => `${who} failed${at}${after}`,
    several: 'failed',
  },
  'run.stopped': {
    tone: 'attention',
    title: ({ who, at, after }) => `${who} was stopped${at}${after}`,
    several: 'were stopped',
  },
  'run.awaiting_human_feedback': {
    tone: 'attention',
    title: ({ who, data }) =>
      data.reminder === undefined
        ? `${who} waits for a human`
        : `${who} has waited for a human${since(data.waited_ms)}`,
    several: 'wait for a human',
  },
  'run.started': { tone: 'neutral', title: ({ who }) => `${who} started`, several: 'started' },
  'run.progress': {
    tone: 'neutral',
    title: ({ who, at }) => `${who} is${at === '' ? ' under way' : at}`,
    several: 'made progress',
  },
  'run.resumed': {
    tone: 'good',
    title: ({ who, data }) => `${who} goes on${since(data.waited_ms, 'after waiting')}`,
    several: 'go on',
  },
  'run.stalled': {
    tone: 'attention',
    title: ({ who, at, data }) => `${who} is stalled${at}${since(data.lasted_ms)}`,
    several: 'are stalled',
  },
  'run.recovered': {
    tone: 'good',
    title: ({ who, data }) => `${who} moves on again${since(data.lasted_ms, 'after')}`,
    several: 'move on again',
  },
  'run.restarted': {
    tone: 'neutral',
    title: ({ who, data }) => `${who} runs again${attemptOf(data.run, ', attempt ')}`,
    several: 'run again',
  },
  'run.gone': {
    tone: 'attention',
    title: ({ who, label }) => `${who} is gone: ${label} does not know the run any more`,
    several: 'are gone',
  },
  'run.status_unknown': {
    tone: 'attention',
    title: ({ who, data }) =>
      `${who} has a status that runwatch does not know: ${oneLine(data.run?.status ?? '', 40)}`,
    several: 'have a status that runwatch does not know',
  },
  'watch.expired': {
    tone: 'attention',
    title: ({ who, at }) => `${who} is not watched any more: it did not end in time${at}`,
    several: 'are not watched any more: they did not end in time',
  },
  'watch.unreachable': {
    tone: 'attention',
    title: ({ who, label }) => `${who} cannot be read from ${label}`,
    several: 'cannot be read',
  },
  'watch.recovered': {
    tone: 'good',
    title: ({ who, label }) => `${who} can be read from ${label} again`,
    several: 'can be read again',
  },
} satisfies Record<EventType, RunEvent>;

/** The attempt of a run that is not the first; nothing for others. */
function attemptOf(run: SentRun | null | undefined, before = ''): string {
  const attempt = run?.attempt ?? 1;
  return attempt === 1 ? '' : `${before}${attempt}`;
}

function since(ms: number | undefined, word = 'for'): string {
  return ms === undefined ? '' : ` ${word} ${spanText(ms)}`;
}

/** Names longer than this are cut in titles. */
const NAME_LENGTH = 40;

function wordsOf({ data }: SentEvent, { labelOf }: Wording): Words {
  const { run, run_id: runId = '', workflow_name: name, watch } = data;
  const lasted = run ? durationOf(run) : null;
  const isUnknown = run?.progress === null || run?.progress === undefined;
  return {
    who: oneLine(name ?? '', NAME_LENGTH) || `run ${shortRunId(runId)}`,
    at: isUnknown ? '' : ` at ${percentText(run.progress, ' %')}`,
    after: lasted === null ? '' : ` after ${spanText(lasted)}`,
    label: watch === undefined ? 'its source' : oneLine(labelOf(watch.source), NAME_LENGTH),
    data,
  };
}

/** How long the run has been running, or ran; null before it has started. */
function durationOf({ started_at: start, finished_at: end, observed_at: seen }: SentRun) {
  return start === null ? null : Math.max(0, Date.parse(end ?? seen) - Date.parse(start));
}

function titleOf(event: SentEvent, wording: Wording): string {
  const known = RUN_EVENTS[event.type];
  const words = wordsOf(event, wording);
  return known === undefined ? `${words.who}: ${event.type}` : known.title(words);
}

/** What an event of a run says. */
export function runNotice(event: SentEvent, wording: Wording): Notice {
  const { type, data } = event;
  const tone = RUN_EVENTS[type]?.tone ?? 'neutral';
  return {
    ...bareNotice(event, titleOf(event, wording)),
    tone,
    owner: asksForHelp(tone) ? ownerOfRun(data, wording) : null,
    lines: [whereItStood(event), data.error ? oneLine(data.error.message, 500) : null].filter(
      (line) => line !== null,
    ),
    facts: factsOf(event),
  };
}

function ownerOfRun(
  { run, watch }: SentEvent['data'],
  { ownerOf }: Pick<Wording, 'ownerOf'>,
): string | null {
  const workflowId = run?.workflow_id ?? null;
  return workflowId === null ? null : ownerOf({ source: watch?.source ?? '', workflowId });
}

/** Owners are not called for what is well. */
function asksForHelp(tone: Tone): boolean {
  return tone === 'bad' || tone === 'attention';
}

/** `Failed at Extract invoice, 7 of 12 nodes done`. */
function whereItStood({ data: { nodes } }: SentEvent): string | null {
  return nodes ? nodesText(nodes, (name) => oneLine(name, 60)) : null;
}

function factsOf({ type, data }: SentEvent): Notice['facts'] {
  const { run, run_id: runId = '', watch } = data;
  const isOver = type.startsWith('run.') && run && isTerminalStatus(run.status);
  const metadata = Object.entries(watch?.metadata ?? {}).map(([key, value]) => `${key}: ${value}`);
  return [
    ['Run', runId],
    ['Attempt', attemptOf(run)],
    ['Workflow', workflowText(data)],
    ['Last seen', run && isOver !== true ? lastSeen(run) : ''],
    ['Source', watch?.source ?? ''],
    ['Metadata', oneLine(metadata.join(' · '), 600)],
  ];
}

function workflowText({ run, workflow_name: name }: SentEvent['data']): string {
  const parts = [oneLine(name ?? '', 100), run?.workflow_id ?? ''];
  return parts.filter((part) => part !== '').join(' · ');
}

function lastSeen({ status, progress }: SentRun): string {
  const at = progress === null ? '' : ` at ${percentText(progress, ' %')}`;
  return `${oneLine(status.replaceAll('_', ' '), 60)}${at}`;
}

/** Workflows that it counts by name. */
const WORKFLOWS_COUNTED = 10;

/** What several events of one type say together. */
export function foldedNotice(
  events: readonly [SentEvent, ...SentEvent[]],
  wording: Wording,
): Notice {
  const [first] = events;
  const known = RUN_EVENTS[first.type];
  const byWorkflow = countByWorkflow(events);
  const what = known?.several ?? `report ${first.type}`;
  const listed = events.slice(0, RUNS_LISTED);
  const tone = known?.tone ?? 'neutral';
  return {
    ...bareNotice(first, `${counted(events.length, 'run')}${whoseText(byWorkflow)} ${what}`),
    tone,
    owner: asksForHelp(tone) && byWorkflow.length === 1 ? ownerOfRun(first.data, wording) : null,
    lines: byWorkflow.length === 1 ? [] : [countsText(byWorkflow)],
    runs: listed.map((event) => ({
      text: `${titleOf(event, wording)} (${shortRunId(event.data.run_id ?? '')})`,
      url: [event.data.run_url, event.data.watch_url].find(isLink) ?? null,
    })),
    unlisted: { count: events.length - listed.length, url: listOfSuch(first) },
    links: [],
    at: events.map(({ timestamp }) => timestamp).reduce((a, b) => (a < b ? a : b)),
    eventIds: events.map(({ id }) => id),
  };
}

/** Names of workflows with the number of their events, the most first; null for runs without a workflow. */
function countByWorkflow(events: readonly SentEvent[]): [name: string | null, count: number][] {
  const counts = new Map<string | null, { name: string | null; count: number }>();
  for (const { data } of events) {
    const id = data.run?.workflow_id ?? '';
    const fallback = id === '' ? null : `workflow ${shortId(id)}`;
    const name = oneLine(data.workflow_name ?? '', NAME_LENGTH) || fallback;
    const one = counts.get(id || name) ?? { name, count: 0 };
    counts.set(id || name, { name, count: one.count + 1 });
  }
  return [...counts.values()]
    .toSorted((a, b) => b.count - a.count)
    .map(({ name, count }) => [name, count]);
}

/** ` of invoices`, ` of 3 workflows`; nothing for runs without a workflow. */
function whoseText(byWorkflow: readonly [string | null, number][]): string {
  const [[only] = [null]] = byWorkflow;
  const whose = byWorkflow.length === 1 ? only : counted(byWorkflow.length, 'workflow');
  return whose === null ? '' : ` of ${whose}`;
}

function countsText(byWorkflow: readonly [string | null, number][]): string {
  const shown = byWorkflow.slice(0, WORKFLOWS_COUNTED);
  const rest = byWorkflow.slice(WORKFLOWS_COUNTED).reduce((sum, [, count]) => sum + count, 0);
  const parts = shown.map(([name, count]) => `${name ?? 'without a workflow'}: ${count}`);
  return [...parts, ...(rest > 0 ? [`others: ${rest}`] : [])].join(' · ');
}

/** The page of the dashboard that lists runs like this one; null where it has no known address. */
function listOfSuch({ type, data: { run, watch_url: watchUrl } }: SentEvent): string | null {
  return listUrl(watchUrl, type.startsWith('run.') ? (run?.status ?? null) : null);
}
