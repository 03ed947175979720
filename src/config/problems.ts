import { z } from 'zod';
import { groupBy } from '../core/arrays.ts';
import { REDACTED } from './redact.ts';
import { objectAt, presentationOf, schemaAt, unwrap, valueAt, type Path } from './schema-walk.ts';

/** Where something stands; line and column count from 1. */
export interface Place {
  /** The file as it was named or found. */
  file: string;
  line: number;
  column: number;
}

/** Something that is wrong with a setting, for its author. */
export interface ConfigProblem {
  /** The way to the setting; alone, the variable or flag that its value came from. */
  path: Path;
  /** What was expected and what was found instead; never the value of a secret. */
  message: string;
  /** Absent until the setting is found in a file, and where it is in none. */
  place?: Place;
}

/** The variable that a value came from, or would have come from. */
export interface Reference {
  variable: string;
  /** True when the value must not be shown, whatever setting it was given to. */
  secret: boolean;
  /** True when the variable names a file that could not be read, which is reported by itself. */
  failed: boolean;
  /** True when the file gives a default, even an empty one. */
  hasDefault: boolean;
}

/** One line: `config/runwatch.yaml:12:3 polling.min_intervall: unknown key`. */
export function formatProblem(problem: ConfigProblem): string {
  return `${subjectOf(problem)}: ${problem.message}`;
}

function subjectOf({ path, place }: ConfigProblem): string {
  const at = place === undefined ? '' : `${place.file}:${place.line}:${place.column}`;
  return [at, pathText(path)].filter((part) => part !== '').join(' ');
}

/** Where a key ends as it was meant: the rest are lines that ran together because a colon is missing. */
const BEYOND_KEY = /[\s"'{},[\]].*/s;

/** A path as it is shown: a key that is more than a word may hold a secret. */
export function pathText(path: Path): string {
  return path.map((key) => String(key).replace(BEYOND_KEY, '…')).join('.');
}

function byPlace({ place: a }: ConfigProblem, { place: b }: ConfigProblem): number {
  return (a?.line ?? 0) - (b?.line ?? 0) || (a?.column ?? 0) - (b?.column ?? 0);
}

/**
 * One problem per setting, in the order of the file: of several consequences of one mistake, only
 * the first is worth reading.
 */
export function tidy(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return firstOfEach(problems, subjectOf).sort(byPlace);
}

function firstOfEach<Item>(items: readonly Item[], keyOf: (item: Item) => string): Item[] {
  return [...groupBy(items, keyOf).values()].flatMap((same) => same.slice(0, 1));
}

/** A path as a key of a Map; the separator occurs in no key of a text file. */
export function pathKey(path: Path): string {
  return path.join('\0');
}

/** Every path from a setting up to the root, the longest first. */
export function* ancestry(path: Path): Generator<Path> {
  for (let { length } = path; length >= 0; length -= 1) yield path.slice(0, length);
}

/** Edits between two words, where two neighbours that changed places are one edit. */
function editDistance(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const same = from[row - 1] === to[column - 1];
      const swapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      current[column] = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (beforeLast[column - 2] ?? 0) + 1 : Infinity,
      );
    }
    [beforeLast, last] = [last, current];
  }
  return last[to.length] ?? Infinity;
}

/**
 * The candidate that the author most likely meant.
 * @returns null when none is within one edit for every three letters: a wild guess would mislead
 */
