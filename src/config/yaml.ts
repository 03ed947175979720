import { LineCounter, parseDocument, visit } from 'yaml';
import type { Alias, Document, Node, YAMLError } from 'yaml';
import type { Position } from './problem.ts';

/** A fault of the YAML itself, where it stands, without a word of the text around it. */
interface SyntaxProblem extends Position {
  /** The key that is given twice; empty for other faults. */
  key: string;
  message: string;
}

/** A parsed file: its nodes, and how to find out where one stands and what an alias stands for. */
export interface ParsedYaml {
  root: Node | null;
  problems: SyntaxProblem[];
  /** True when the nodes are not what the author meant, so that reading them would mislead. */
  broken: boolean;
  positionOf(node: Node): Position;
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

function syntaxProblem(
  error: YAMLError,
  { text, lines }: { text: string; lines: LineCounter },
): SyntaxProblem {
  const { line, col } = lines.linePos(error.pos[0]);
  const message = MESSAGES[error.code] ?? error.message;
  const isKey = error.code === 'DUPLICATE_KEY';
  const key = isKey ? (/^[\w-]*/.exec(text.slice(error.pos[0]))?.[0] ?? '') : '';
  return { line, column: col, key, message };
}

/**
 * Deeper than any configuration. The parser works on nested collections by patterns and calls as deep as
 * they are, which some thousands of brackets make end the process.
 */
const MAX_DEPTH = 100;

/** Whether a text may nest deeper than that, by its brackets and by the marks at the start of a line. */
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

const TOO_DEEP: ParsedYaml = {
  root: null,
  problems: [{ line: 1, column: 1, key: '', message: 'nested too deeply, or too large' }],
  broken: true,
  positionOf: () => ({ line: 1, column: 1 }),
  target: () => undefined,
};

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
export function parseYaml(text: string): ParsedYaml {
  if (mayBeTooDeep(text)) return TOO_DEEP;
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
  return {
    root: document.contents,
    problems: errors.map((error) => syntaxProblem(error, { text, lines })),
    broken: errors.some(({ code }) => code !== 'DUPLICATE_KEY'),
    positionOf(node) {
      const { line, col } = lines.linePos(node.range?.[0] ?? 0);
      return { line, column: col };
    },
    target: (alias) => targets.get(alias),
  };
}
