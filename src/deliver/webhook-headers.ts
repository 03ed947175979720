import { validateHeaderName, validateHeaderValue } from 'node:http';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { isReservedHeader } from '../core/event/event.ts';

/** What is wrong with a header that somebody wants sent along; null where nothing is. */
export function headerProblem(name: string, value: string): string | null {
  const key = name.toLowerCase();
  if (isReservedHeader(key)) return `the header ${key} is reserved`;
  try {
    validateHeaderName(name);
  } catch (error) {
    return messageOf(error);
  }
  try {
    validateHeaderValue(name, value);
    return null;
  } catch {
    // Node's message is not passed on: whoever set the value may have meant it to be secret.
    return `the header ${key} has a value with characters that headers cannot hold`;
  }
}

/**
 * Headers in lower case, so that none can come twice in two spellings.
 * @throws RunwatchError `invalid_header`
 */
export function customHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => {
      const problem = headerProblem(name, value);
      if (problem !== null) throw new RunwatchError(problem, { code: 'invalid_header' });
      return [name.toLowerCase(), value];
    }),
  );
}
