/** The base of URLs or paths, which may be configured with slashes at its end, so that `/` and a part may follow. */
export function withoutEndSlash(base: string): string {
  return base.replace(/\/+$/, '');
}
