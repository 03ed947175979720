import type { z } from 'zod';
import type { Answer } from './http-io.ts';

/** One error of `HTTPValidationError`, in the words of Pydantic. */
export interface Complaint {
  type: string;
  loc: (string | number)[];
  msg: string;
  input: unknown;
  ctx?: Record<string, unknown>;
}

export function problem(status: number, detail: string, headers?: Record<string, string>): Answer {
  return { status, body: JSON.stringify({ detail }), headers };
}

export function invalid(...detail: Complaint[]): Answer {
  return { status: 422, body: JSON.stringify({ detail }) };
}

/** Pydantic's error for an id that is no UUID. */
export function notUuid(loc: Complaint['loc'], input: string): Complaint {
  const error = 'invalid length: expected length 32 for simple format, found ' + input.length;
  const msg = `Input should be a valid UUID, ${error}`;
  return { type: 'uuid_parsing', loc, msg, input, ctx: { error } };
}

interface IntegerRange {
  name: string;
  fallback: number;
  min: number;
  max: number;
}

/** Parses an integer of a query, as FastAPI does. */
export function integerOf(
  query: URLSearchParams,
  { name, fallback, min, max }: IntegerRange,
): number | Complaint {
  const input = query.get(name);
  if (input === null) return fallback;
  const loc = ['query', name];
  if (!/^\s*[+-]?\d+\s*$/.test(input)) {
    const msg = 'Input should be a valid integer, unable to parse string as an integer';
    return { type: 'int_parsing', loc, msg, input };
  }
  const value = Number(input);
  if (value < min) {
    const msg = `Input should be greater than or equal to ${min}`;
    return { type: 'greater_than_equal', loc, msg, input, ctx: { ge: min } };
  }
  if (value > max) {
    const msg = `Input should be less than or equal to ${max}`;
    return { type: 'less_than_equal', loc, msg, input, ctx: { le: max } };
  }
  return value;
}

export const BODY_MISSING: Complaint = {
  type: 'missing',
  loc: ['body'],
  msg: 'Field required',
  input: null,
};

export const BODY_NOT_JSON: Complaint = {
  type: 'json_invalid',
  loc: ['body', 0],
  msg: 'JSON decode error',
  input: {},
  ctx: { error: 'Expecting value' },
};

const WORDINGS: Record<string, [type: string, msg: string]> = {
  string: ['string_type', 'Input should be a valid string'],
  number: ['int_type', 'Input should be a valid integer'],
  int: ['int_type', 'Input should be a valid integer'],
  boolean: ['bool_type', 'Input should be a valid boolean'],
  array: ['list_type', 'Input should be a valid list'],
  record: ['dict_type', 'Input should be a valid dictionary'],
  object: ['model_attributes_type', 'Input should be a valid dictionary or object'],
};

/** Pydantic's errors for a body, from those of zod. */
export function complaintsOf(error: z.ZodError, body: unknown): Complaint[] {
  return error.issues.map((issue) => {
    const loc = ['body', ...issue.path.map((part) => (typeof part === 'symbol' ? '' : part))];
    const input = valueAt(body, issue.path);
    if (input === undefined) {
      const parent = valueAt(body, issue.path.slice(0, -1));
      return { type: 'missing', loc, msg: 'Field required', input: parent ?? null };
    }
    if (issue.code === 'invalid_format' && issue.format === 'uuid') {
      return notUuid(loc, typeof input === 'string' ? input : '');
    }
    const [type, msg] = (issue.code === 'invalid_type' && WORDINGS[issue.expected]) || [
      'value_error',
      `Value error, ${issue.message}`,
    ];
    return { type, loc, msg, input };
  });
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, part) =>
      typeof at === 'object' && at !== null
        ? (at as Record<PropertyKey, unknown>)[part]
        : undefined,
    value,
  );
}
