import { childrenOf, isNode, nodesIn, type ParsedFile, type SyntaxNode } from '../syntax.ts';

const NAME_OF_BAG = /(?:Dependencies|Deps)$/;

/** Interfaces that are called …Dependencies or …Deps. */
export function dependencyInterfaces(files: readonly ParsedFile[]): string[] {
  return files.flatMap(({ tree }) =>
    nodesIn(tree)
      .filter(({ type }) => type === 'TsInterfaceDeclaration' || type === 'TsTypeAliasDeclaration')
      .map(({ id }) => nameOf(id))
      .filter((name) => NAME_OF_BAG.test(name)),
  );
}

/** The functions, methods and constructors whose first parameter is a bag, each as the name of its file. */
export function bagFunctions(files: readonly ParsedFile[]): string[] {
  const types = new TypeTable(files);
  return files.flatMap(({ path, tree }) =>
    nodesIn(tree)
      .map(firstParameterType)
      .filter((type) => type !== null && types.isBag(type))
      .map(() => path),
  );
}

const FUNCTIONS = new Set([
  'FunctionDeclaration',
  'FunctionExpression',
  'ArrowFunctionExpression',
  'ClassMethod',
  'PrivateMethod',
  'Constructor',
]);

/** The annotated type of the first parameter of a function; null where it has none. */
function firstParameterType(node: SyntaxNode): SyntaxNode | null {
  if (!FUNCTIONS.has(node.type)) return null;
  const holder = isNode(node['function']) ? node['function'] : node;
  const [first] = (holder['params'] ?? []) as SyntaxNode[];
  return first === undefined ? null : annotationOf(first);
}

/** Of a parameter, whichever wrapper swc gives it. */
function annotationOf(node: SyntaxNode): SyntaxNode | null {
  for (const inner of [node['pat'], node['param'], node['left']]) {
    if (isNode(inner)) return annotationOf(inner);
  }
  const annotation = node['typeAnnotation'];
  return isNode(annotation) && isNode(annotation['typeAnnotation'])
    ? annotation['typeAnnotation']
    : null;
}

/** The types of the source by name; of two with one name, both. */
class TypeTable {
  private readonly declared = new Map<string, SyntaxNode[]>();

  constructor(files: readonly ParsedFile[]) {
    const kinds = new Set(['TsInterfaceDeclaration', 'TsTypeAliasDeclaration', 'ClassDeclaration']);
    for (const node of files.flatMap(({ tree }) => nodesIn(tree))) {
      if (!kinds.has(node.type)) continue;
      const name = nameOf(node.type === 'ClassDeclaration' ? node['identifier'] : node['id']);
      this.declared.set(name, [...(this.declared.get(name) ?? []), node]);
    }
  }

  isBag(type: SyntaxNode): boolean {
    if (NAME_OF_BAG.test(nameOf(type['typeName']))) return true;
    const members = this.membersOf(type);
    const acting = members.filter((member) => this.acts(member)).length;
    return acting > 0 && acting * 2 > members.length;
  }

  /** The members of an object type that is written out or named; none of a class. */
  private membersOf(type: SyntaxNode): SyntaxNode[] {
    if (type.type === 'TsTypeLiteral') return type['members'] as SyntaxNode[];
    if (type.type === 'TsIntersectionType') {
      return (type['types'] as SyntaxNode[]).flatMap((one) => this.membersOf(one));
    }
    if (type.type !== 'TsTypeReference') return [];
    return (this.declared.get(nameOf(type['typeName'])) ?? []).flatMap((node) => {
      if (node.type === 'TsInterfaceDeclaration')
        return (node['body'] as { body: SyntaxNode[] }).body;
      const aliased = node['typeAnnotation'];
      return node.type === 'TsTypeAliasDeclaration' && isNode(aliased)
        ? this.membersOf(aliased)
        : [];
    });
  }

  /** A member that holds a function or an object with methods. An own method makes an object, not a bag. */
  private acts(member: SyntaxNode): boolean {
    const type = annotationOf(member);
    return type !== null && this.isActor(type);
  }

  private isActor(type: SyntaxNode): boolean {
    if (type.type === 'TsFunctionType') return true;
    if (type.type === 'TsUnionType')
      return (type['types'] as SyntaxNode[]).some((one) => this.isActor(one));
    if (type.type !== 'TsTypeReference') return false;
    const name = nameOf(type['typeName']);
    if (name === 'Pick' || name === 'Omit')
      return childrenOf(type['typeParams'])
        .slice(0, 1)
        .some((one) => this.isActor(one));
    return (this.declared.get(name) ?? []).some((node) => hasMethods(node));
  }
}

/** A class with methods of its own, an interface with methods or functions, or the type of a function. */
function hasMethods(node: SyntaxNode): boolean {
  if (node.type === 'ClassDeclaration') {
    return (node['body'] as SyntaxNode[]).some(({ type }) => type === 'ClassMethod');
  }
  const body =
    node.type === 'TsInterfaceDeclaration' ? (node['body'] as { body: SyntaxNode[] }).body : [];
  const aliased = node['typeAnnotation'];
  return (
    body.some(
      (one) => one.type === 'TsMethodSignature' || annotationOf(one)?.type === 'TsFunctionType',
    ) ||
    (isNode(aliased) && aliased.type === 'TsFunctionType')
  );
}

function nameOf(node: unknown): string {
  return isNode(node) ? String(node['value']) : '';
}