export function suggest(word: string, candidates: readonly string[]): string | null {
  let [best, least]: [string | null, number] = [null, Math.max(1, Math.floor(word.length / 3)) + 1];
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

type Issue = z.core.$ZodIssue;

/** What the schema was given, so that its issues can be put into words. */
export interface Subject {
  schema: z.ZodType;
  value: unknown;
  /** The variables behind values, by `pathKey`. */
  references: ReadonlyMap<string, Reference>;
}

const TYPES: Record<string, string> = {
  object: 'a map of settings',
  record: 'a map of settings',
  array: 'a list',
  string: 'text',
};

/** What the schema expected, where it does not say so itself: a global error map for `safeParse`. */
export function expectation(issue: z.core.$ZodRawIssue): string | undefined {
  const { code } = issue;
  if (code === 'invalid_type') return `expected ${TYPES[issue.expected] ?? issue.expected}`;
  if (code === 'invalid_key') return issue.issues[0]?.message;
  if (code === 'too_small') return 'expected text that is not empty';
  if (code === 'invalid_value' || code === 'invalid_union') {
    return `expected ${listing(optionsOf(issue))}`;
  }
  return undefined;
}

/** The values that would have been right, where there is a list of them. */
function optionsOf(issue: Pick<Issue, 'code'> & Record<string, unknown>): string[] {
  const { code, params } = issue;
  if (code === 'custom') return ((params as { options?: string[] })?.options ?? []).map(String);
  const options = code === 'invalid_value' ? issue['values'] : issue['options'];
  // A discriminator that may be absent counts `undefined` among its values.
  return Array.isArray(options) ? options.filter((one) => one !== undefined).map(String) : [];
}

function listing(options: string[]): string {
  const last = options.at(-1) ?? '';
  return options.length < 2 ? last : `${options.slice(0, -1).join(', ')} or ${last}`;
}

/** The issues of one parse, one problem for each setting, in words for its author. */
export function explainIssues(issues: readonly Issue[], subject: Subject): ConfigProblem[] {
  const problems = issues.flatMap((issue) => explain(issue, subject));
  return firstOfEach(problems, ({ path }) => pathKey(path));
}

function explain(issue: Issue, subject: Subject): ConfigProblem[] {
  const path = writtenPath(
    issue.path.filter((key) => typeof key !== 'symbol'),
    subject,
  );
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => unknownKey([...path, key], subject));
  }
  if (issue.code === 'invalid_key') return [{ path, message: issue.message }];
  const reference = subject.references.get(pathKey(path));
  if (reference?.failed === true) return [];
  const value = valueAt(subject.value, path);
  const meant = typeof value === 'string' ? suggest(value, optionsOf({ ...issue })) : null;
  return [
    { path, message: `${issue.message}, ${describeFound(path, subject)}${didYouMean(meant)}` },
  ];
}

/** The first item of a list is the setting itself where a list of one may be written without brackets. */
function writtenPath(path: Path, { value }: Subject): Path {
  const parent = path.slice(0, -1);
  const isList = path.at(-1) !== 0 || Array.isArray(valueAt(value, parent));
  return isList || valueAt(value, parent) === undefined ? path : parent;
}

function unknownKey(path: Path, { schema, value }: Subject): ConfigProblem {
  const parent = path.slice(0, -1);
  const owner = schemaAt(schema, value, parent);
  const object = owner === null ? null : objectAt(owner, valueAt(value, parent));
  const names = owner === null ? [] : keyNamesOf(owner);
  const meant = suggest(String(path.at(-1)), [...names, ...Object.keys(object?.shape ?? {})]);
  const expected = names.length === 0 ? '' : `, expected ${listing(names)}`;
  return { path, message: `unknown key${expected}${didYouMean(meant)}` };
}

/** The keys of a map that has no others. */
function keyNamesOf(owner: z.core.$ZodType): string[] {
  const map = unwrap(owner);
  const keys = map instanceof z.ZodRecord ? map.keyType : null;
  return keys instanceof z.ZodEnum ? keys.options.map(String) : [];
}

/** A hint for the author; nothing where no word is near. */
export function didYouMean(word: string | null): string {
  return word === null ? '' : ` (did you mean ${word}?)`;
}

/** What would have given a setting its value, where the file does not say so. */
const VARIABLES: Record<string, string> = { 'sources.default.api_key': 'NOXUS_API_KEY' };

/** What stands at a path, by its value only where that can be no secret. */
function describeFound(path: Path, { schema, value, references }: Subject): string {
  const found = valueAt(value, path);
  const reference = references.get(pathKey(path));
  if (found === undefined) {
    const variable = reference?.variable ?? VARIABLES[path.join('.')];
    return variable === undefined ? 'but it is missing' : `but ${variable} is not set`;
  }
  const from = reference === undefined ? '' : ` from ${reference.variable}`;
  const shown = reference?.secret === true ? hide(found) : show(found, { schema, value, path });
  return `got ${shown}${from}`;
}

/** The scheme of a URL: of one that is written wrongly, the only part that no password can be in. */
const SCHEME = /^[a-z][a-z0-9+.-]{0,9}:\/\//i;

