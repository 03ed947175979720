import ipaddr from 'ipaddr.js';
import { isLoopback } from './hosts.ts';

/** The variables that users and other programs set; the lower case is the older form. */
const PROXY = ['HTTPS_PROXY', 'https_proxy'] as const;
const NO_PROXY = ['NO_PROXY', 'no_proxy'] as const;

/**
 * The proxy of the environment for a URL, with the variable that names it; null for a direct
 * connection. As in other programs, it serves https:// only, and never this machine.
 */
export function proxyFor(
  url: string,
  read: (variable: string) => string | null | undefined,
): { proxy: string; variable: string } | null {
  if (!URL.canParse(url)) return null;
  const { protocol, hostname, port } = new URL(url);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  if (protocol !== 'https:' || isLoopback(host)) return null;
  const exceptions = firstOf(NO_PROXY, read)?.text ?? '';
  if (isExcepted({ host, port: port || '443' }, exceptions)) return null;
  const found = firstOf(PROXY, read);
  // A bare host:port is common.
  return found && { proxy: withScheme(found.text), variable: found.variable };
}

function firstOf(names: readonly string[], read: Parameters<typeof proxyFor>[1]) {
  for (const variable of names) {
    const text = read(variable)?.trim() ?? '';
    if (text !== '') return { text, variable };
  }
  return null;
}

function withScheme(text: string): string {
  return text.includes('://') ? text : `http://${text}`;
}

interface Target {
  host: string;
  port: string;
}

/**
 * Whether a target is among the exceptions of `NO_PROXY`. An exception is `*`, a domain with its
 * subdomains, an address, or a CIDR; the first two may carry a port.
 */
function isExcepted(target: Target, exceptions: string): boolean {
  return exceptions
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => entry !== '' && covers(entry, target));
}

function covers(entry: string, { host, port }: Target): boolean {
  if (entry === '*') return true;
  if (ipaddr.isValid(host)) return coversAddress(entry, host);
  const [, domain = '', onlyPort = port] = /^(.+?)(?::(\d+))?$/.exec(entry) ?? [];
  const bare = domain.replace(/^\*?\./, '');
  return onlyPort === port && (host === bare || host.endsWith(`.${bare}`));
}

function coversAddress(entry: string, host: string): boolean {
  const address = ipaddr.process(host);
  if (ipaddr.isValid(entry)) return ipaddr.process(entry).toString() === address.toString();
  if (!ipaddr.isValidCIDR(entry)) return false;
  const [range, bits] = ipaddr.parseCIDR(entry);
  return range.kind() === address.kind() && address.match(range, bits);
}
