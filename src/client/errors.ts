import { RunwatchError } from '../core/errors.ts';
import { withoutControls } from '../core/controls.ts';
import { problemSchema, type Problem } from './types.ts';

/** What a problem document says, in one sentence and a line for each thing that is wrong. */
export function describeProblem(problem: Problem | string): string {
  if (typeof problem === 'string') return plain(problem);
  const sentence = plain(problem.detail ?? problem.title ?? problem.code ?? 'no reason given');
  const issues = (problem.errors ?? []).map(({ path, message }) =>
    plain(path === '' ? message : `${path}: ${message}`),
  );
  return [sentence, ...issues.filter((issue) => issue !== sentence)].join('\n  - ');
}

/**
 * The error that an answer of the daemon stands for.
 * @param body the answer's parsed JSON; anything, as it may come from something else than a daemon
 */
export function problemError(url: string, status: number, body: unknown): RunwatchError {
  const parsed = problemSchema.safeParse(body);
  if (!parsed.success) return notADaemon(url, `it answered ${status} without a problem document`);
  if (status === 401) {
    return new RunwatchError(
      `the daemon at ${url} wants a token: set RUNWATCH_API_TOKEN (or RUNWATCH_API_TOKEN_FILE) to one that it knows`,
      { code: 'unauthorized' },
    );
  }
  return new RunwatchError(
    `the daemon at ${url} answers ${status}: ${describeProblem(parsed.data)}`,
    { code: parsed.data.code ?? `http_${status}`, retriable: status === 429 || status >= 500 },
  );
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
