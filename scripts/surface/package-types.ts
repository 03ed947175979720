import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync, printSync, type Module } from '@swc/core';
import { childrenOf, isNode, type SyntaxNode } from '../syntax.ts';
import { type Entries, type Entry, plain } from './entry.ts';

/** The modules that programs import, by the name that comes behind the package's. */
const MODULES = { client: 'src/client/client.ts', webhook: 'src/client/webhook.ts' };

/**
 * What functions return, and what the types of that have, of what the package exports. They are read from the source,
 * as users of the package see them.
 */
export function packageTypes(root: string): Promise<Entries> {
  return Promise.resolve(typesOf(root).given);
}

/** What functions take, and what the types of that have. */
export function packageArguments(root: string): Promise<Entries> {
  return Promise.resolve(typesOf(root).taken);
}

function typesOf(root: string): { given: Entries; taken: Entries } {
  const [given, taken] = [new Map<string, Entry>(), new Map<string, Entry>()];
  for (const [module, path] of Object.entries(MODULES)) {
    const types = new PackageTypes(new SourceFiles(root), module, { given, taken });
    types.addAll(path);
  }
  return { given, taken };
}

/** A type, function or class, and the file that declares it. */
interface Declaration {
  name: string;
  node: SyntaxNode;
  path: string;
}

/** Declarations of source files. Files of other folders are read for the values that are exported of them. */
class SourceFiles {
  private readonly trees = new Map<string, SyntaxNode[]>();

  constructor(private readonly root: string) {}

  /** What a module exports by name; null for a type of another folder. */
  exportsOf(path: string): Map<string, Declaration | null> {
    const found = new Map<string, Declaration | null>();
    for (const item of this.read(path)) {
      const from = isNode(item['source']) ? besides(path, String(item['source']['value'])) : null;
      if (item.type === 'ExportDeclaration') {
        const node = item['declaration'] as SyntaxNode;
        for (const name of namesOf(node)) found.set(name, { name, node, path });
      } else if (item.type === 'ExportAllDeclaration' && from !== null) {
        for (const [name, one] of this.exportsOf(from)) found.set(name, one);
      } else if (item.type === 'ExportNamedDeclaration' && from !== null) {
        for (const name of specifiersOf(item))
          found.set(name, this.isRead(item, from) ? this.find(name, from) : null);
      }
    }
    return found;
  }

  /** What a name stands for in a file; null for what other folders or packages declare. */
  find(name: string, path: string): Declaration | null {
    for (const item of this.read(path)) {
      const node = item.type === 'ExportDeclaration' ? (item['declaration'] as SyntaxNode) : item;
      if (namesOf(node).includes(name)) return { name, node, path };
      const from = isNode(item['source']) ? String(item['source']['value']) : '';
      if (item.type === 'ImportDeclaration' && specifiersOf(item).includes(name))
        return from.startsWith('./') ? this.find(name, besides(path, from)) : null;
    }
    return null;
  }

  private isRead(item: SyntaxNode, from: string): boolean {
    return item['typeOnly'] !== true || from.startsWith('src/client/');
  }

  private read(path: string): SyntaxNode[] {
    const known = this.trees.get(path);
    if (known !== undefined) return known;
    const text = readFileSync(join(this.root, path), 'utf8');
    const { body } = parseSync(text, { syntax: 'typescript', target: 'es2023' });
    this.trees.set(path, body as unknown as SyntaxNode[]);
    return body as unknown as SyntaxNode[];
  }
}

function besides(path: string, from: string): string {
  return join(path, '..', from);
}

function namesOf(node: SyntaxNode): string[] {
  const name = node['identifier'] ?? node['id'];
  return isNode(name) && node.type.endsWith('Declaration') ? [String(name['value'])] : [];
}

function specifiersOf(item: SyntaxNode): string[] {
  return (item['specifiers'] as SyntaxNode[]).map((one) =>
    String(((one['orig'] ?? one['local']) as SyntaxNode)['value']),
  );
}

/** Whether users get a value of a type, or give one. */
type Side = 'given' | 'taken';

const OTHER: Record<Side, Side> = { given: 'taken', taken: 'given' };

/** Collects the entries of one module. */
class PackageTypes {
  /** Types of arguments, for when it is known which types users get. */
  private readonly asked: { type: unknown; path: string }[] = [];
  private readonly seen = new Set<SyntaxNode>();

  constructor(
    private readonly files: SourceFiles,
    private readonly module: string,
    private readonly into: Record<Side, Map<string, Entry>>,
  ) {}

  addAll(path: string): void {
    const exported = [...this.files.exportsOf(path)];
    for (const [name, one] of exported) {
      if (one === null) this.into.given.set(`${this.module} ${name}`, plain('type'));
      else if (one.node.type === 'FunctionDeclaration') this.addFunction(one);
    }
    for (let one = this.asked.pop(); one !== undefined; one = this.asked.pop())
      this.follow(one.type, one.path, 'taken');
    for (const [, one] of exported) if (one !== null) this.add(one, 'given');
  }

