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
  const url = URL.canParse(text) ? new URL(text) : null;
  // A password with a slash or a # in it moves the @ out of its place, and the password with it.
  if (url === null || /@/.test(url.host + url.pathname + url.search + url.hash)) return REDACTED;
  const userinfo = `${url.username}${url.password}` === '' ? '' : `${REDACTED}@`;
  const pathname = path ? url.pathname : url.pathname.replace(/^\/.+/, `/${REDACTED}`);
  const query = `${url.search}${url.hash}` === '' ? '' : `?${REDACTED}`;
  const isUnchanged = userinfo === '' && query === '' && pathname === url.pathname;
  return isUnchanged ? text : `${url.protocol}//${userinfo}${url.host}${pathname}${query}`;
}
