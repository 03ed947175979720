import { plain } from '../cli/render/text.ts';
import { dim, inColorOf, seconds, text, type Line, type Span } from './line.ts';
import type { Arrival } from './score.ts';

const TYPE_WIDTH = 'run.awaiting_human_feedback'.length;
const NAME_WIDTH = 22;

/**
 * One line about one webhook.
 * @param startedAt the beginning of the play, milliseconds since the epoch
 */
export function arrivalLine(arrival: Arrival, startedAt: number): Line {
  const { member, event, status, receivedAt } = arrival;
  const type = plain(event?.type ?? '(not an event)');
  const name = plain(member?.name ?? event?.data.run_id ?? '');
  const good = status === 204;
  return [
    dim(clock(receivedAt - startedAt)),
    good ? inColorOf('completed', '✔ ') : inColorOf('failed', '✘ '),
    inColorOf(type, type.padEnd(TYPE_WIDTH)),
    text(` ${name.padEnd(NAME_WIDTH)} `),
    remark(arrival),
  ];
}

/** A line about something other than a webhook, in the same columns. */
export function remarkLine(atMs: number, words: string): Line {
  return [dim(clock(atMs)), inColorOf('stopped', `• ${words}`)];
}

function clock(ms: number): string {
  return `${seconds(ms).padStart(6)}  `;
}

function remark({ status, problem, lateMs, attempt }: Arrival): Span {
  if (status === 401) return inColorOf('failed', `not verified: ${plain(problem ?? '')}`);
  if (status === 503) return inColorOf('stopped', 'answered 503');
  const again = attempt === 1 ? '' : `, try ${attempt}`;
  return dim(`${lateMs === null ? '' : `${seconds(lateMs)} later`}${again}`);
}
