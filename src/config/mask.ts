/** What stands in the place of a secret. */
export const REDACTED = '[redacted]';

interface MaskOptions {
  /** Whether the path is shown; where it may be the credential itself, it is not. */
  path: boolean;
}

/**
 * A URL without user name, password, query and fragment. What cannot be taken apart with certainty
 * is hidden altogether.
 */
export function maskUrl(text: string, { path }: MaskOptions): string {
  // The path of a unix socket, which is no URL.
  if (text.startsWith('/') && !/[?@#]/.test(text)) return text;
  if (!URL.canParse(text)) return REDACTED;
  const url = new URL(text);
  const rest = `${url.host}${url.pathname}${url.search}${url.hash}`;
  // A password with a slash or a # in it moves the @ out of its place, and the password with it.
  if (rest.includes('@')) return REDACTED;
  const userinfo = url.username === '' && url.password === '' ? '' : `${REDACTED}@`;
  const hasPath = url.pathname !== '' && url.pathname !== '/';
  const pathname = path || !hasPath ? url.pathname : `/${REDACTED}`;
  const query = url.search === '' && url.hash === '' ? '' : `?${REDACTED}`;
  if (userinfo === '' && query === '' && pathname === url.pathname) return text;
  return `${url.protocol}//${userinfo}${url.host}${pathname}${query}`;
}
