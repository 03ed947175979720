import type { TimelineView, WatchView } from '../../client/types.ts';
import { formatDuration } from '../../core/duration.ts';

/** Most lines: a model reads them all. */
const MOST_LINES = 60;

interface Line {
  at: string;
  text: string;
}

/** What happened around a run, in words, oldest first. */
export function explainRun(watch: WatchView, timeline: TimelineView): string {
  const lines = [
    ...timeline.states.map(({ at, until, status, progress }): Line => {
      const share = progress === null ? '' : ` at ${progress} %`;
      const lasted = until === null ? 'until now' : `for ${between(at, until)}`;
      return { at, text: `the run was ${status}${share} ${lasted}` };
    }),
    ...timeline.events.map(({ at, type, waiting_ms: waiting }): Line => {
      const delay = waiting === null ? '' : `, ${text(waiting)} after the change`;
      return { at, text: `runwatch noticed ${type}${delay}` };
    }),
    ...timeline.deliveries.flatMap(deliveryLines),
  ].sort((a, b) => a.at.localeCompare(b.at));
  const kept = lines.slice(-MOST_LINES);
  const cut = lines.length - kept.length;
  return [
    summaryOf(watch),
    ...(cut > 0 ? [`(${cut} earlier lines are left out)`] : []),
    ...kept.map(({ at, text: what }) => `${at} ${what}`),
    pollsOf(timeline),
  ].join('\n');
}

/** How a run stands, in a sentence or two. */
export function summaryOf(watch: WatchView): string {
  const { run, run_id: id, source, state, error, acknowledged } = watch;
  const name = watch.workflow_name ?? run?.workflow_id ?? 'an unknown workflow';
  const status = run === null ? 'not seen yet' : `${run.status} (${run.progress} %)`;
  const trouble = error === null ? '' : ` Trouble since ${error.since}: ${error.message}.`;
  const taken = acknowledged === null ? '' : ` ${acknowledged.by} has taken it in hand.`;
  const link = watch.run_url === null ? '' : ` ${watch.run_url}`;
  return `Run ${id} of ${name} (source ${source}) is ${status}; its watch is ${state}.${trouble}${taken}${link}`;
}

function deliveryLines(delivery: TimelineView['deliveries'][number]): Line[] {
  const { endpoint, event_type: type, state, created_at: createdAt, attempts } = delivery;
  if (attempts.length === 0) {
    return [{ at: createdAt, text: `${type} for ${endpoint} is ${state}, and was not tried yet` }];
  }
  return attempts.map(({ at, error, duration_ms: took }, index): Line => {
    const isLast = index === attempts.length - 1;
    const result =
      error === null ? `${endpoint} took ${type}` : `${endpoint} failed: ${error.message}`;
    return { at, text: `${result} (${text(took)})${isLast ? `; the delivery is ${state}` : ''}` };
  });
}

function pollsOf({ polls }: TimelineView): string {
  const [first] = polls;
  const last = polls.at(-1);
  if (first === undefined || last === undefined) return 'It was not polled yet.';
  const failed = polls.filter(({ outcome }) => outcome !== 'run').length;
  const odd = failed === 0 ? '' : `, ${failed} without an answer about the run`;
  return `Polled ${polls.length} times from ${first.at} to ${last.at}${odd}.`;
}

function between(from: string, to: string): string {
  return text(Date.parse(to) - Date.parse(from));
}

/** Exact to a millisecond below ten seconds, to a second above. */
function text(ms: number): string {
  const known = Math.max(0, Math.round(ms));
  return formatDuration(known < 10_000 ? known : Math.round(known / 1_000) * 1_000);
}
