import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from '@swc/core';

/** A node of a syntax tree, as swc gives it. */
export interface SyntaxNode {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A source file and its syntax tree. */
export interface ParsedFile {
  /** From the root that was given. */
  path: string;
  text: string;
  tree: SyntaxNode;
}

/** Every TypeScript file below `folder` of `root`, by path; those of the dashboard are left out. */
export function parseFiles(root: string, folder = 'src'): ParsedFile[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name}`)
    .filter((path) => path.endsWith('.ts') && !path.startsWith('src/ui/'))
    .sort()
    .map((path) => {
      const text = readFileSync(join(root, path), 'utf8');
      const tree = parseSync(text, { syntax: 'typescript', target: 'es2023' });
      return { path, text, tree: tree as unknown as SyntaxNode };
    });
}

export function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && 'type' in value;
}

/** The nodes directly below a value; swc wraps some in objects without a type. */
export function childrenOf(value: unknown): SyntaxNode[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap((child) => (isNode(child) ? child : childrenOf(child)));
}

/** A node and all below it, each before those below it. */
export function nodesIn(root: SyntaxNode): SyntaxNode[] {
  const found: SyntaxNode[] = [];
  const open = [root];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    found.push(node);
    open.push(...childrenOf(node).toReversed());
  }
  return found;
}

/** The texts that an expression may be: `…` stands for what a template fills in. */
export function textsOf(node: unknown): string[] {
  if (!isNode(node)) return [];
  switch (node.type) {
    case 'StringLiteral':
      return [String(node['value'])];
    case 'TemplateLiteral':
      return [
        (node['quasis'] as { cooked: string | null }[]).map(({ cooked }) => cooked ?? '').join('…'),
      ];
    case 'ConditionalExpression':
      return [...textsOf(node['consequent']), ...textsOf(node['alternate'])];
    case 'ParenthesisExpression':
      return textsOf(node['expression']);
    default:
      return [];
  }
}
