/** An inclusive range of whole numbers. */
interface Range {
  from: number;
  to: number;
}

/**
 * Times in alertmanager's form: all fields that are given must hold. Minutes count from midnight, their
 * end is exclusive. Weekdays count from Sunday, 0; negative days of a month count from its end.
 */
export interface TimeInterval {
  times?: readonly Range[] | undefined;
  weekdays?: readonly Range[] | undefined;
  daysOfMonth?: readonly Range[] | undefined;
  months?: readonly Range[] | undefined;
  years?: readonly Range[] | undefined;
  /** A time zone of the IANA database. */
  location: string;
}

/** One of the intervals that the configuration has by a name. */
export interface NamedInterval extends TimeInterval {
  name: string;
}

/** A time of each day, in minutes from midnight. */
export interface DigestSchedule {
  minute: number;
  location: string;
}

interface WallTime {
  year: number;
  month: number;
  day: number;
  minute: number;
  weekday: number;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** Formats are costly to make; there are as many as time zones in the configuration. */
const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(location: string): Intl.DateTimeFormat {
  const known = formats.get(location);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone: location,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  });
  formats.set(location, made);
  return made;
}

/** Whether a text names a time zone. */
export function isLocation(text: string): boolean {
  try {
    formatOf(text);
    return true;
  } catch {
    return false;
  }
}

/** What a clock on the wall shows. */
function wallTime(at: number, location: string): WallTime {
  // As in `1/31/2026, 08:05`.
  const numbers = formatOf(location).format(at).split(/\D+/, 5).map(Number);
  const [month = 0, day = 0, year = 0, hour = 0, minute = 0] = numbers;
  return {
    year,
    month,
    day,
    minute: hour * 60 + minute,
    weekday: new Date(Date.UTC(year, month - 1, day)).getUTCDay(),
  };
}

function isWithin(ranges: readonly Range[] | undefined, value: number): boolean {
  return ranges === undefined || ranges.some(({ from, to }) => value >= from && value <= to);
}

/** Whether an interval contains a time, milliseconds since the epoch. */
export function contains(interval: TimeInterval, at: number): boolean {
  const wall = wallTime(at, interval.location);
  const { times } = interval;
  return (
    (times === undefined ||
      times.some(({ from, to }) => wall.minute >= from && wall.minute < to)) &&
    isWithin(interval.weekdays, wall.weekday) &&
    isWithin(interval.months, wall.month) &&
    isWithin(interval.years, wall.year) &&
    isDayOfMonth(interval.daysOfMonth, wall)
  );
}

function isDayOfMonth(ranges: readonly Range[] | undefined, { year, month, day }: WallTime) {
  if (ranges === undefined) return true;
  const last = new Date(Date.UTC(year, month, 0)).getUTCDate();
  const dayOf = (value: number) => (value < 0 ? last + value + 1 : value);
  return ranges.some(({ from, to }) => day >= dayOf(from) && day <= dayOf(to));
}

/** Intervals that follow one another without a gap are looked through this far, ms. */
const FARTHEST_MS = 8 * DAY_MS;

/**
 * Until when the intervals contain every minute from a time on; null where none contains that time.
 * @returns milliseconds since the epoch, at the most some days ahead
 */
export function mutedUntil(intervals: readonly TimeInterval[], at: number): number | null {
  const isMuted = (time: number) => intervals.some((interval) => contains(interval, time));
  if (!isMuted(at)) return null;
  // Offsets of time zones are whole quarters of an hour, so that bounds fall on the same minutes of a quarter everywhere.
  const quarter = 15 * MINUTE_MS;
  const bounds = intervals.flatMap(({ times = [] }) => times.flatMap(({ from, to }) => [from, to]));
  const steps = [...new Set([0, ...bounds.map((minute) => minute % 15)])].sort((a, b) => a - b);
  for (let start = Math.floor(at / quarter) * quarter; ; start += quarter) {
    for (const step of steps) {
      const end = start + step * MINUTE_MS;
      if (end > at && (end >= at + FARTHEST_MS || !isMuted(end))) return end;
    }
  }
}

/**
 * The first time after another at which a clock on the wall shows the minute of the schedule: once on
 * each day of the calendar. Where the clock leaps over it, the first time after the leap; where it shows
 * it twice, the first.
 * @returns milliseconds since the epoch
 */
export function nextDigest({ minute, location }: DigestSchedule, after: number): number {
  const { year, month, day } = wallTime(after, location);
  // Days of the calendar: some have 23 hours, and some 25.
  for (let ahead = -1; ; ahead += 1) {
    const at = timeOn(Date.UTC(year, month - 1, day + ahead), minute, location);
    if (at > after) return at;
  }
}

/**
 * The first time of a day at which the clock shows a minute, or a later one.
 * @param day its midnight, as if in UTC
 */
function timeOn(day: number, minute: number, location: string): number {
  const asUtc = day + minute * MINUTE_MS;
  // Offsets of time zones lie between -12 and +14 hours.
  const shown = (at: number) => {
    const wall = wallTime(at, location);
    return Date.UTC(wall.year, wall.month - 1, wall.day) + wall.minute * MINUTE_MS;
  };
  const quarter = 15 * MINUTE_MS;
  const offsets = new Set(
    [-DAY_MS, 0, DAY_MS].map((around) => shown(asUtc + around) - (asUtc + around)),
  );
  const exact = [...offsets].map((offset) => asUtc - offset).filter((at) => shown(at) === asUtc);
  if (exact.length > 0) return Math.min(...exact);
  // The clock leaps over this minute.
  let at = asUtc - Math.max(...offsets) - DAY_MS / 4;
  while (shown(at) < asUtc) at += quarter;
  return at;
}