  private add(one: Declaration, as: Side): void {
    const { node, path } = one;
    if (this.seen.has(node) || node.type === 'FunctionDeclaration') return;
    this.seen.add(node);
    const name = `${this.module} ${one.name}`;
    const body = node['body'] as SyntaxNode | SyntaxNode[] | undefined;
    if (body === undefined) {
      this.into[as].set(name, aliasOf(node['typeAnnotation']));
      return this.follow(node, path, as);
    }
    this.into[as].set(name, plain(node.type === 'ClassDeclaration' ? 'class' : 'interface'));
    const members = Array.isArray(body) ? body : (body['body'] as SyntaxNode[]);
    for (const member of members) this.addMember(name, member, { path, as });
    for (const parent of (node['extends'] ?? []) as SyntaxNode[]) this.follow(parent, path, as);
  }

  private addMember(
    name: string,
    member: SyntaxNode,
    { path, as }: { path: string; as: Side },
  ): void {
    const { key } = member as SyntaxNode & { key?: SyntaxNode };
    if (key === undefined || member.type === 'Constructor') return;
    const own = `${name}.${String(key['value'])}`;
    if (member.type === 'TsMethodSignature') {
      return this.addCall(own, member['params'], { path, returns: member['typeAnn'] });
    }
    const type = member['typeAnnotation'];
    this.into[as].set(own, { ...typed(type), required: member['optional'] !== true });
    this.follow(type, path, as);
  }

  private addFunction({ name, node, path }: Declaration): void {
    const params = (node['params'] as SyntaxNode[]).map((one) => one['pat']);
    this.addCall(`${this.module} ${name}`, params, { path, returns: node['returnType'] });
  }

  private addCall(
    name: string,
    params: unknown,
    { path, returns }: { path: string; returns: unknown },
  ): void {
    this.into.given.set(name, typed(returns));
    this.into.taken.set(name, plain('function'));
    for (const [at, param] of (params as SyntaxNode[]).entries()) {
      const isPreset = param.type === 'AssignmentPattern';
      const own = isPreset ? (param['left'] as SyntaxNode) : param;
      const required = !isPreset && own['optional'] !== true;
      const place = `${name} argument ${at + 1}`;
      this.into.taken.set(place, { ...typed(own['typeAnnotation']), required });
      this.asked.push({ type: own['typeAnnotation'], path });
    }
    this.follow(returns, path, 'given');
  }

  /** Adds the types of the package that a type names. What a callback takes, the package gives. */
  private follow(type: unknown, path: string, as: Side): void {
    if (!isNode(type)) return;
    if (type.type === 'Identifier') {
      const found = this.files.find(String(type['value']), path);
      if (found !== null) this.add(found, as);
    }
    const { params = [], ...rest } = type;
    const isFunction = type.type === 'TsFunctionType';
    for (const one of childrenOf(params)) this.follow(one, path, isFunction ? OTHER[as] : as);
    for (const one of childrenOf(rest)) this.follow(one, path, as);
  }
}

/**
 * A type by another name: the words that it is limited to, the members of a union, or a function. Of other types,
 * which are those of the API's schemas, the recording has the fields elsewhere.
 */
function aliasOf(type: unknown): Entry {
  if (!isNode(type) || !['TsUnionType', 'TsFunctionType'].includes(type.type)) return plain('type');
  const { types } = typed(type);
  const words = types.flatMap((one) => /^(['"])(.+)\1$/.exec(one)?.[2] ?? []);
  return words.length < types.length
    ? { ...plain('type'), types }
    : { ...plain('string'), words: words.sort() };
}

/** The members of a union, each as one word; what is not annotated is not known. */
function typed(annotation: unknown): Entry {
  if (!isNode(annotation)) return plain('any');
  const type = annotation.type === 'TsTypeAnnotation' ? annotation['typeAnnotation'] : annotation;
  const union = isNode(type) && type.type === 'TsUnionType' ? (type['types'] as unknown[]) : [type];
  return { types: union.map(textOf).sort(), required: false, words: [] };
}

function textOf(type: unknown): string {
  const span = { start: 0, end: 0, ctxt: 0 };
  const id = { type: 'Identifier', span, ctxt: 0, value: 'T', optional: false };
  const alias = { type: 'TsTypeAliasDeclaration', span, declare: false, id, typeParams: null };
  const body = [{ ...alias, typeAnnotation: type }];
  const module = { type: 'Module', span, body, interpreter: null } as unknown as Module;
  const [, text = ''] = /^type T = (.*);$/s.exec(printSync(module).code.trim()) ?? [];
  // A word has no space, and a bar stands between words.
  return text.replace(/\breadonly |\s/g, '').replaceAll('|', '/');
}
