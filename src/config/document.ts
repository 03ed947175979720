import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type Pair,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
  LineCounter,
  parseDocument,
  visit,
  type Alias,
  type Document,
  type Node,
  type YAMLError,
} from 'yaml';
import { type Environment, expand } from './environment.ts';
import { type Reference, pathKey, type ConfigProblem, type Place } from './problems.ts';
import { childValue, type Path } from './schema-walk.ts';

/** A parsed file: its nodes, and how to find out where one stands and what an alias stands for. */
export interface ParsedYaml {
  root: Node | null;
  /** Faults of the YAML itself, without a word of the text around them. */
  problems: ConfigProblem[];
  /** True when the nodes are not what the author meant, so that reading them would mislead. */
  broken: boolean;
  placeOf(node: Node): Place;
  /** The node that an alias stands for; undefined when no such anchor comes before it. */
  target(alias: Alias): Node | undefined;
}

/** The parser's own words quote the text in these cases, and the text may be a secret. */
const MESSAGES: Partial<Record<YAMLError['code'], string>> = {
  DUPLICATE_KEY: 'this key is given twice in the same map',
  MULTIPLE_DOCS: 'expected one YAML document, but the file holds several',
  TAG_RESOLVE_FAILED: 'unknown YAML tag (text that starts with ! needs quotes)',
  BAD_ALIAS: 'malformed anchor or alias (text that starts with & or * needs quotes)',
  BAD_DIRECTIVE: 'unknown YAML directive',
  BAD_DQ_ESCAPE: 'unknown escape sequence in a text in double quotes',
  BAD_SCALAR_START: 'text that starts with this character needs quotes',
  UNEXPECTED_TOKEN: 'this is not expected here',
};

/** @param rest the text from where the fault is */
function syntaxProblem({ code, message }: YAMLError, place: Place, rest: string): ConfigProblem {
  const key = code === 'DUPLICATE_KEY' ? /^[\w-]+/.exec(rest)?.[0] : undefined;
  return { path: key === undefined ? [] : [key], message: MESSAGES[code] ?? message, place };
}

/**
 * Deeper than any configuration. The parser recurses into nested collections: some thousands of brackets
 * would overflow the stack and end the process.
 */
const MAX_DEPTH = 100;

/** Whether a text may nest deeper than {@link MAX_DEPTH}, by its brackets and the marks of its lines. */
function mayBeTooDeep(text: string): boolean {
  let [brackets, marks] = [0, 0];
  for (const character of text) {
    if (character === '[' || character === '{') brackets += 1;
    else if (character === ']' || character === '}') brackets = Math.max(0, brackets - 1);
    if (character === '\n') marks = 0;
    else if (MARKS.has(character)) marks += 1;
    else if (character !== ' ') marks = -Infinity;
    if (brackets > MAX_DEPTH || marks > MAX_DEPTH) return true;
  }
  return false;
}

/** What begins an item of a list, a key, an anchor, an alias or a tag. */
const MARKS = new Set(['-', '?', ':', '&', '*', '!']);

function tooDeep(place: Place): ParsedYaml {
  return {
    root: null,
    problems: [{ path: [], message: 'nested too deeply, or too large', place }],
    broken: true,
    placeOf: () => place,
    target: () => undefined,
  };
}

function aliasTargets(document: Document): Map<Alias, Node> {
  const anchors = new Map<string, Node>();
  const targets = new Map<Alias, Node>();
  visit(document, {
    Alias: (_key, alias) => {
      const target = anchors.get(alias.source);
      if (target !== undefined) targets.set(alias, target);
    },
    Value: (_key, node) => {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  return targets;
}

/** Parses YAML 1.2 with merge keys. Duplicate keys, unknown tags and further documents are faults. */
export function parseYaml({ name: file, text }: { name: string; text: string }): ParsedYaml {
  if (mayBeTooDeep(text)) return tooDeep({ file, line: 1, column: 1 });
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    merge: true,
    stringKeys: true,
    // Pretty errors quote the line, and the line may hold a secret.
    prettyErrors: false,
  });
  const errors = [...document.errors, ...document.warnings];
  const targets = aliasTargets(document);
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line, column: col };
  };
  return {
    root: document.contents,
    problems: errors.map((error) => {
      const [at] = error.pos;
      return syntaxProblem(error, placeAt(at), text.slice(at));
    }),
    broken: errors.some(({ code }) => code !== 'DUPLICATE_KEY'),
    placeOf: (node) => placeAt(node.range?.[0] ?? 0),
    target: (alias) => targets.get(alias),
  };
}

