/** One thing that users rely on: a key, a route, a field, a flag, a metric. */
export interface Entry {
  /** What a value of it is: `string`, `null`, the name of a schema; `any` where that is not known. */
  types: readonly string[];
  /** Of an input: without it the whole is refused. Of an output: it is always there. */
  required: boolean;
  /** The words that it is limited to; empty where it is not. */
  words: readonly string[];
}

/** By name; the name of what belongs to another entry begins with the other's. */
export type Entries = ReadonlyMap<string, Entry>;

/** An entry that is of one type, and neither required nor limited to words. */
export function plain(type: string): Entry {
  return { types: [type], required: false, words: [] };
}

/** What users give to runwatch, or what runwatch gives to them. */
export type Direction = 'takes' | 'gives';

/** A change that takes something away from users. */
export interface Break {
  /** The line that a file of changes/ has to have. */
  line: string;
  /** What changed, for people. */
  detail: string;
}

/** The text of entries, a line each, in order. */
export function entriesText(entries: Entries): string {
  const lines = [...entries].map(([name, { types, required, words }]) => {
    const limits = words.length === 0 ? '' : ` = ${words.join('|')}`;
    return `${name}: ${types.join('|')}${required ? ' required' : ''}${limits}\n`;
  });
  return lines.sort().join('');
}

/** @throws Error that names a line of another form */
export function parseEntries(text: string): Entries {
  const lines = text.split('\n').filter((line) => line !== '');
  return new Map(
    lines.map((line) => {
      const [, name = '', types = '', required, words] =
        /^(.+?): (\S+)( required)?(?: = (.+))?$/.exec(line) ?? [];
      if (name === '') throw new Error(`expected "name: types", got ${JSON.stringify(line)}`);
      const entry = {
        types: types.split('|'),
        required: required !== undefined,
        words: words?.split('|') ?? [],
      };
      return [name, entry];
    }),
  );
}

/**
 * What of the recorded entries users could rely on, and cannot any more. Additions are none of it, but for what
 * an input newly needs.
 */
export function breaksOf(
  kind: string,
  direction: Direction,
  { recorded, present }: { recorded: Entries; present: Entries },
): Break[] {
  const missing = [...recorded.keys()].filter((name) => !present.has(name));
  const removed = missing.filter((name) => !missing.some((other) => isBelow(name, other)));
  const breaks = removed.map((name) => ({
    line: `Removed: ${kind} ${name}`,
    detail: 'it is gone',
  }));
  for (const [name, now] of present) {
    const before = recorded.get(name);
    if (before === undefined) {
      if (direction === 'takes' && now.required && isPartOfOld(name, { recorded, present }))
        breaks.push({ line: `Changed: ${kind} ${name}`, detail: 'it is new and required' });
      continue;
    }
    const detail = direction === 'takes' ? refused(before, now) : withheld(before, now);
    if (detail !== null) breaks.push({ line: `Changed: ${kind} ${name}`, detail });
  }
  return breaks.sort((a, b) => (a.line < b.line ? -1 : 1));
}

/** Names that `present` has and `recorded` has not. */
export function additionsTo(recorded: Entries, present: Entries): string[] {
  return [...present].flatMap(([name, { words }]) => {
    const before = recorded.get(name);
    if (before === undefined) return [name];
    return words.some((word) => before.words.length > 0 && !before.words.includes(word))
      ? [name]
      : [];
  });
}

/** What an input took and does not take any more; null for nothing. */
function refused(before: Entry, now: Entry): string | null {
  if (now.required && !before.required) return 'it is required now';
  if (now.types.includes('any')) return null;
  const types = before.types.filter((type) => !now.types.includes(type));
  if (types.length > 0) return `it does not take ${types.join(', ')} any more`;
  if (before.words.length === 0 && now.words.length > 0)
    return `it is limited to ${now.words.join(', ')} now`;
  return lostWords(before, now);
}

/** What readers of an output could expect of it, and cannot any more; null for nothing. */
function withheld(before: Entry, now: Entry): string | null {
  const isKnown = !before.types.includes('any') && !now.types.includes('any');
  const lost = before.types.filter((type) => type !== 'null' && !now.types.includes(type));
  // Another schema is one more kind of thing, as a new type of event is.
  const gained = now.types.filter((type) => !before.types.includes(type) && !/^[A-Z]/.test(type));
  if (isKnown && lost.length + gained.length > 0)
    return `it was ${before.types.join(' or ')} and is ${now.types.join(' or ')}`;
  if (before.required && !now.required) return 'it may be absent now';
  return lostWords(before, now);
}

function lostWords(before: Entry, now: Entry): string | null {
  const words = now.words.length === 0 ? [] : before.words.filter((w) => !now.words.includes(w));
  return words.length === 0 ? null : `it has no ${words.join(', ')} any more`;
}

/** Whether callers of before can have given what a new entry belongs to. */
function isPartOfOld(
  name: string,
  { recorded, present }: { recorded: Entries; present: Entries },
): boolean {
  const wholes = [...present.keys()].filter((other) => isBelow(name, other));
  const whole = wholes.reduce((longest, one) => (one.length > longest.length ? one : longest), '');
  return whole === '' || recorded.has(whole);
}

function isBelow(name: string, other: string): boolean {
  return name.startsWith(other) && /[ .[({]/.test(name.charAt(other.length));
}
