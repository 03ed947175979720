import { RunwatchError } from '../core/errors.ts';
import { withoutControls } from '../core/control-characters.ts';
import type { z } from 'zod';
import type { problemSchema } from '../http/schemas/common.ts';

/** The part of a problem document that a user is shown. */
type Complaint = Pick<z.output<typeof problemSchema>, 'detail' | 'errors'>;

/** One sentence, and a line for each field that is wrong. */
export function describeProblem({ detail, errors = [] }: Complaint): string {
  const sentence = byField(plain(detail));
  const issues = errors.map(({ path, message }) =>
    byField(plain(path === '' ? message : `${path}: ${message}`)),
  );
  return [sentence, ...issues.filter((issue) => issue !== sentence)].join('\n  - ');
}

/** `query.type.0: …` as `type: …`: which part of a request it was says nothing to users. */
function byField(text: string): string {
  return text.replace(/^(?:query|params|body|watches\.\d+)\.([a-z_.]+?)(?:\.\d+)?(?=: )/, '$1');
}

/** Text from the daemon, in which control characters could steer a terminal. */
function plain(text: string): string {
  return withoutControls(text, '\u{fffd}');
}

/** A text in which URLs have no user name and password any more. */
export function withoutPasswords(text: string): string {
  return text.replace(/\/\/[^\s/@]{1,512}@/g, '//[redacted]@');
}

/** What proxies answer for a server that does not: Bad Gateway, Service Unavailable, Gateway Timeout. */
const GATEWAY_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);

/** The error that an answer stands for which is no problem document, as each error of a daemon is. */
export function unlikeADaemon(url: string, status: number, why: string): RunwatchError {
  if (!GATEWAY_STATUSES.has(status)) return notADaemon(url, why);
  return new RunwatchError(
    `a proxy answers ${status} for the daemon at ${url}; see that the daemon runs, or set RUNWATCH_URL`,
    { code: 'daemon_unreachable', retriable: true },
  );
}

export function notADaemon(url: string, why: string): RunwatchError {
  return new RunwatchError(
    `what answers at ${url} does not look like a runwatch daemon: ${why}; check RUNWATCH_URL`,
    { code: 'not_a_daemon' },
  );
}