/** The settings of a file as plain data, with their places by `pathKey`. */
export interface SettingsDocument {
  value: unknown;
  places: Map<string, Place>;
  /** The variables that values came from, also those of settings that are absent for want of one. */
  references: Map<string, Reference>;
  /** Settings that are absent because their variable is unset. */
  absent: Absence[];
  /** The texts, before variables were expanded, of settings that files are a part of, by `pathKey`. */
  ofFiles: Map<string, string>;
  problems: ConfigProblem[];
}

/** A setting that one variable alone was to give. */
export interface Absence {
  path: Path;
  reference: Reference;
}

/** Aliases can make a small file enormous, and an alias to its own parent endless. */
const LIMITS = { depth: 32, nodes: 50_000 };

/** Whether a setting that lacks the variable of a part of it is left out, which is else a problem. */
export type MayLack = (path: Path) => boolean;

interface Reader extends Omit<SettingsDocument, 'value'> {
  yaml: ParsedYaml;
  environment: Environment;
  mayLack: MayLack;
  nodesLeft: number;
}

/**
 * Turns the nodes of a file into plain data: follows aliases and merge keys, expands variables.
 * Settings without a value (`key:`), or with an unset variable for one, are left out.
 */
export function readSettings(
  yaml: ParsedYaml,
  environment: Environment,
  mayLack: MayLack,
): SettingsDocument {
  const reader: Reader = {
    places: new Map(),
    references: new Map(),
    absent: [],
    ofFiles: new Map(),
    problems: [],
    yaml,
    environment,
    mayLack,
    nodesLeft: LIMITS.nodes,
  };
  notePlace(yaml.root, { path: [], reader });
  const value = readNode(yaml.root, [], reader);
  const { places, references, absent, ofFiles, problems } = reader;
  return { value, places, references, absent, ofFiles, problems };
}

/** False once the file is too large for a configuration, which is reported once. */
function afford(path: Path, reader: Reader): boolean {
  if (path.length <= LIMITS.depth && reader.nodesLeft > 0) {
    reader.nodesLeft -= 1;
    return true;
  }
  if (reader.nodesLeft !== -Infinity) {
    reader.problems.push({ path: path.slice(0, 1), message: 'nested too deeply, or too large' });
  }
  reader.nodesLeft = -Infinity;
  return false;
}

function readNode(node: unknown, path: Path, reader: Reader): unknown {
  if (!afford(path, reader)) return undefined;
  if (isAlias(node)) {
    const target = reader.yaml.target(node);
    if (target !== undefined) return readNode(target, path, reader);
    const message = 'no such anchor comes before this alias (text that starts with * needs quotes)';
    reader.problems.push({ path, message });
    return undefined;
  }
  if (isMap(node)) return readMap(node, path, reader);
  if (isSeq(node)) return readList(node, path, reader);
  if (isScalar(node)) return readScalar(node, path, reader);
  return undefined;
}

function readScalar({ value }: Scalar, path: Path, reader: Reader): unknown {
  if (typeof value !== 'string') return value ?? undefined;
  const expansion = expand(value, reader.environment);
  if ('message' in expansion) {
    const isLeftOut = expansion.kind === 'unset' && reader.mayLack(path);
    if (!isLeftOut) reader.problems.push({ path, message: expansion.message });
    return undefined;
  }
  if (expansion.reference !== null) reader.references.set(pathKey(path), expansion.reference);
  if (expansion.kind === 'text') {
    if (expansion.isFromFile) reader.ofFiles.set(pathKey(path), value);
    return expansion.text;
  }
  reader.absent.push({ path, reference: expansion.reference });
  return undefined;
}

