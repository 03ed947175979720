import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { configSchema } from '../src/config/schema.ts';
import { presentationOf, unwrap } from '../src/config/schema-walk.ts';
import { formatDuration } from '../src/core/time.ts';

type Schema = z.core.$ZodType;

const EXAMPLE = new URL('../config/runwatch.example.yaml', import.meta.url);

/** What there are kinds of, by the path of its keys. */
const KINDS = ['sources.<name>', 'endpoints.<name>'];

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

/** A key of the configuration, in Markdown. */
export interface Key {
  path: string;
  /** The kind of source or endpoint that has it; null for a key that is not of one kind alone. */
  kind: string | null;
  type: string;
  preset: string;
  meaning: string;
}

/**
 * The keys in the order of the file, those of sources and endpoints once for each kind. Types and defaults are those of
 * the schema; the meaning is the comment of the key in the example file, which has all of them.
 */
export async function configurationKeys(): Promise<Key[]> {
  const meaningOf = await readMeanings();
  return keysOf(configSchema, '').map(({ path, kind, schema }) => {
    const meaning = meaningOf(path, kind);
    if (meaning === undefined) throw new Error(`the example says nothing of ${path}`);
    return {
      path,
      kind,
      type: typeOf(schema),
      preset: defaultOf(schema, path),
      meaning: escaped(meaning),
    };
  });
}

/** What the example file says of a key of a kind; undefined for nothing. */
export async function readMeanings() {
  const meanings = meaningsIn(await readFile(EXAMPLE, 'utf8'));
  return (path: string, kind: string | null) =>
    meanings.get(placeOf(path, kind)) ?? meanings.get(path);
}

function placeOf(path: string, kind: string | null): string {
  return kind === null ? path : `${path} of ${kind}`;
}

/** Text without the marks of Markdown. */
function escaped(text: string): string {
  return text.replaceAll(/[*<~]/g, String.raw`\$&`);
}

interface Leaf extends Pick<Key, 'path' | 'kind'> {
  schema: Schema;
}

/** The keys of a schema in the order of the file, without those that only group others. */
function keysOf(schema: Schema, path: string): Leaf[] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape).flatMap(([key, child]) => {
      // A key that nothing may be given for yet.
      if (unwrap(child) instanceof z.ZodNever) return [];
      const at = path === '' ? key : `${path}.${key}`;
      const below = keysOf(child, at);
      return below.length > 0 ? below : [{ path: at, kind: null, schema: child }];
    });
  }
  if (inner instanceof z.ZodRecord) {
    return keysOf(inner.valueType, `${path}.<name>`);
  }
  if (inner instanceof z.ZodDiscriminatedUnion) return keysOfKinds(inner, path);
  if (inner instanceof z.ZodUnion) return inner.options.flatMap((one) => keysOf(one, path));
  return inner instanceof z.ZodArray ? keysOf(inner.element, `${path}[]`) : [];
}

/** The key that tells kinds apart, and the others of each kind. */
function keysOfKinds({ options, def }: z.ZodDiscriminatedUnion, path: string): Leaf[] {
  const tag = `${path}.${def.discriminator}`;
  const ofKinds = options.map((option) => {
    const keys = keysOf(option, path);
    const given = keys.find((key) => key.path === tag)?.schema;
    const literal = given && unwrap(given);
    if (!(literal instanceof z.ZodLiteral)) throw new Error(`${tag} is no literal of each kind`);
    const kind = String(literal.value);
    const isUsual = given instanceof z.ZodOptional;
    const others = keys.filter((key) => key.path !== tag);
    return {
      kind,
      isUsual,
      keys: others.map((key): Leaf => ({ path: key.path, kind, schema: key.schema })),
    };
  });
  const kinds = z.enum(ofKinds.map(({ kind }) => kind));
  const usual = ofKinds.find(({ isUsual }) => isUsual)?.kind;
  const schema = usual === undefined ? kinds : kinds.default(usual);
  return [{ path: tag, kind: null, schema }, ...ofKinds.flatMap(({ keys }) => keys)];
}

const PRESENTED = {
  duration: 'duration',
  size: 'size',
  secret: 'text, secret',
  url: 'URL',
  'webhook-url': 'URL',
  'secret-url': 'URL, secret',
  template: 'text',
};

function typeOf(schema: Schema): string {
  const inner = unwrap(schema);
  const presentation = presentationOf(schema);
  if (presentation !== null) return PRESENTED[presentation];
  if (inner instanceof z.ZodEnum) return oneOf(inner.options.map((option) => `\`${option}\``));
  if (inner instanceof z.ZodLiteral) return `\`${String(inner.value)}\``;
  if (inner instanceof z.ZodBoolean) return '`true` or `false`';
  if (inner instanceof z.ZodNumber) return numberType(inner);
  if (inner instanceof z.ZodArray) return `list of ${typeOf(inner.element)}`;
  if (inner instanceof z.ZodRecord) return `map of names to ${typeOf(inner.valueType)}`;
  if (inner instanceof z.ZodISODateTime) return 'time';
  if (inner instanceof z.ZodUnion) return inner.options.map(typeOf).join(' or ');
  return 'text';
}

function numberType({ format, minValue, maxValue }: z.ZodNumber): string {
  const kind = format === 'safeint' ? 'whole number' : 'number';
  const [least, most] = [minValue, maxValue].map((bound) => (bound ?? 0).toLocaleString('en'));
  if (!Number.isFinite(minValue) || !Number.isFinite(maxValue)) return kind;
  if (minValue === 0 && kind === 'number') return `${kind} above 0, up to ${most}`;
  return `${kind} from ${least} to ${most}`;
}

function oneOf(words: readonly string[]): string {
  const [last = '', ...others] = words.toReversed();
  return others.length === 0 ? last : `${others.toReversed().join(', ')} or ${last}`;
}

/** Where the schema has no default, but the loading has. */
const COMPUTED: Record<string, string> = {
  data_dir: '`$XDG_DATA_HOME/runwatch`',
  'redis.maxmemory': 'half of the memory',
};

function defaultOf(schema: Schema, path: string): string {
  const given = wrappedDefault(schema);
  if (given === undefined) {
    return COMPUTED[path] ?? (schema instanceof z.ZodOptional ? 'none' : 'required');
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

/**
 * The comments of the example by the path of their key; those of sources and endpoints also by the kind, which
 * their first key says.
 */
function meaningsIn(example: string): Map<string, string> {
  const meanings = new Map<string, string>();
  let kind = '';
  for (const { path, value, comment } of commentedKeys(example)) {
    if (KINDS.includes(path)) kind = '';
    if (KINDS.some((one) => path === `${one}.type`)) kind = value;
    learn(meanings, path, comment);
    if (KINDS.some((one) => path.startsWith(one))) learn(meanings, placeOf(path, kind), comment);
  }
  return meanings;
}

/** The keys of the example, with `<name>` for names and `[]` for items, and the comment above each. */
function* commentedKeys(example: string) {
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
    const path = pathOf(open.map((one) => one.key));
    yield { path, value: rest.slice(rest.indexOf(': ') + 2), comment: comment.join(' ') };
    comment = [];
  }
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
