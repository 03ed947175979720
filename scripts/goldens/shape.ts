/** Fields that have a value or are null from one moment to the next. */
const CHANGING = new Set([
  'connect_ms',
  'duration',
  'last_answer_at',
  'next_attempt_at',
  'next_poll_at',
  'oldest_pending_at',
]);

/**
 * A JSON value without what differs from run to run: times, ids, ports and measured numbers become their
 * kind. Of a list only elements of different shapes remain.
 */
export function shapeOf(value: unknown, field = ''): unknown {
  if (CHANGING.has(field)) return '<value or null>';
  if (field === 'next_cursor' && typeof value === 'string') return '<cursor>';
  if (typeof value === 'number') return '<number>';
  if (typeof value === 'string') return textShape(value);
  if (Array.isArray(value)) return distinct(value.map((one) => shapeOf(one, field)));
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).map(([name, one]): [string, unknown] => [
    textShape(name),
    shapeOf(one, name),
  ]);
  // Counts by status or type have the order in which Redis gives them.
  return Object.fromEntries(
    field.startsWith('by_') ? fields.sort(([a], [b]) => (a < b ? -1 : 1)) : fields,
  );
}

function distinct(values: unknown[]): unknown[] {
  const byText = new Map(values.map((value) => [JSON.stringify(value), value]));
  return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}

/** A text with the kinds of what it names. */
export function textShape(text: string): string {
  return text
    .replaceAll(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, '<time>')
    .replaceAll(/\b(evt|dlv|alr|sil|aud|bat)_[\w~-]+/g, '$1_<id>')
    .replaceAll(/\b[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}\b/g, '<uuid>')
    .replaceAll(/\b\d+ deliver(?:y|ies) to (\w+) (?:was|were)/g, '<number> deliveries to $1 were')
    .replaceAll(/\bwhsec_[\w+/=]+/g, 'whsec_<secret>')
    .replaceAll(/\brunwatch\/\d[\w.-]*/g, 'runwatch/<version>')
    .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:<port>')
    .replaceAll(/#[\da-f]{6}\b/g, '#<hash>')
    .replaceAll(/\b\d+(\.\d+)? (ms|s|m|h|MB|days|d)\b/g, '<number> $2');
}
