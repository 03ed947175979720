/** The value under a name that comes from elsewhere: names that every object inherits have none. */
export function valueOf<Value>(
  record: Readonly<Record<string, Value>> | null | undefined,
  name: string,
): Value | undefined {
  return record && Object.hasOwn(record, name) ? record[name] : undefined;
}

/** Every field of a record, also those that may be left out: a literal of this type forgets none. */
export type Complete<Fields> = { [Name in keyof Required<Fields>]: Fields[Name] };
