import { z } from 'zod';
import type { Reference } from './expand.ts';
import { REDACTED } from './mask.ts';
import { pathKey, type ObservationDraft, type Path } from './problem.ts';
import { suggest } from './suggest.ts';
import { objectAt, presentationOf, schemaAt, unwrap, valueAt } from './walk.ts';

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
  return Array.isArray(options) ? options.map(String) : [];
}

function listing(options: string[]): string {
  const last = options.at(-1) ?? '';
  return options.length < 2 ? last : `${options.slice(0, -1).join(', ')} or ${last}`;
}

/** The issues of one parse, one finding for each setting, in words for its author. */
export function explainIssues(issues: readonly Issue[], subject: Subject): ObservationDraft[] {
  const findings = new Map<string, ObservationDraft>();
  for (const finding of issues.flatMap((issue) => explain(issue, subject))) {
    const key = pathKey(finding.path);
    if (!findings.has(key)) findings.set(key, finding);
  }
  return [...findings.values()];
}

function explain(issue: Issue, subject: Subject): ObservationDraft[] {
  const path = issue.path.filter((key) => typeof key !== 'symbol');
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

function unknownKey(path: Path, { schema, value }: Subject): ObservationDraft {
  const parent = path.slice(0, -1);
  const owner = schemaAt(schema, value, parent);
  const object = owner === null ? null : objectAt(owner, valueAt(value, parent));
  const meant = suggest(String(path.at(-1)), Object.keys(object?.shape ?? {}));
  return { path, message: `unknown key${didYouMean(meant)}` };
}

function didYouMean(word: string | null): string {
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
  if (scheme === undefined) return 'text without a scheme';
  return `${URL.canParse(text) ? 'a URL' : 'text'} that begins with ${scheme}`;
}

function show(
  found: unknown,
  { schema, value, path }: { schema: z.ZodType; value: unknown; path: Path },
) {
  const at = schemaAt(schema, value, path);
  // Only the discriminator of a variant that does not exist leads nowhere.
  if (at === null) return quote(found);
  const presentation = presentationOf(at);
  if (presentation === 'url' && typeof found === 'string') return describeUrl(found);
  if (presentation !== null && presentation !== 'duration') return hide(found);
  return isCollection(unwrap(at)) ? kindOf(found) : quote(found);
}

/** Text in the place of a collection is often a secret that lost its key, so it is not shown. */
function isCollection(schema: z.core.$ZodType): boolean {
  if (schema instanceof z.ZodRecord || schema instanceof z.ZodArray) return true;
  return schema instanceof z.ZodObject || schema instanceof z.ZodDiscriminatedUnion;
}

function hide(value: unknown): string {
  return typeof value === 'string' ? REDACTED : kindOf(value);
}

/**
 * Such as names, numbers and networks. More than that may be lines that ran together because a quote
 * or a colon is missing, and one of them may have held a secret.
 */
const WORD = /^([\w.:*+-]+(\/[\w.:*+-]+)*)?$/;

function quote(value: unknown): string {
  if (typeof value === 'number') return `the number ${value}`;
  if (typeof value !== 'string') return kindOf(value);
  if (!WORD.test(value))
    return value.includes('//') ? 'text with a URL in it' : 'text that is no single word';
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return 'a number, which needs quotes to be text';
  return typeof value === 'string' ? 'text' : 'a map';
}
