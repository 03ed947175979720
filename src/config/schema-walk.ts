import { z } from 'zod';
import { presentations } from './fields.ts';

/** The way to a setting: keys of maps and indexes of lists. */
export type Path = readonly (string | number)[];

type Schema = z.core.$ZodType;
type Presentation = NonNullable<ReturnType<typeof presentations.get>>['as'];

/** What a default, an optional or a transformation is wrapped around; null for anything else. */
function wrapped(schema: Schema): Schema | null {
  if (schema instanceof z.ZodOptional) return schema.unwrap();
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) return schema.unwrap();
  if (!(schema instanceof z.ZodPipe)) return null;
  return schema.in instanceof z.ZodTransform ? schema.out : schema.in;
}

/** The schema under all that is wrapped around it. */
export function unwrap(schema: Schema): Schema {
  const inner = wrapped(schema);
  return inner === null ? schema : unwrap(inner);
}

/** How settings of this schema are shown; null for as they are. */
export function presentationOf(schema: Schema): Presentation | null {
  const inner = wrapped(schema);
  const registered = presentations.get(schema)?.as;
  if (registered !== undefined) return registered;
  return inner === null ? null : presentationOf(inner);
}

/** The variant of a union that a value belongs to, by its discriminator. */
function variant(union: z.ZodDiscriminatedUnion, value: unknown): Schema | null {
  const tag = childValue(value, union.def.discriminator);
  const options = union.options.filter((option) => option instanceof z.ZodObject);
  const fits = ({ shape }: z.ZodObject): boolean => {
    const discriminator = shape[union.def.discriminator];
    if (discriminator instanceof z.ZodOptional && tag === undefined) return true;
    const literal = discriminator && unwrap(discriminator);
    return literal instanceof z.ZodLiteral && literal.values.has(tag as string);
  };
  return options.find(fits) ?? null;
}

/** The map's own schema, where a union holds several. */
export function objectAt(schema: Schema, value: unknown): z.ZodObject | null {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodDiscriminatedUnion) {
    const chosen = variant(inner, value);
    return chosen === null ? null : objectAt(chosen, value);
  }
  if (inner instanceof z.ZodUnion) {
    return inner.options.find((option) => option instanceof z.ZodObject) ?? null;
  }
  return inner instanceof z.ZodObject ? inner : null;
}

/** The schema one step down; null where the schema has no such key. */
export function childSchema(schema: Schema, value: unknown, key: string | number): Schema | null {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodArray) return inner.element;
  if (inner instanceof z.ZodRecord) return inner.valueType;
  if (inner instanceof z.ZodUnion && objectAt(inner, value) === null) {
    return inner.options.find((option) => option instanceof z.ZodRecord)?.valueType ?? null;
  }
  const shape = objectAt(inner, value)?.shape ?? {};
  return Object.hasOwn(shape, key) ? (shape[key] ?? null) : null;
}

/** The value one step down; undefined where there is none. */
export function childValue(value: unknown, key: string | number): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string | number, unknown>)[key];
}

/** The value that a path leads to. */
export function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(childValue, value);
}

/** The schema that a path leads to, through the variants that the values on the way choose. */
export function schemaAt(schema: Schema, value: unknown, path: Path): Schema | null {
  let [at, here]: [Schema | null, unknown] = [schema, value];
  for (const key of path) {
    if (at === null) return null;
    [at, here] = [childSchema(at, here, key), childValue(here, key)];
  }
  return at;
}
