/** Headers of one connection (RFC 9110, section 7.6.1), and those that runwatch sets itself. */
const RESERVED =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect|host|http2-settings|content-encoding|content-length|content-type|user-agent|webhook-.*)$/i;

/** True for headers that users may not set on a webhook. */
export function isReservedHeader(name: string): boolean {
  return RESERVED.test(name);
}
