import ipaddr from 'ipaddr.js';
import { RunwatchError } from '../core/errors.ts';
import { inRange, parseAddress, type Address } from './special-addresses.ts';

/** What the operator lets webhooks reach although it is private or speaks plain http. */
export interface AllowList {
  /** Whatever the host resolves to. */
  hasHost(host: string, port: number): boolean;
  hasAddress(address: Address): boolean;
  /** False where no address is on the list, so that no resolution could be either. */
  readonly hasRanges: boolean;
}

/**
 * Reads the entries of `egress.allow`: a CIDR, a single address, or `host:port`.
 * @throws RunwatchError `invalid_egress_rule`, naming the entry
 */
export function parseAllowList(entries: readonly string[]): AllowList {
  const hosts = new Set<string>();
  const ranges: [Address, number][] = [];
  for (const entry of entries) {
    const range = parseRange(entry.trim());
    if (range === null) hosts.add(parseHost(entry));
    else ranges.push(range);
  }
  return {
    hasHost: (host, port) => hosts.has(hostKey(host, port)),
    hasAddress: (address) => ranges.some((range) => inRange(address, range)),
    hasRanges: ranges.length > 0,
  };
}

function parseRange(entry: string): [Address, number] | null {
  if (ipaddr.isValidCIDR(entry)) return ipaddr.parseCIDR(entry);
  // 10.1 and 2130706433 are addresses to the C library; in a list that people read they are mistakes.
  const isPlain = ipaddr.IPv4.isValidFourPartDecimal(entry) || ipaddr.IPv6.isValid(entry);
  if (!isPlain) return null;
  const address = ipaddr.parse(entry);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

function parseHost(entry: string): string {
  const match = /^(\[[^\]]+\]|[\p{L}\p{N}._-]+):(\d{1,5})$/u.exec(entry.trim());
  const [, host = '', port = ''] = match ?? [];
  const origin = `http://${host}:${port}`;
  if (match === null || !URL.canParse(origin)) {
    throw new RunwatchError(
      `egress.allow: "${entry}" is neither a CIDR such as 10.0.0.0/8, nor an address, nor a host:port`,
      { code: 'invalid_egress_rule' },
    );
  }
  return hostKey(new URL(origin).hostname, Number(port));
}

/** One spelling for one host: lower case, no brackets, no trailing dot, addresses in short form. */
function hostKey(host: string, port: number): string {
  const name = parseAddress(host)?.toString() ?? host.toLowerCase().replace(/\.$/, '');
  return `${name}:${port}`;
}
