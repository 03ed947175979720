/*
 * Prints how large the source is and how its parts reach one another: `npm run figures`, and
 * `npm run figures -- <folder>` for another checkout. All figures leave src/ui out.
 *
 * - A bag is an interface or object type of which more than half of the members are collaborators: functions, or
 *   objects of a class or interface with methods. …Dependencies and …Deps are bags in any case.
 * - A function takes a bag if the type of its first parameter is one; methods and constructors count.
 * - A file has one importer if one file of its own folder imports it, types included, and no other does.
 * - A circle is a set of files each of which reaches every other by imports, types included.
 * - The lines of a route are those of the API, its services and the client, by the number of routes.
 */
import { fileURLToPath } from 'node:url';
import { bagFunctions, dependencyInterfaces } from './figures/bags.ts';
import { circlesOf, importsOf, type Imports } from './figures/imports.ts';
import { WAY } from './figures/way.ts';
import { isNode, nodesIn, parseFiles, type ParsedFile } from './syntax.ts';

/** Where the layers of the API are, then and now. */
const API_FOLDERS = ['src/http/', 'src/api/', 'src/daemon/services/', 'src/client/'];

/** Parts whose own circles are counted. */
const PARTS = ['src/source', 'src/deliver', 'src/alert'];

function figuresOf(root: string): [string, string][] {
  const files = parseFiles(root);
  const imports = importsOf(files);
  const circles = circlesOf(imports);
  const within = (folder: string) =>
    circles.filter((circle) => circle.every((path) => path.startsWith(`${folder}/`)));
  const way = wayIn(files);
  const routes = files.flatMap(routesIn).length;
  const apiLines = linesOf(
    files.filter(({ path }) => API_FOLDERS.some((at) => path.startsWith(at))),
  );
  return [
    ['source', `${linesOf(files)} lines, ${files.length} files`],
    ['…Dependencies interfaces', String(dependencyInterfaces(files).length)],
    ['functions whose first parameter is a bag', String(bagFunctions(files).length)],
    ['files with one importer, in its folder', String(oneImporter(imports).length)],
    ['lines of a route, all layers', `${Math.round(apiLines / routes)} (${routes} routes)`],
    ['files from registration to webhook', `${way.length} (${linesOf(way)} lines)`],
    [
      'circles that leave their folder',
      circles.filter(leavesFolder).map(sized).join(', ') || 'none',
    ],
    ...PARTS.map((folder): [string, string] => [
      `circles within ${folder}`,
      within(folder).map(sized).join(', ') || 'none',
    ]),
  ];
}

function linesOf(files: readonly ParsedFile[]): number {
  return files.reduce((sum, { text }) => sum + text.split('\n').length - 1, 0);
}

function sized(circle: readonly string[]): string {
  return `${circle.length} files (${circle.slice(0, 3).join(' ')}${circle.length > 3 ? ' …' : ''})`;
}

function leavesFolder(circle: readonly string[]): boolean {
  return new Set(circle.map(folderOf)).size > 1;
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function oneImporter(imports: Imports): string[] {
  const importers = new Map<string, string[]>();
  for (const [path, targets] of imports) {
    for (const target of targets) importers.set(target, [...(importers.get(target) ?? []), path]);
  }
  return [...importers]
    .filter(
      ([path, [first = '', ...others]]) =>
        others.length === 0 && folderOf(path) === folderOf(first),
    )
    .map(([path]) => path);
}

const METHODS = new Set(['get', 'post', 'put', 'patch', 'delete']);

/** `app.get('/…', …)` and the like in the files of the API, and entries of the table of routes. */
function routesIn({ path, tree }: ParsedFile): unknown[] {
  if (!path.startsWith('src/http/') && !path.startsWith('src/api/')) return [];
  return nodesIn(tree).filter(({ type, callee, key, value }) => {
    if (type === 'KeyValueProperty' && isNode(key) && isNode(value)) {
      return key['value'] === 'route' && value.type === 'StringLiteral';
    }
    if (type !== 'CallExpression' || !isNode(callee) || callee.type !== 'MemberExpression')
      return false;
    const { object, property } = callee;
    if (!isNode(object) || !isNode(property)) return false;
    const isRouter = ['app', 'routes'].includes(String(object['value']));
    return isRouter && METHODS.has(String(property['value']));
  });
}

/** @throws Error when a file of the way is gone: the list has to follow the code */
function wayIn(files: readonly ParsedFile[]): ParsedFile[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const gone = WAY.filter((path) => !byPath.has(path));
  if (gone.length > 0)
    throw new Error(`scripts/figures/way.ts names what is gone: ${gone.join(', ')}`);
  return WAY.flatMap((path) => byPath.get(path) ?? []);
}

const root = process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url));
const figures = figuresOf(root);
const width = Math.max(...figures.map(([name]) => name.length));
for (const [name, value] of figures) process.stdout.write(`${name.padEnd(width)}  ${value}\n`);
