import { TEST_EVENT_TYPE, type SystemEventType } from '../../../core/event/event.ts';
import { spanText } from '../../../core/time.ts';
import {
  bareNotice,
  counted,
  isLink,
  listUrl,
  oneLine,
  RUNS_LISTED,
  shortRunId,
  type Notice,
  type Tone,
  type Wording,
} from './notice.ts';
import type { SentEvent } from './sent-event.ts';

type Data = SentEvent['data'] & Record<string, unknown>;

interface SystemEvent {
  tone: Tone;
  /** @param bySource says what the source of the event does */
  title: (data: Data, bySource: (does: string, of: string) => string) => string;
}

const SYSTEM_EVENTS: Readonly<Record<string, SystemEvent>> = {
  [TEST_EVENT_TYPE]: {
    tone: 'neutral',
    title: ({ endpoint }) => `Messages of runwatch reach ${endpoint ?? 'this endpoint'}`,
  },
  'endpoint.failing': {
    tone: 'bad',
    title: ({ endpoint }) => `Notifications to ${endpoint} fail and wait`,
  },
  'endpoint.recovered': {
    tone: 'good',
    title: ({ endpoint }) => `Notifications to ${endpoint} are delivered again`,
  },
  'endpoint.disabled': {
    tone: 'bad',
    title: ({ endpoint }) => `Notifications to ${endpoint} are switched off`,
  },
  'delivery.exhausted': {
    tone: 'bad',
    title: ({ endpoint }) => `A notification to ${endpoint} was given up`,
  },
  'source.unauthorized': {
    tone: 'bad',
    title: (_, bySource) => bySource('refuses the API key', 'of'),
  },
  'source.throttled': {
    tone: 'attention',
    title: (_, bySource) => bySource('asks for fewer requests', 'from'),
  },
  'source.unreachable': {
    tone: 'bad',
    title: (_, bySource) => bySource('does not answer', 'for'),
  },
  'source.recovered': {
    tone: 'good',
    title: (_, bySource) => bySource('answers again', 'for'),
  },
  'source.inconsistent': {
    tone: 'attention',
    title: (_, bySource) => bySource('contradicts itself', 'for'),
  },
  'source.consistent': {
    tone: 'good',
    title: (_, bySource) => bySource('is consistent again', 'for'),
  },
  'workflow.stalled': {
    tone: 'attention',
    title: (data) => `Runs of ${workflowOf(data)} do not move on`,
  },
  'workflow.recovered': {
    tone: 'good',
    title: (data) => `Runs of ${workflowOf(data)} move on again`,
  },
  'polling.overdue': {
    tone: 'attention',
    title: (data) => `${pollsOf(data)} of ${sourceOf(data)} are late${lateText(data)}`,
  },
  'polling.caught_up': {
    tone: 'good',
    title: (data) => `Polls of ${sourceOf(data)} are on time again`,
  },
  'discovery.unavailable': {
    tone: 'attention',
    title: (data) => `New runs of ${sourceOf(data)} cannot be discovered`,
  },
  'discovery.recovered': {
    tone: 'good',
    title: (data) => `New runs of ${sourceOf(data)} are discovered again`,
  },
  'discovery.waiting': {
    tone: 'attention',
    title: (data) =>
      `${runsOfText(data)} of ${sourceOf(data)} ${data.count === 1 ? 'waits' : 'wait'} for a human`,
  },
  'store.data_lost': { tone: 'bad', title: () => 'The Redis of runwatch has lost data' },
} satisfies Record<SystemEventType | typeof TEST_EVENT_TYPE, SystemEvent>;

function sourceOf({ source }: Data): string {
  return `source ${oneLine(source ?? 'unknown', 63)}`;
}

/** Says what a source does: `<label> answers again for source eu`, or `gh answers again` where its name is its label. */
function saysOf(data: Data, { labelOf }: Wording) {
  const { source = 'the source' } = data;
  const label = oneLine(labelOf(source), 63);
  const whose = (of: string) => (label === oneLine(source, 63) ? '' : ` ${of} ${sourceOf(data)}`);
  return (does: string, of: string) => `${label} ${does}${whose(of)}`;
}

function workflowOf({ workflow_name: name, workflow_id: id }: Data): string {
  return oneLine(name ?? id ?? 'a workflow', 63);
}

function pollsOf({ polls }: Data): string {
  return typeof polls === 'number' ? counted(polls, 'poll') : 'Polls';
}

function runsOfText({ count }: Data): string {
  return typeof count === 'number' ? counted(count, 'run') : 'Runs';
}

function lateText({ oldest_ms: oldestMs }: Data): string {
  return typeof oldestMs === 'number' ? `, by up to ${spanText(oldestMs)}` : '';
}

/** What an event about runwatch itself says. */
export function systemNotice(event: SentEvent, wording: Wording): Notice {
  const data = event.data as Data;
  const known = SYSTEM_EVENTS[event.type];
  const { message } = data;
  const lines = [data.error?.message, message, data.help].filter(
    (line): line is string => typeof line === 'string' && line !== '',
  );
  return {
    ...bareNotice(event, known?.title(data, saysOf(data, wording)) ?? event.type),
    tone: known?.tone ?? 'attention',
    isTest: event.type === TEST_EVENT_TYPE || data.test === true,
    lines: lines.map((line) => oneLine(line, 500)),
    facts: factsOf(data),
    ...(data.runs !== undefined && runsOf(data, data.runs)),
  };
}

/** The runs that wait, as far as the message lists them. */
function runsOf(
  { count = 0 }: Data,
  runs: NonNullable<Data['runs']>,
): Pick<Notice, 'runs' | 'unlisted'> {
  const listed = runs.slice(0, RUNS_LISTED).map((run) => ({
    text: `${oneLine(run.workflow_name ?? 'run', 40)} (${shortRunId(run.run_id)})`,
    url: [run.run_url, run.watch_url].find(isLink) ?? null,
  }));
  const url = listUrl(runs[0]?.watch_url, 'awaiting_human_feedback');
  return { runs: listed, unlisted: { count: Math.max(0, count - listed.length), url } };
}

/** Facts that the title or the lines give already. */
const TOLD = new Set([
  'endpoint',
  'help',
  'remedy',
  'detected_at',
  'message',
  'test',
  'oldest_ms',
  'polls',
]);

function factsOf(data: Data): Notice['facts'] {
  return Object.entries(data)
    .flatMap(([key, value]): Notice['facts'] => {
      if (TOLD.has(key) || !['string', 'number', 'boolean'].includes(typeof value)) return [];
      const words = oneLine(key.replaceAll('_', ' '), 60);
      return [[words.charAt(0).toUpperCase() + words.slice(1), oneLine(String(value), 300)]];
    })
    .slice(0, 10);
}
