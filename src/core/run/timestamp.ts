/** ISO 8601 as RFC 3339 and Python's `isoformat()` write it: any fraction, the zone may be missing. */
const TIMESTAMP =
  /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)? ?(?:(Z)|([+-]\d{2}):?(\d{2})?)?$/i;

/**
 * Reads a timestamp of an API. One without a zone is UTC: Python services write such times
 * for `datetime.utcnow()`, and `Date.parse` alone would take them for local time.
 * @returns ISO 8601 UTC with milliseconds (finer fractions are cut off), or null when unreadable. A time
 * outside of the years 0 to 9999, to which a zone may lead, has no such form.
 */
export function readTimestamp(value: unknown): string | null {
  const match = typeof value === 'string' ? TIMESTAMP.exec(value) : null;
  if (match === null) return null;
  const [, date, time = '00:00', seconds = '00', fraction = '', , hours, minutes = '00'] = match;
  const zone = hours === undefined ? 'Z' : `${hours}:${minutes}`;
  const milliseconds = fraction.slice(0, 3).padEnd(3, '0');
  const epochMs = Date.parse(`${date}T${time}:${seconds}.${milliseconds}${zone}`);
  const text = Number.isNaN(epochMs) ? '' : new Date(epochMs).toISOString();
  return /^\d{4}-/.test(text) ? text : null;
}