function describeUrl(text: string): string {
  const scheme = SCHEME.exec(text)?.[0];
  if (scheme === undefined) return 'text without ://';
  return `${URL.canParse(text) ? 'a URL' : 'text'} that begins with ${scheme}`;
}

/** How settings are presented that hold no secret. */
const SHOWN: ReadonlySet<string> = new Set(['duration', 'size', 'template']);

function show(
  found: unknown,
  { schema, value, path }: { schema: z.ZodType; value: unknown; path: Path },
) {
  const at = schemaAt(schema, value, path);
  // Only the discriminator of a variant that does not exist leads nowhere.
  if (at === null) return quote(found);
  const presentation = presentationOf(at);
  if (presentation === 'url' && typeof found === 'string') return describeUrl(found);
  if (isTemplate(at) && typeof found === 'string') return quoteTemplate(found);
  if (presentation !== null && !SHOWN.has(presentation)) return hide(found);
  return isCollection(unwrap(at)) ? kindOf(found) : quote(found);
}

/** Whether text at this place is a template, also in the place of a list or map of such. */
function isTemplate(schema: z.core.$ZodType): boolean {
  if (presentationOf(schema) === 'template') return true;
  const inner = unwrap(schema);
  if (inner instanceof z.ZodArray) return isTemplate(inner.element);
  return inner instanceof z.ZodUnion && inner.options.some((option) => isTemplate(option));
}

/** Text in the place of a collection is often a secret that lost its key, so it is not shown. */
function isCollection(schema: z.core.$ZodType): boolean {
  if (schema instanceof z.ZodRecord || schema instanceof z.ZodArray) return true;
  return schema instanceof z.ZodObject || schema instanceof z.ZodDiscriminatedUnion;
}

function hide(value: unknown): string {
  if (typeof value === 'number') return 'a number, which needs quotes to be text';
  return typeof value === 'string' ? REDACTED : kindOf(value);
}

/**
 * Such as names, numbers and networks. More than that may be lines that ran together because a quote
 * or a colon is missing, and one of them may have held a secret.
 */
const WORD = /^([\w.:*+-]+(\/[\w.:*+-]+)*)?$/;

/**
 * Templates and paths as they are meant: white space may be from lines that ran into them, and a URL without
 * braces is something else.
 */
const TEMPLATE = /^([/${](?!.*\/\/)|[\w.-]+\/[\w./{}-]*$|https?:\/\/[^@]*\{[^@]*$)\S*$/;

/** What a query gives its keys, but for what braces stand for: it is not needed to find a mistake. */
const GIVEN_BY_QUERY = /(?<=[?&][\w.-]+=)[^&{}]+/g;

const MOST_OF_TEMPLATE = 200;

function quoteTemplate(text: string): string {
  if (!TEMPLATE.test(text) || /\s/.test(text)) return quote(text);
  const shown = text.replaceAll(GIVEN_BY_QUERY, '…');
  const isLong = shown.length > MOST_OF_TEMPLATE;
  return JSON.stringify(isLong ? `${shown.slice(0, MOST_OF_TEMPLATE)}…` : shown);
}

function quote(value: unknown): string {
  if (typeof value === 'number') return `the number ${value}`;
  if (typeof value !== 'string') return kindOf(value);
  if (!WORD.test(value)) {
    if (value.includes('//')) return 'text with a URL in it';
    return value.length > 60 ? `text of ${value.length} characters` : 'text that is no single word';
  }
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return 'a number';
  return typeof value === 'string' ? 'text' : 'a map';
}

/** A problem for a name that is none of those known, with the nearest of them. */
export function unknownName(
  path: Path,
  name: string,
  { what, names }: { what: string; names: readonly string[] | null },
): ConfigProblem[] {
  if (names === null || names.includes(name)) return [];
  const hint = didYouMean(suggest(name, names)) || expectedNames(names);
  return [{ path, message: `no ${what} is named ${JSON.stringify(name)}${hint}` }];
}

/** The most names that are said where another was expected. */
const MOST_NAMES = 10;

function expectedNames(names: readonly string[]): string {
  if (names.length === 0) return ', and none is configured';
  const more = names.length > MOST_NAMES ? ', …' : '';
  return `; expected one of: ${names.slice(0, MOST_NAMES).join(', ')}${more}`;
}
