import { validateHeaderName, validateHeaderValue } from 'node:http';
import { z } from 'zod';

/** The name of an HTTP header. */
export const headerName = z
  .string()
  .refine((text) => passes(() => validateHeaderName(text)), 'expected the name of a header');

export const HEADER_VALUE = 'expected the value of a header: one line of printable characters';

export function isHeaderValue(text: string): boolean {
  return passes(() => validateHeaderValue('x', text));
}

function passes(check: () => void): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}
