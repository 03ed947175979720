import { withoutControls } from '../../core/control-characters.ts';
import type { Colors } from '../context.ts';

/**
 * Text from elsewhere, made safe to show: control characters could move the cursor, recolour the
 * screen or pass off one line as two.
 */
export function plain(text: string): string {
  return withoutControls(text, '\u{fffd}');
}

const SECOND = [1_000, 's'] as const;

const UNITS = [[86_400_000, 'd'], [3_600_000, 'h'], [60_000, 'm'], SECOND] as const;

/** Milliseconds in their largest unit, rounded down: `41s`, `3h`; less than a second is `0s`. */
export function roughly(ms: number): string {
  const [size, unit] = UNITS.find(([unitMs]) => ms >= unitMs) ?? [1_000, 's'];
  return `${Math.floor(Math.max(ms, 0) / size)}${unit}`;
}

/** How long something lasts, to two units at the most: `812ms`, `1.5s`, `41s`, `1m 5s`, `2h 0m`. */
export function lasting(ms: number): string {
  if (Math.round(ms) < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)}s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds}s`;
  const at = UNITS.findIndex(([unitMs]) => seconds * 1_000 >= unitMs);
  const [[size, unit] = SECOND, [smallerSize, smallerUnit] = SECOND] = UNITS.slice(at, at + 2);
  const smaller = Math.floor(((seconds * 1_000) % size) / smallerSize);
  return `${Math.floor((seconds * 1_000) / size)}${unit} ${smaller}${smallerUnit}`;
}

/** How far a time lies from now: `12s ago`, `in 3m`, `now`; `-` where there is none. */
export function relative(iso: string | null | undefined, now: number): string {
  if (iso === null || iso === undefined) return '-';
  const distance = Date.parse(iso) - now;
  if (Number.isNaN(distance)) return plain(iso);
  if (Math.abs(distance) < 1_000) return 'now';
  return distance > 0 ? `in ${roughly(distance)}` : `${roughly(-distance)} ago`;
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
  const color = COLOR_OF[word.slice(word.lastIndexOf('.') + 1)];
  return color === undefined ? text : colors[color](text);
}
