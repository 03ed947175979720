import ipaddr from 'ipaddr.js';

/** Where Noxus is, unless a source or `NOXUS_BACKEND_URL` says otherwise. */
export const NOXUS_URL = 'https://backend.noxus.ai';

const PRIVATE_RANGES = new Set(['private', 'carrierGradeNat', 'uniqueLocal', 'linkLocal']);

/** Names that public name servers do not answer for, by RFC 6761, RFC 6762, RFC 8375 and by custom. */
const PRIVATE_NAME =
  /^[^.]+$|\.(local|localhost|internal|intranet|private|lan|home|corp|svc|test|home\.arpa)$/i;

/** True for hosts that only this machine can reach. */
export function isLoopback(host: string): boolean {
  const name = bare(host);
  return /^(.+\.)?localhost$/i.test(name) || rangeOf(name) === 'loopback';
}

/** True for hosts of a network of one's own, as far as the name says so: nothing is resolved. */
function isPrivate(host: string): boolean {
  const name = bare(host);
  const range = rangeOf(name);
  return range === null ? PRIVATE_NAME.test(name) : PRIVATE_RANGES.has(range);
}

export function isLinkLocal(host: string): boolean {
  return rangeOf(bare(host)) === 'linkLocal';
}

/** True where others on the network can read what is sent: plain http beyond private networks. */
export function isInClear(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, hostname } = new URL(url);
  return protocol === 'http:' && !isLoopback(hostname) && !isPrivate(hostname);
}

/** The kind of an address, in whatever form it is written; null for a name. */
function rangeOf(host: string): string | null {
  return ipaddr.isValid(host) ? ipaddr.process(host).range() : null;
}

/** Without the brackets of IPv6 and the dot of a whole name. */
function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
}
