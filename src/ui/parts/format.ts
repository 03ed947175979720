import { shortText, spanText } from '../../core/time.ts';

/** A length of time in its two largest units: `812 ms`, `4 min 10 s`, `2 h 5 min`, `3 d`. */
export function lengthText(ms: number): string {
  const rounded = Math.round(Math.max(0, ms));
  return rounded < 1_000 ? `${rounded} ms` : spanText(ms);
}

/** How long ago, in one unit: `just now`, `12 s ago`, `4 min ago`; `now`, `in 12 s` for what is to come. */
export function agoText(ms: number): string {
  const length = shortText(Math.abs(ms));
  if (Math.abs(ms) < 1_500) return ms < 0 ? 'now' : 'just now';
  return ms > 0 ? `${length} ago` : `in ${length}`;
}

const numbers = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

export function countText(count: number): string {
  return numbers.format(count);
}

/** `1 run`, `1,204 runs`. */
export function plural(count: number, noun: string, nouns = `${noun}s`): string {
  return `${countText(count)} ${count === 1 ? noun : nouns}`;
}

export function percentText(share: number): string {
  const percent = share * 100;
  return `${percent > 0 && percent < 10 ? percent.toFixed(1).replace(/\.0$/, '') : Math.round(percent)} %`;
}

const pad = (value: number, width = 2) => String(value).padStart(width, '0');

/** `14:05:09`, or with the date where it is another day. */
export function clockText(
  ms: number,
  { isUtc, withMs = false }: { isUtc: boolean; withMs?: boolean },
) {
  const at = new Date(ms);
  const [hours, minutes, seconds] = isUtc
    ? [at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()]
    : [at.getHours(), at.getMinutes(), at.getSeconds()];
  const rest = withMs ? `.${pad(at.getUTCMilliseconds(), 3)}` : '';
  return `${pad(hours)}:${pad(minutes)}:${pad(seconds)}${rest}`;
}

export function dateText(ms: number, isUtc: boolean): string {
  const at = new Date(ms);
  return isUtc
    ? `${at.getUTCFullYear()}-${pad(at.getUTCMonth() + 1)}-${pad(at.getUTCDate())}`
    : `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
}

/** A status as people read it: `awaiting_human_feedback` → `awaiting feedback`. */
export function statusText(status: string): string {
  return status === 'awaiting_human_feedback' ? 'awaiting feedback' : status.replaceAll('_', ' ');
}

/** An event's type as people read it: `run.awaiting_human_feedback` → `awaiting feedback`. */
export function eventText(type: string): string {
  const [family = '', name = ''] = type.split('.', 2);
  return family === 'run' ? statusText(name) : `${family} ${statusText(name)}`;
}

/** A text as a word of a shell's command. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** A name that cannot be broken well is cut in its middle. */
export function middleCut(text: string, most: number): string {
  if (text.length <= most) return text;
  const half = Math.floor((most - 1) / 2);
  return `${text.slice(0, half)}…${text.slice(-half)}`;
}
