import { canonicalRunId } from '../core/run.ts';

/** The form that the API accepts. */
const RUN_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi;

/** What scripts print where they have no id: taken for one, nothing would ever be heard of it. */
const NOTHING = new Set(['null', 'undefined', 'none', 'nan']);

/** Characters around an id that come along when it is copied. */
const WRAPPING = ' \t\r\n\u{feff}\u{a0}{}[]()<>"\'`,;';

/** Longest text that is looked through for an id. */
const MAX_LENGTH = 4_096;

/** The run id that a text holds: the id itself, also in braces or quotes, or the run's URL; or null. */
export function findRunId(text: string): string | null {
  if (text.length > MAX_LENGTH) return null;
  const bare = unwrapped(text);
  const id = bare.includes('://') ? idOfUrl(bare) : bare;
  if (id === null || !RUN_ID.test(id) || NOTHING.has(id.toLowerCase())) return null;
  return canonicalRunId(id);
}

function unwrapped(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && WRAPPING.includes(text.charAt(start))) start += 1;
  while (end > start && WRAPPING.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

/** What follows `runs` in the path, else the last UUID, else the last part of the path. */
function idOfUrl(text: string): string | null {
  if (!URL.canParse(text)) return null;
  const { pathname, search, hash } = new URL(text);
  const parts = `${pathname}${hash}`.split(/[/#?&=]/).filter((part) => part !== '');
  const runsAt = parts.findIndex((part) => /^runs?$/i.test(part));
  const named = runsAt < 0 ? undefined : parts[runsAt + 1];
  if (named !== undefined) return named;
  return `${pathname}${search}${hash}`.match(UUID)?.at(-1) ?? parts.at(-1) ?? null;
}
