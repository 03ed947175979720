import type { Entry } from './entry.ts';

/** A JSON Schema, as far as it says what a value is. */
export interface JsonSchema {
  $ref?: string;
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  pattern?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: JsonSchema | boolean;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
}

/**
 * The entries of JSON Schemas. A schema with a name of its own stands there once, and is a type elsewhere.
 * @param named the schemas with names
 */
export class SchemaEntries {
  readonly entries = new Map<string, Entry>();

  constructor(private readonly named: Readonly<Record<string, JsonSchema>>) {}

  /** Adds a value, and what is below it. */
  add(name: string, schema: JsonSchema, required: boolean): void {
    const choices = choicesOf(schema);
    const kinds = new Map(choices.map((one) => [one, kindOf(one)]));
    const areKinds = choices.length > 1 && [...kinds.values()].every((kind) => kind !== null);
    this.put(name, {
      types: [...new Set(choices.flatMap(typesOf))].sort(),
      required,
      words: wordsOf(choices),
    });
    for (const choice of choices) {
      if (choice.$ref !== undefined) this.addNamed(referred(choice.$ref));
      const label = areKinds ? `${name}(${kinds.get(choice)})` : name;
      if (areKinds) this.put(label, { types: typesOf(choice), required: false, words: [] });
      this.addBelow(label, choice);
    }
  }

  private addNamed(name: string): void {
    const schema = this.named[name];
    if (schema === undefined) throw new Error(`there is no schema ${name}`);
    if (!this.entries.has(name)) this.add(name, schema, false);
  }

  private addBelow(name: string, schema: JsonSchema): void {
    const prefix = name === '' ? '' : `${name}.`;
    for (const [field, its] of Object.entries(schema.properties ?? {}))
      this.add(`${prefix}${field}`, its, schema.required?.includes(field) === true);
    if (typeof schema.additionalProperties === 'object')
      this.add(`${prefix}<name>`, schema.additionalProperties, false);
    if (schema.items !== undefined) this.add(`${name}[]`, schema.items, false);
  }

  /** Of a field that several choices have, each of its types counts. */
  private put(name: string, entry: Entry): void {
    const earlier = this.entries.get(name);
    if (name === '') return;
    const isLimited = earlier === undefined || (earlier.words.length > 0 && entry.words.length > 0);
    this.entries.set(name, {
      types: [...new Set([...(earlier?.types ?? []), ...entry.types])].sort(),
      required: entry.required && (earlier?.required ?? true),
      words: isLimited ? [...new Set([...(earlier?.words ?? []), ...entry.words])].sort() : [],
    });
  }
}

/** The schemas that a value may have, without that of a text which the environment completes. */
function choicesOf(schema: JsonSchema): JsonSchema[] {
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices === undefined) return [schema];
  return choices.flatMap(choicesOf).filter(({ pattern }) => pattern !== String.raw`\$\{`);
}

/** Which kind of source, endpoint or event a schema is of; null where it is not of one. */
function kindOf({ properties }: JsonSchema): string | null {
  const kind = properties?.['type']?.const;
  return typeof kind === 'string' ? kind : null;
}

function referred(reference: string): string {
  return reference.slice(reference.lastIndexOf('/') + 1);
}

function typesOf({ $ref, type, const: only, enum: words }: JsonSchema): string[] {
  if ($ref !== undefined) return [referred($ref)];
  if (type !== undefined) return [type].flat();
  const values = words ?? (only === undefined ? [] : [only]);
  return values.length === 0 ? ['any'] : values.map((value) => typeof value);
}

/** The words of all choices; empty where one of them is any text. */
function wordsOf(choices: readonly JsonSchema[]): string[] {
  const isAnyText = choices.some(
    ({ type, const: only, enum: words }) =>
      [type].flat().includes('string') && only === undefined && words === undefined,
  );
  if (isAnyText) return [];
  const words = choices.flatMap(({ const: only, enum: its }) => its ?? only ?? []);
  return [...new Set(words.map(String))].sort();
}
