import { z } from 'zod';
import { RENAMED_KEYS } from '../src/config/renamed-keys.ts';
import { configSchema } from '../src/config/schema.ts';
import { readMeanings } from './configuration-page.ts';

/** A node of a JSON Schema, as far as this changes it. */
interface Node {
  type?: string;
  description?: string;
  const?: unknown;
  enum?: unknown[];
  pattern?: string;
  format?: string;
  minLength?: number;
  minimum?: number;
  properties?: Record<string, Node>;
  additionalProperties?: Node | boolean;
  propertyNames?: Node;
  items?: Node;
  anyOf?: Node[];
  oneOf?: Node[];
  required?: string[];
  [keyword: string]: unknown;
}

type MeaningOf = (path: string, kind: string | null) => string | undefined;

/** A text that the environment completes, in the place of any scalar. */
const EXPANDED: Node = { type: 'string', pattern: String.raw`\$\{` };

/**
 * The JSON Schema of a configuration file, for editors: keys and forms are those of the schema, descriptions the
 * comments of the example file. It takes what the schema takes; what only the whole file shows, `config --check` says.
 */
export async function configurationSchema(): Promise<string> {
  const meaningOf = await readMeanings();
  const made = z.toJSONSchema(configSchema, {
    io: 'input',
    unrepresentable: 'any',
    target: 'draft-7',
    override: ({ zodSchema, jsonSchema }) => {
      if (isPreprocessed(zodSchema)) takeOne(jsonSchema as Node);
    },
  }) as Node;
  const { $schema, required: _computed, ...rest } = made;
  const schema = { $schema, title: 'Configuration of runwatch', ...withMeanings(rest, meaningOf) };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

/** Where one text may stand in the place of a list. */
function isPreprocessed(schema: z.core.$ZodType): boolean {
  return schema instanceof z.ZodPipe && schema.in instanceof z.ZodTransform;
}

/** Lets a list be given as its only item. */
function takeOne(node: Node): void {
  if (node.type !== 'array' || node.items === undefined) return;
  const { description: _said, default: _preset, ...list } = node;
  for (const keyword of Object.keys(list)) delete node[keyword];
  node.anyOf = [list, list.items ?? {}];
}

function withMeanings(
  node: Node,
  meaningOf: MeaningOf,
  path = '',
  kind: string | null = null,
): Node {
  const below = (one: Node, key: string) => withMeanings(one, meaningOf, path + key, kind);
  const description = meaningOf(path, kind);
  const { properties, additionalProperties, items, anyOf, oneOf } = node;
  const described: Node = {
    ...node,
    ...(description !== undefined && { description }),
    ...(properties !== undefined && {
      properties: withOldNames(
        path,
        Object.entries(properties).map(([name, one]) => [
          name,
          below(one, path === '' ? name : `.${name}`),
        ]),
      ),
    }),
    ...(typeof additionalProperties === 'object' && {
      additionalProperties: below(additionalProperties, '.<name>'),
    }),
    ...(items !== undefined && { items: below(items, '[]') }),
    ...(anyOf !== undefined && { anyOf: anyOf.map((one) => below(one, '')) }),
    ...(oneOf !== undefined && {
      oneOf: oneOf.map((one) => withMeanings(one, meaningOf, path, kindOf(one) ?? kind)),
    }),
  };
  return isNarrow(node) ? expandable(described) : described;
}

/** The keys of a map, with old names that are still taken. */
function withOldNames(path: string, properties: [string, Node][]): Record<string, Node> {
  const old = RENAMED_KEYS.flatMap(({ map, old: name, key, until }): [string, Node][] => {
    const renamed = map === path ? properties.find(([one]) => one === key) : undefined;
    if (renamed === undefined) return [];
    const description = `The old name of ${map}.${key}, which version ${until} does not take.`;
    return [[name, { ...renamed[1], description, deprecated: true }]];
  });
  return Object.fromEntries([...properties, ...old]);
}

/** Which kind of source or endpoint it is, by its first key. */
function kindOf({ properties }: Node): string | null {
  const kind = properties?.['type']?.const;
  return typeof kind === 'string' ? kind : null;
}

/** Whether it refuses a text with a variable in it. */
function isNarrow({ type, enum: words, pattern, format, minLength = 0 }: Node): boolean {
  if (type === 'integer' || type === 'number' || type === 'boolean') return true;
  const isBound = words !== undefined || pattern !== undefined || format !== undefined;
  return type === 'string' && (isBound || minLength > 1);
}

function expandable({ description, default: preset, ...node }: Node): Node {
  return {
    ...(description !== undefined && { description }),
    ...(preset !== undefined && { default: preset }),
    anyOf: [node, EXPANDED],
  };
}
