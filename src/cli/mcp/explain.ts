import { isRunEvent, type TimelineView, type WatchView } from '../../client/types.ts';
import { isPartial } from '../../core/delivery/delivery.ts';
import { percentText } from '../../core/run/snapshot.ts';
import { count, lasting } from '../render/text.ts';
import { quoted, statusWord, summaryOf, whereText } from './texts.ts';

/** Most lines: a model reads them all. */
const MOST_LINES = 60;

interface Line {
  at: string;
  text: string;
}

/** What happened around a run, in words: how it stands, and where it failed; then all that led there, oldest first. */
export function explainRun(watch: WatchView, timeline: TimelineView, dashboard: string): string {
  const lines = [
    ...stateLines(timeline.states),
    ...eventLines(timeline.events),
    ...timeline.deliveries.filter((one) => !isRoutine(one)).flatMap(deliveryLines),
    ...routineLines(timeline.deliveries.filter(isRoutine)),
  ].toSorted((a, b) => a.at.localeCompare(b.at));
  const kept = lines.slice(-MOST_LINES);
  const cut = lines.length - kept.length;
  return [
    summaryOf(watch, dashboard),
    ...whereText(timeline.events.filter(isRunEvent).toReversed()),
    ...(timeline.truncated
      ? ['(runwatch keeps more events or deliveries; these are the newest)']
      : []),
    ...(cut > 0 ? [`(${cut} earlier lines are left out)`] : []),
    ...kept.map(({ at, text: what }) => `${at} ${what}`),
    pollsOf(timeline),
  ].join('\n');
}

type State = TimelineView['states'][number];

/** One line for each status, whatever progress was made in it. */
function stateLines(states: readonly State[]): Line[] {
  const spells: State[][] = [];
  for (const state of states) {
    const spell = spells.at(-1);
    if (spell?.[0]?.status === state.status) spell.push(state);
    else spells.push([state]);
  }
  return spells.flatMap((spell) => {
    const [first, last] = [spell[0], spell.at(-1)];
    if (first === undefined || last === undefined) return [];
    const lasted = last.until === null ? 'until now' : `for ${between(first.at, last.until)}`;
    const text = `the run was ${statusWord(first.status)}${shareText(spell)} ${lasted}`;
    return [{ at: first.at, text }];
  });
}

function shareText(spell: readonly State[]): string {
  const known = spell.flatMap(({ progress }) => (progress === null ? [] : [progress]));
  const [from, to] = [known[0], known.at(-1)].map((one) => percentText(one, ' %'));
  if (known.length === 0) return '';
  return from === to ? ` at ${to}` : ` from ${from} to ${to}`;
}

const PROGRESS = 'run.progress';

/** One line for all progress. */
function eventLines(events: TimelineView['events']): Line[] {
  const progress = events.filter(({ type }) => type === PROGRESS);
  const others = events.filter(({ type }) => type !== PROGRESS);
  const [first] = progress;
  const last = progress.at(-1);
  return [
    ...others.map(({ at, type, waiting_ms: waiting }): Line => {
      const after = waiting === null ? '' : `, ${lasting(waiting)} after the change`;
      return { at, text: `runwatch noticed ${type}${after}` };
    }),
    ...(first === undefined || last === undefined
      ? []
      : [
          { at: first.at, text: `runwatch noticed ${PROGRESS} ${times(progress.length, last.at)}` },
        ]),
  ];
}

function times(amount: number, until: string): string {
  return amount === 1 ? 'once' : `${amount} times until ${until}`;
}

type Delivery = TimelineView['deliveries'][number];

/** Progress that an endpoint has taken. */
function isRoutine({ event_type: type, state }: Delivery): boolean {
  return type === PROGRESS && state === 'delivered';
}

/** One line for each endpoint. */
function routineLines(deliveries: readonly Delivery[]): Line[] {
  const endpoints = [...new Set(deliveries.map(({ endpoint }) => endpoint))];
  return endpoints.flatMap((endpoint) => {
    const its = deliveries.filter((one) => one.endpoint === endpoint);
    const [first] = its;
    const last = its.at(-1);
    if (first === undefined || last === undefined) return [];
    const text = `${endpoint} took ${PROGRESS} ${times(its.length, last.delivered_at ?? last.created_at)}`;
    return [{ at: first.created_at, text }];
  });
}

function deliveryLines(delivery: Delivery): Line[] {
  const { id, endpoint, event_type: type, state, created_at: createdAt, attempts } = delivery;
  if (attempts.length === 0) {
    const text = `${type} for ${endpoint} is ${state}, and was not tried yet (delivery ${id})`;
    return [{ at: createdAt, text }];
  }
  return attempts.map(({ at, error, duration_ms: took }, index): Line => {
    const isLast = index === attempts.length - 1;
    const left = isLast ? `; the delivery ${id} is ${state}` : '';
    return { at, text: `${resultText(endpoint, type, error)} (${lasting(took)})${left}` };
  });
}

function resultText(
  endpoint: string,
  type: string,
  error: Delivery['attempts'][number]['error'],
): string {
  if (error === null) return `${endpoint} took ${type}`;
  const result = isPartial(error) ? `${endpoint} took ${type} in part` : `${endpoint} failed`;
  return `${result}: ${quoted(error.message)}`;
}

function pollsOf({ polls }: TimelineView): string {
  const [first] = polls;
  const last = polls.at(-1);
  if (first === undefined || last === undefined) return 'It was not polled yet.';
  const failed = polls.filter(({ outcome }) => outcome !== 'run').length;
  const odd = failed === 0 ? '' : `, ${failed} without an answer about the run`;
  return `The last ${count(polls.length, 'poll')} went from ${first.at} to ${last.at}${odd}.`;
}

function between(from: string, to: string): string {
  return lasting(Math.max(0, Date.parse(to) - Date.parse(from)));
}
