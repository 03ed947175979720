import { RunwatchError } from '../core/errors.ts';
import type { z } from 'zod';
import { withoutControls } from '../core/controls.ts';
import { problemSchema } from '../http/schemas/common.ts';

/** The part of a problem document that a user is shown. */
type Complaint = Pick<z.output<typeof problemSchema>, 'detail' | 'errors'>;

/** One sentence, and a line for each field that is wrong. */
export function describeProblem({ detail, errors = [] }: Complaint): string {
  const sentence = plain(detail);
  const issues = errors.map(({ path, message }) =>
    plain(path === '' ? message : `${path}: ${message}`),
  );
  return [sentence, ...issues.filter((issue) => issue !== sentence)].join('\n  - ');
}

/**
 * The error that an answer of the daemon stands for.
 * @param body the answer's parsed JSON; anything, as it may come from something else than a daemon
 */
export function problemError(url: string, status: number, body: unknown): RunwatchError {
  if (misfit(body, problemSchema) !== null) {
    return notADaemon(url, `it answered ${status} without a problem document`);
  }
  if (status === 401) {
    return new RunwatchError(
      `the daemon at ${url} wants a token: set RUNWATCH_API_TOKEN (or RUNWATCH_API_TOKEN_FILE) to one that it knows`,
      { code: 'unauthorized' },
    );
  }
  const problem = body as z.output<typeof problemSchema>;
  return new RunwatchError(`the daemon at ${url} answers ${status}: ${describeProblem(problem)}`, {
    code: problem.code,
    retriable: status === 429 || status >= 500,
  });
}

/**
 * What is wrong with the shape of an answer, in a few words; null where it fits its schema. A word that
 * an enumeration does not have is a newer daemon's, and passes.
 */
export function misfit(body: unknown, schema: z.ZodType): string | null {
  const { error } = schema.safeParse(body, { reportInput: true });
  const issue = error?.issues.find((one) => !isNewerWord(one));
  return issue === undefined ? null : `${issue.message} at "${issue.path.join('.')}"`;
}

function isNewerWord({ code, input }: z.core.$ZodIssue): boolean {
  return code === 'invalid_value' && typeof input === 'string';
}

/** Text from the daemon, in which control characters could steer a terminal. */
function plain(text: string): string {
  return withoutControls(text, '\u{fffd}');
}

/** A text in which URLs have no user name and password any more. */
export function withoutPasswords(text: string): string {
  return text.replace(/\/\/[^\s/@]{1,512}@/g, '//[redacted]@');
}

export function notADaemon(url: string, why: string): RunwatchError {
  return new RunwatchError(
    `what answers at ${url} does not look like a runwatch daemon: ${why}; check RUNWATCH_URL`,
    { code: 'not_a_daemon' },
  );
}
