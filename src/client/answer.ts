import type { z } from 'zod';
import { RunwatchError } from '../core/errors.ts';
import { problemSchema } from '../http/schemas/common.ts';
import { describeProblem, unlikeADaemon } from './errors.ts';

// Not in errors.ts: the command line loads that one as it starts, which must not load zod.

/**
 * The error that an answer of the daemon stands for.
 * @param body the answer's parsed JSON; anything, as it may come from something else than a daemon
 */
export function problemError(url: string, status: number, body: unknown): RunwatchError {
  if (misfit(body, problemSchema) !== null) {
    return unlikeADaemon(url, status, `it answered ${status} without a problem document`);
  }
  if (status === 401) {
    return new RunwatchError(
      `the daemon at ${url} wants a token: set RUNWATCH_API_TOKEN (or RUNWATCH_API_TOKEN_FILE) to one that it knows`,
      { code: 'unauthorized' },
    );
  }
  const problem = body as z.output<typeof problemSchema>;
  const sentence = describeProblem(problem);
  const retriable = status === 429 || status >= 500;
  // What is wrong with the request is no matter of which daemon says so.
  const message = retriable ? `the daemon at ${url} answers ${status}: ${sentence}` : sentence;
  return new RunwatchError(message, { code: problem.code, retriable });
}

/**
 * What is wrong with the shape of an answer, in a few words; null where it fits its schema. The daemon
 * may be of another version. Fields and words that the schema lacks pass; a missing field becomes null
 * where that is one of its values.
 */
export function misfit(body: unknown, schema: z.ZodType): string | null {
  const issues = issuesOf(body, schema);
  const missing = issues.filter(isMissing);
  if (missing.length === 0) return describeIssue(issues[0]);
  for (const { path } of missing) setAt(body, path, null);
  return describeIssue(issuesOf(body, schema)[0]);
}

function issuesOf(body: unknown, schema: z.ZodType): z.core.$ZodIssue[] {
  const { error } = schema.safeParse(body, { reportInput: true });
  return error?.issues.filter((issue) => !isNewer(issue)) ?? [];
}

function describeIssue(issue: z.core.$ZodIssue | undefined): string | null {
  return issue === undefined ? null : `${issue.message} at "${issue.path.join('.')}"`;
}

/** A word that an enumeration or a union does not have, also inside of a union. */
function isNewer(issue: z.core.$ZodIssue): boolean {
  if (issue.code === 'invalid_value') return typeof issue.input === 'string';
  if (issue.code !== 'invalid_union') return false;
  const isNewerKind = issue.errors.length === 0 && issue.discriminator !== undefined;
  if (isNewerKind || issue.errors.some((branch) => branch.every(isNewer))) return true;
  // Inside of an answer, an object of none of the known shapes is of a newer one.
  return issue.path.length > 0 && issue.errors.every((branch) => branch.some(isMissing));
}

function isMissing({ code, input, path }: z.core.$ZodIssue): boolean {
  return code === 'invalid_type' && input === undefined && path.length > 0;
}

function setAt(body: unknown, path: readonly PropertyKey[], value: unknown): void {
  const parent = path.slice(0, -1).reduce<unknown>((at, key) => Reflect.get(Object(at), key), body);
  Reflect.set(Object(parent), path.at(-1) ?? '', value);
}
