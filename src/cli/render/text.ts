import { withoutControls } from '../../core/control-characters.ts';
import { inTwoUnits } from '../../core/time.ts';
import type { Colors } from '../output.ts';
import { valueOf } from '../../core/records.ts';

/**
 * Text from elsewhere, made safe to show: control characters could move the cursor, recolour the
 * screen or pass off one line as two.
 */
export function plain(text: string): string {
  return withoutControls(text, '\u{fffd}');
}

/** Lines of at most that width, broken between words; a longer word has a line of its own. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = '';
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  return line === '' ? lines : [...lines, line];
}

/** Text whose paragraphs have lines of at most that width; lines that are indented stay as they are. */
export function reflowed(text: string, width: number): string {
  return text.replaceAll(/^(?:\S.*\n?)+/gm, (paragraph) => {
    const isWide = paragraph.split('\n').some((line) => line.length > width);
    if (!isWide) return paragraph;
    const end = paragraph.endsWith('\n') ? '\n' : '';
    return wrapped(paragraph.trimEnd().replaceAll('\n', ' '), width).join('\n') + end;
  });
}

/** Milliseconds in two units at most, rounded: `41s`, `1h 59m`, `2h`; less than half a second is `0s`. */
export function roughly(ms: number): string {
  return inTwoUnits(ms)
    .map(([value, unit]) => `${value}${unit === 'min' ? 'm' : unit}`)
    .join(' ');
}

/** How long something takes: {@link roughly}, and below ten seconds `812ms` or `1.5s`. */
export function lasting(ms: number): string {
  if (Math.round(ms) < 1_000) return `${Math.round(ms)}ms`;
  return ms < 9_950 ? `${(ms / 1_000).toFixed(1)}s` : roughly(ms);
}

/** How far a time lies from now: `12s ago`, `in 1h 59m`, `now`; `-` where there is none. */
export function relative(iso: string | null | undefined, now: number): string {
  if (iso === null || iso === undefined) return '-';
  const distance = Date.parse(iso) - now;
  if (Number.isNaN(distance)) return plain(iso);
  if (Math.abs(distance) < 1_000) return 'now';
  return distance > 0 ? `in ${roughly(distance)}` : `${roughly(-distance)} ago`;
}

/** A time to the minute, in UTC: `21:13Z`, with its day where that is another. */
export function clockText(iso: string, now: number): string {
  const [day = '', clock = ''] = iso.split('T');
  if (!/^\d\d:\d\d/.test(clock)) return plain(iso);
  const isToday = new Date(now).toISOString().startsWith(`${day}T`);
  return `${isToday ? '' : `${plain(day)} `}${clock.slice(0, 5)}Z`;
}

/** When something is to happen: {@link relative}, but `due` for a time that has passed. */
export function upcoming(iso: string | null, now: number): string {
  return iso !== null && Date.parse(iso) < now ? 'due' : relative(iso, now);
}

/** A time with its distance from now, for the page of one thing. */
export function exactly(iso: string | null | undefined, now: number): string {
  if (iso === null || iso === undefined) return '-';
  return `${plain(iso)} (${relative(iso, now)})`;
}

/** `1 run`, `2 runs`; words that take more than an s bring their plural. */
export function count(amount: number, noun: string, plural = `${noun}s`): string {
  return `${number(amount)} ${amount === 1 ? noun : plural}`;
}

/** A number with separators: `1,234`. */
export function number(value: number): string {
  return value.toLocaleString('en');
}

/** What a page leaves out, and how to see it; null where it is all. */
export function moreText(
  page: {
    data: readonly unknown[];
    next_cursor: string | null;
    total?: number;
    total_capped?: boolean;
  },
  noun: string,
  plural: string,
): string | null {
  if (page.next_cursor === null) return null;
  const shown = number(page.data.length);
  const { total, total_capped: isCapped } = page;
  const of =
    total === undefined
      ? `${shown} ${page.data.length === 1 ? `${noun} is` : `${plural} are`} shown`
      : `${shown} of ${isCapped === true ? 'more than ' : ''}${count(total, noun, plural)}`;
  return `${of}; --limit or --all shows more.`;
}

const COLOR_OF: Record<string, 'green' | 'red' | 'yellow' | 'magenta' | 'cyan' | 'gray'> = {
  completed: 'green',
  delivered: 'green',
  active: 'green',
  failed: 'red',
  failing: 'red',
  disabled: 'red',
  dead: 'red',
  gone: 'red',
  unreachable: 'red',
  cannot_tell: 'red',
  stopped: 'yellow',
  expired: 'yellow',
  timed_out: 'yellow',
  parked: 'yellow',
  paused: 'yellow',
  status_unknown: 'yellow',
  stalled: 'yellow',
  awaiting_human_feedback: 'magenta',
  running: 'cyan',
  started: 'cyan',
  resumed: 'cyan',
  recovered: 'cyan',
  pending: 'cyan',
  queued: 'gray',
  progress: 'gray',
  cancelled: 'gray',
  skipped: 'gray',
  superseded: 'gray',
};

/**
 * Colours a text by the meaning of a word in it.
 * @param word a status, a state, or an event type that ends in one
 */
export function paint(text: string, word: string, colors: Colors): string {
  const color = valueOf(COLOR_OF, word.slice(word.lastIndexOf('.') + 1));
  return color === undefined ? text : colors[color](text);
}
