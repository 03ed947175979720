import type { FastifySchemaCompiler } from 'fastify';
import type { z } from 'zod';
import { assertNever, type InputIssue } from '../core/errors.ts';
import { InvalidRequest } from './problem.ts';

/** Most problems of one answer: a body full of unknown fields must not be answered at its own size. */
export const MAX_ISSUES = 20;

/** Longest path that is told in full: field names come from the client. */
const MAX_PATH_LENGTH = 200;

/** How issues of each part of a request begin; those of the body have no prefix. */
const PREFIXES: Readonly<Record<string, string>> = {
  querystring: 'query',
  params: 'path',
  headers: 'header',
};

type Parsed<T> = { ok: true; value: T } | { ok: false; issues: InputIssue[] };

/** Checks a value; what is wrong with it is told as issues, by path, in words for people. */
export function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  prefix: string | null = null,
): Parsed<z.output<Schema>> {
  const result = schema.safeParse(value, { error: describeIssue });
  return result.success
    ? { ok: true, value: result.data }
    : { ok: false, issues: issuesOf(result.error, prefix) };
}

/** Lets Fastify check requests by zod schemas. */
export const validateByZod: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  const prefix = PREFIXES[httpPart ?? ''] ?? null;
  return (value) => {
    const parsed = parse(schema, value, prefix);
    return parsed.ok ? { value: parsed.value } : { error: new InvalidRequest(parsed.issues) };
  };
};

function issuesOf(error: z.ZodError, prefix: string | null): InputIssue[] {
  const issues = error.issues.slice(0, MAX_ISSUES).flatMap((issue) => {
    const path = [prefix ?? [], issue.path].flat();
    const paths =
      issue.code === 'unrecognized_keys'
        ? issue.keys.slice(0, MAX_ISSUES).map((key) => path.concat(key))
        : [path];
    return paths.map((parts) => ({
      path: parts.map(String).join('.').slice(0, MAX_PATH_LENGTH),
      message: issue.message,
    }));
  });
  return issues.slice(0, MAX_ISSUES);
}

const KINDS: Readonly<Record<string, string>> = {
  array: 'an array',
  boolean: 'true or false',
  int: 'a whole number',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'a string',
};

/** The words for issues whose schema brings none; the value itself is never repeated. */
function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return describeType(issue.expected, issue.input);
    case 'unrecognized_keys':
      return 'unknown field';
    case 'invalid_value':
      return `expected one of ${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return `expected at least ${sized(issue.origin, issue.minimum)}`;
    case 'too_big':
      return `expected at most ${sized(issue.origin, issue.maximum)}`;
    case 'custom':
    case 'invalid_element':
    case 'invalid_format':
    case 'invalid_key':
    case 'invalid_union':
    case 'not_multiple_of':
      return undefined;
    default:
      return assertNever(issue);
  }
}

function describeType(expected: string, input: unknown): string {
  const kind = KINDS[expected] ?? expected;
  return input === undefined ? `required: expected ${kind}` : `expected ${kind}`;
}

function sized(origin: string, size: number | bigint): string {
  const unit = { string: 'characters', array: 'items' }[origin];
  return unit === undefined ? String(size) : `${size} ${unit}`;
}
