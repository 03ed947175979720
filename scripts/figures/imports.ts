import { posix } from 'node:path';
import { isNode, nodesIn, type ParsedFile } from '../syntax.ts';

/** Which files each file imports, types included. */
export type Imports = ReadonlyMap<string, ReadonlySet<string>>;

const STATEMENTS = new Set(['ImportDeclaration', 'ExportNamedDeclaration', 'ExportAllDeclaration']);

export function importsOf(files: readonly ParsedFile[]): Imports {
  const known = new Set(files.map(({ path }) => path));
  return new Map(
    files.map(({ path, tree }) => {
      const targets = nodesIn(tree).flatMap((node) => {
        const { source } = node;
        if (!STATEMENTS.has(node.type) || !isNode(source)) return [];
        return posix.join(posix.dirname(path), String(source['value']));
      });
      return [path, new Set(targets.filter((target) => known.has(target)))];
    }),
  );
}

/** Sets of two files and more each of which reaches every other, the largest first. Source: Tarjan, 1972. */
export function circlesOf(imports: Imports): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  const circles: string[][] = [];

  function visit(path: string): number {
    let low = order.size;
    const own = low;
    order.set(path, own);
    open.push(path);
    for (const target of imports.get(path) ?? []) {
      if (!order.has(target)) low = Math.min(low, visit(target));
      else if (open.includes(target))
        low = Math.min(low, lowest.get(target) ?? order.get(target) ?? low);
    }
    lowest.set(path, low);
    if (low === own) {
      const circle = open.splice(open.indexOf(path));
      if (circle.length > 1) circles.push(circle.sort());
    }
    return low;
  }

  for (const path of imports.keys()) if (!order.has(path)) visit(path);
  return circles.sort((a, b) => b.length - a.length);
}
