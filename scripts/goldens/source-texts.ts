import { isNode, nodesIn, textsOf, type SyntaxNode } from '../syntax.ts';

const LEVELS = new Set(['trace', 'debug', 'info', 'warn', 'error', 'fatal']);

/** A tree by which texts are found. */
interface Parsed {
  tree: SyntaxNode;
}

/** The texts that the source logs: `msg` of its lines, sorted. */
export function logMessages(files: readonly Parsed[]): string[] {
  const found = files.flatMap(({ tree }) => {
    const nodes = nodesIn(tree);
    const named = namedTexts(nodes);
    return nodes.filter(isLogCall).flatMap((call) => {
      const given = call['arguments'] as { expression: SyntaxNode }[];
      return given.flatMap(({ expression }) =>
        expression.type === 'Identifier'
          ? (named.get(String(expression['value'])) ?? [])
          : textsOf(expression),
      );
    });
  });
  return [...new Set(found)].sort();
}

/** `log.info(…)`, `this.log[level](…)` and the like. */
function isLogCall({ type, callee }: SyntaxNode): boolean {
  if (type !== 'CallExpression' || !isNode(callee) || callee.type !== 'MemberExpression')
    return false;
  const { object, property } = callee;
  if (!isNode(object) || !isNode(property)) return false;
  if (!/^(event)?log(ger)?$/i.test(nameOf(object))) return false;
  return property.type === 'Computed' || LEVELS.has(String(property['value']));
}

function nameOf(node: SyntaxNode): string {
  const { property } = node;
  return String(
    node.type === 'MemberExpression' && isNode(property) ? property['value'] : node['value'],
  );
}

/** The texts of the variables of a file. */
function namedTexts(nodes: readonly SyntaxNode[]): Map<string, string[]> {
  const named = new Map<string, string[]>();
  for (const { type, id, init } of nodes) {
    if (type !== 'VariableDeclarator' || !isNode(id)) continue;
    const texts = textsOf(init);
    const name = String(id['value']);
    if (texts.length > 0) named.set(name, [...(named.get(name) ?? []), ...texts]);
  }
  return named;
}

/** The codes of errors: `code: '…'` of every object that the source builds, sorted. */
export function errorCodes(files: readonly Parsed[]): string[] {
  const codes = files.flatMap(({ tree }) =>
    nodesIn(tree)
      .filter(
        ({ type, key }) => type === 'KeyValueProperty' && isNode(key) && key['value'] === 'code',
      )
      .flatMap(({ value }) => textsOf(value)),
  );
  return [...new Set(codes.filter((code) => /^[a-z][a-z_]+$/.test(code)))].sort();
}
