import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Entries, type Entry, plain } from './entry.ts';
import { type JsonSchema, SchemaEntries } from './schema.ts';

/** The verbs with their arguments and flags, by their help. */
export async function cliFlags(root: string): Promise<Entries> {
  const [, ...helps] = (await golden(root, 'help.txt')).split(/^=== /m);
  const found = new Map<string, Entry>();
  for (const help of helps) {
    const verb = help.slice(0, help.indexOf(' --help\n'));
    found.set(verb, plain('verb'));
    for (const [name, entry] of [argumentsIn(verb, help), flagsIn(verb, help)].flat())
      found.set(name, entry);
  }
  return found;
}

function argumentsIn(verb: string, help: string): [string, Entry][] {
  const [usage = ''] = /^Usage: .*$/m.exec(help) ?? [];
  const places = usage.match(/<\S+>|\[(?!options|command)\S+\]/g) ?? [];
  return places.map((place, at) => {
    const { types, words } = plain(place.includes('...') ? 'arguments' : 'argument');
    return [`${verb} argument ${at + 1}`, { types, required: place.startsWith('<'), words }];
  });
}

/** A flag, what stands behind it, and its meaning with the lines that go on with it. */
const FLAG = /^ {2}(?:-\w, )?(--[\w-]+)( <.+?>)?(.*(?:\n {8,}.*)*)/gm;

function flagsIn(verb: string, help: string): [string, Entry][] {
  const [, options = ''] = /^Options:\n((?: .*\n)+)/m.exec(help) ?? [];
  return [...options.matchAll(FLAG)].map(([, flag = '', value, meaning = '']) => {
    const { types, required } = plain(value === undefined ? 'switch' : 'value');
    return [`${verb} ${flag}`, { types, required, words: choicesIn(meaning) }];
  });
}

function choicesIn(meaning: string): string[] {
  const [, choices = ''] = /\(choices:([^)]*)\)/.exec(meaning) ?? [];
  return [...choices.matchAll(/"(.+?)"/g)].map(([, word = '']) => word).sort();
}

/** The configuration that `config` prints has its own kind. */
const ELSEWHERE = new Set(['config']);

/** The fields that verbs print with --json, as far as the goldens show them. */
export async function cliJson(root: string): Promise<Entries> {
  const verbs = JSON.parse(await golden(root, 'verbs.json')) as Record<string, { stdout: unknown }>;
  const found = new SchemaEntries({});
  for (const [verb, { stdout }] of Object.entries(verbs))
    if (!ELSEWHERE.has(verb)) found.add(verb, exampleSchema(stdout), false);
  return found.entries;
}

/** Fields that map names of statuses, rules and the like to values. */
const MAPS = /^(?:by_\w+|counts|labels|metadata|annotations|details)$/;

/** What an example shows of a schema: not whether its values may be null or absent. */
function exampleSchema(value: unknown, field = ''): JsonSchema {
  if (value === null || value === '<value or null>') return {};
  if (value === '<number>') return { type: 'number' };
  if (Array.isArray(value)) return { type: 'array', items: anyOf(value) };
  if (typeof value !== 'object') return { type: typeof value };
  if (MAPS.test(field))
    return { type: 'object', additionalProperties: anyOf(Object.values(value)) };
  const fields = Object.entries(value).map(([name, one]) => [name, exampleSchema(one, name)]);
  return { type: 'object', properties: Object.fromEntries(fields) as Record<string, JsonSchema> };
}

function anyOf(values: unknown[]): JsonSchema {
  return values.length === 0 ? {} : { anyOf: values.map((one) => exampleSchema(one)) };
}

/** What the command line exits with, by what happened. */
export async function cliExits(root: string): Promise<Entries> {
  const lines = (await golden(root, 'exit-codes.txt')).trim().split('\n');
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(': ');
      return [line.slice(0, at).replace(':', ''), plain(line.slice(at + 2))];
    }),
  );
}

function golden(root: string, name: string): Promise<string> {
  return readFile(join(root, 'test/goldens', name), 'utf8');
}