function readList({ items }: YAMLSeq, path: Path, reader: Reader): unknown[] {
  const values: unknown[] = [];
  for (const item of items) {
    const itemPath = [...path, values.length];
    notePlace(item, { path: itemPath, reader });
    const value = readNode(item, itemPath, reader);
    // The next item takes the index of one that is left out.
    if (value === undefined) reader.references.delete(pathKey(itemPath));
    else values.push(value);
  }
  return values;
}

function readMap(map: YAMLMap, path: Path, reader: Reader): Record<string, unknown> {
  const entries: [string, unknown][] = [];
  for (const [key, pair] of effectivePairs(map, { path, reader })) {
    const valuePath = [...path, key];
    notePlace(pair.key, { path: valuePath, reader });
    const value = readNode(pair.value, valuePath, reader);
    if (value !== undefined) entries.push([key, value]);
  }
  return Object.fromEntries(entries);
}

interface Spot {
  path: Path;
  reader: Reader;
}

/** The entries of a map with those that it merges in, its own first, then by order. */
function effectivePairs(map: YAMLMap, spot: Spot): Map<string, Pair> {
  const pairs = new Map<string, Pair>();
  if (!afford(spot.path, spot.reader)) return pairs;
  for (const pair of map.items) if (!isMerge(pair)) pairs.set(keyText(pair), pair);
  const inner = { ...spot, path: [...spot.path, '<<'] };
  for (const source of map.items.filter(isMerge).flatMap((pair) => mergeSources(pair, spot))) {
    for (const [key, pair] of effectivePairs(source, inner)) {
      if (!pairs.has(key)) pairs.set(key, pair);
    }
  }
  return pairs;
}

function mergeSources(pair: Pair, { path, reader }: Spot): YAMLMap[] {
  const value = follow(pair.value, reader);
  const sources = (isSeq(value) ? value.items : [value]).map((item) => follow(item, reader));
  const maps = sources.filter((source) => isMap(source));
  if (maps.length === sources.length) return maps;
  reader.problems.push({ path, message: 'expected << to name a map or a list of maps' });
  return [];
}

function follow(node: unknown, reader: Reader): unknown {
  return isAlias(node) ? reader.yaml.target(node) : node;
}

function isMerge({ key }: Pair): boolean {
  return isScalar(key) && key.type === 'PLAIN' && key.source === '<<';
}

function keyText({ key }: Pair): string {
  return isScalar(key) ? String(key.value) : '';
}

/** Remembers where a setting stands: at its key, or where the item of a list begins. */
function notePlace(node: unknown, { path, reader }: Spot): void {
  if (isNode(node)) reader.places.set(pathKey(path), reader.yaml.placeOf(node));
}

/** Keys that each declared API needs, and no other kind of source has. */
const DECLARED_KEYS = ['run', 'states'];

/**
 * Takes a source that declares an API for one of type http where it names no type, with a problem each. By the
 * keys of the default type, each of its own would be a problem.
 */
export function withTypes(document: SettingsDocument): SettingsDocument {
  const sources = Object.entries(Object(childValue(document.value, 'sources')));
  const untyped = sources.flatMap(([name, source]) => {
    const declared = DECLARED_KEYS.filter((key) => childValue(source, key) !== undefined);
    return declared.length === 0 || childValue(source, 'type') !== undefined
      ? []
      : [{ name, source: source as object, declared }];
  });
  if (untyped.length === 0) return document;
  const typed = untyped.map(({ name, source }) => [name, { type: 'http', ...source }] as const);
  const problems = untyped.map(({ name, declared }) => ({
    path: ['sources', name],
    message: `expected type: http beside ${declared.join(' and ')}, but type is missing`,
  }));
  return {
    ...document,
    value: {
      ...Object(document.value),
      sources: Object.fromEntries([...sources, ...typed]),
    },
    problems: [...document.problems, ...problems],
  };
}
