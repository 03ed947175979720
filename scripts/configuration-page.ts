import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { configSchema } from '../src/config/schema.ts';
import { presentationOf, unwrap } from '../src/config/schema-walk.ts';
import { formatDuration } from '../src/core/time.ts';

type Schema = z.core.$ZodType;

const EXAMPLE = new URL('../config/runwatch.example.yaml', import.meta.url);

/** Maps of the example whose keys are names that users choose. */
const NAMED = new Set([
  'sources',
  'workflows',
  'endpoints',
  'metadata',
  'headers',
  'mentions',
  'annotations',
  'time_intervals',
]);

/**
 * One row for each key: its path, its type, its default and what it means. Types and defaults are those
 * of the schema; the meaning is the comment of the key in the example file, which has all of them.
 */
export async function configurationRows(): Promise<string[][]> {
  const meanings = meaningsIn(await readFile(EXAMPLE, 'utf8'));
  const rows = new Map<string, string[]>();
  for (const [path, schema] of keysOf(configSchema, '')) {
    const meaning = meanings.get(path);
    if (meaning === undefined) throw new Error(`the example says nothing of ${path}`);
    const others = rows.get(path);
    if (others === undefined) {
      const row = [`\`${path}\``, typeOf(schema), defaultOf(schema, path), escaped(meaning)];
      rows.set(path, row);
    } else if (schema instanceof z.ZodLiteral) {
      others[1] += `, ${typeOf(schema)}`;
    }
  }
  return [...rows.values()];
}

/** Text without the marks of Markdown. */
function escaped(text: string): string {
  return text.replaceAll(/[*<~]/g, String.raw`\$&`);
}

/** The keys of a schema in the order of the file, without those that only group others. */
function keysOf(schema: Schema, path: string): [string, Schema][] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape).flatMap(([key, child]) => {
      const at = path === '' ? key : `${path}.${key}`;
      const below = keysOf(child, at);
      return below.length > 0 ? below : [[at, child] as [string, Schema]];
    });
  }
  if (inner instanceof z.ZodRecord) {
    return keysOf(inner.valueType, `${path}.<name>`);
  }
  if (inner instanceof z.ZodDiscriminatedUnion) {
    return inner.options.flatMap((option) => keysOf(option, path));
  }
  return inner instanceof z.ZodArray ? keysOf(inner.element, `${path}[]`) : [];
}

const PRESENTED = {
  duration: 'duration',
  secret: 'secret text',
  url: 'URL',
  'webhook-url': 'URL',
  'secret-url': 'secret URL',
};

function typeOf(schema: Schema): string {
  const inner = unwrap(schema);
  const presentation = presentationOf(schema);
  if (presentation !== null) return PRESENTED[presentation];
  if (inner instanceof z.ZodEnum) return inner.options.map((option) => `\`${option}\``).join(', ');
  if (inner instanceof z.ZodLiteral) return `\`${String(inner.value)}\``;
  if (inner instanceof z.ZodBoolean) return '`true`, `false`';
  if (inner instanceof z.ZodNumber) return numberType(inner);
  if (inner instanceof z.ZodArray) return `list of ${typeOf(inner.element)}`;
  if (inner instanceof z.ZodRecord) return `map of ${typeOf(inner.valueType)}`;
  if (inner instanceof z.ZodISODateTime) return 'time';
  if (inner instanceof z.ZodUnion) return inner.options.map(typeOf).join(' or ');
  return 'text';
}

function numberType({ format, minValue, maxValue }: z.ZodNumber): string {
  const kind = format === 'safeint' ? 'whole number' : 'number';
  return `${kind} ${minValue === 0 && kind === 'number' ? 'above 0, up to' : `${minValue} to`} ${maxValue}`;
}

/** Where the schema has no default, but the loading has. */
const COMPUTED: Record<string, string> = { data_dir: '`$XDG_DATA_HOME/runwatch`' };

function defaultOf(schema: Schema, path: string): string {
  const given = wrappedDefault(schema);
  if (given === undefined) {
    if (schema instanceof z.ZodOptional) return 'none';
    return COMPUTED[path] ?? 'required';
  }
  const inner = unwrap(schema);
  const isDurations = inner instanceof z.ZodArray && presentationOf(inner.element) === 'duration';
  const shown = isDurations ? (given as number[]).map(formatDuration) : given;
  if (Array.isArray(shown)) return `\`[${shown.join(', ')}]\``;
  return `\`${typeof shown === 'string' ? shown : JSON.stringify(shown)}\``;
}

/** The default at any depth of optionals, defaults and transformations. */
function wrappedDefault(schema: Schema): unknown {
  if (schema instanceof z.ZodDefault) return schema.def.defaultValue;
  if (schema instanceof z.ZodOptional) return undefined;
  if (!(schema instanceof z.ZodPipe)) return undefined;
  return wrappedDefault(schema.in instanceof z.ZodTransform ? schema.out : schema.in);
}

/** The comments of the example by the path of their key, with `<name>` for names and `[]` for items. */
function meaningsIn(example: string): Map<string, string> {
  const meanings = new Map<string, string>();
  const open: { indent: number; key: string }[] = [];
  let comment: string[] = [];
  for (const line of withExamples(example).split('\n')) {
    const { indent, mark, rest } = readLine(line);
    if (mark === '# ') comment.push(rest);
    if (line === '') comment = [];
    if (mark === '# ' || line === '') continue;
    while ((open.at(-1)?.indent ?? -1) >= indent) open.pop();
    open.push({ indent: indent, key: mark === '' ? keyOf(rest) : '[]' });
    if (mark === '- ') continue;
    learn(meanings, pathOf(open.map((one) => one.key)), comment.join(' '));
    comment = [];
  }
  return meanings;
}

/** The file with its examples uncommented, and each item of a list on a line of its own. */
function withExamples(text: string): string {
  return text
    .replaceAll(/^#(?! |$)/gm, '')
    .replaceAll(/^#(?= {2,}\S)/gm, '')
    .replaceAll(/^( *)- (\w+:)/gm, '$1- \n$1  $2');
}

function readLine(line: string): { indent: number; mark: string; rest: string } {
  const [, spaces = '', mark = '', rest = ''] = /^( *)(# |- |)(.*)$/.exec(line) ?? [];
  return { indent: spaces.length, mark, rest };
}

function keyOf(text: string): string {
  return /^([\w.-]+):/.exec(text)?.[1] ?? '';
}

/** The first comment of a key counts; each kind of endpoint says what its type is. */
function learn(meanings: Map<string, string>, path: string, meaning: string): void {
  if (meaning === '' || meaning === 'As above.') return;
  const earlier = meanings.get(path);
  if (earlier === undefined) meanings.set(path, meaning);
  else if (path.endsWith('.type')) meanings.set(path, `${earlier} ${meaning}`);
}

function pathOf(keys: readonly string[]): string {
  return keys
    .map((key, at) => (NAMED.has(keys[at - 1] ?? '') ? '<name>' : key))
    .join('.')
    .replaceAll('.[]', '[]');
}
