import { shortText } from '../../core/time.ts';
import { agoText, clockText, dateText, lengthText } from './format.ts';
import { settings } from './settings.ts';
import { now } from './hooks.ts';

/** A moment as a relative time, with the absolute one on hover. */
export function Ago({ at, empty = '–' }: { at: string | null | undefined; empty?: string }) {
  if (at === null || at === undefined) return <span class="faint">{empty}</span>;
  return <Moment at={at} text={agoText(now.value - Date.parse(at))} />;
}

/** How long something has lasted, since a moment. */
export function Since({ at }: { at: string | null | undefined }) {
  if (at === null || at === undefined) return <span class="faint">–</span>;
  return <Moment at={at} text={shortText(now.value - Date.parse(at))} />;
}

/** A moment as a clock shows it. */
export function Clock({ at, withMs = false }: { at: string; withMs?: boolean }) {
  const { isUtc } = settings.value;
  const ms = Date.parse(at);
  const isToday = dateText(ms, isUtc) === dateText(now.value, isUtc);
  const clock = clockText(ms, { isUtc, withMs });
  return <Moment at={at} text={isToday ? clock : `${dateText(ms, isUtc)} ${clock}`} />;
}

function Moment({ at, text }: { at: string; text: string }) {
  return (
    <time class="num" dateTime={at} title={absoluteText(at)}>
      {text}
    </time>
  );
}

/** The browser's zone, by name; to look it up takes as long as to draw ten moments. */
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A moment in full, with its zone. */
export function absoluteText(at: string): string {
  const { isUtc } = settings.value;
  const ms = Date.parse(at);
  const zone = isUtc ? 'UTC' : ZONE;
  return `${dateText(ms, isUtc)} ${clockText(ms, { isUtc, withMs: true })} ${zone}`;
}

export function Length({ ms }: { ms: number | null | undefined }) {
  if (ms === null || ms === undefined) return <span class="faint">–</span>;
  return <span class="num">{lengthText(ms)}</span>;
}
