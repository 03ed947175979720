/** A query of the API. Of several values, any is meant; the fields of a record become fields of their own. */
export type Query = Readonly<Record<string, QueryValue>>;

type QueryValue =
  | string
  | number
  | readonly string[]
  | Readonly<Record<string, string>>
  | null
  | undefined;

/**
 * The fields of an address: `metadata: { team: 'ml' }` is `metadata.team=ml`. A list repeats its field, since
 * its values may have commas. Fields without a value are left out.
 */
export function queryFields(query: Query): [name: string, text: string][] {
  return Object.entries(query).flatMap(([name, value]): [string, string][] => {
    if (value === null || value === undefined) return [];
    if (typeof value !== 'object') return [[name, String(value)]];
    if (isList(value)) return value.map((one) => [name, one]);
    return Object.entries(value).map(([key, text]) => [`${name}.${key}`, text]);
  });
}

function isList(value: object): value is readonly string[] {
  return Array.isArray(value);
}
