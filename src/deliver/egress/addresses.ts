import ipaddr from 'ipaddr.js';
import { RunwatchError } from '../../core/errors.ts';

export type Address = ipaddr.IPv4 | ipaddr.IPv6;

/**
 * Addresses that are not public, by the rule that denies them. The first match gives the rule, so narrow
 * ranges stand before those that contain them.
 * Source: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and later), and the
 * documentation of the clouds for their metadata services, some of which have public addresses.
 */
const SPECIAL = {
  metadata: [
    '169.254.169.254/32',
    '169.254.169.253/32',
    '169.254.169.123/32',
    '169.254.170.2/32',
    '169.254.170.23/32',
    '169.254.42.42/32',
    '100.100.100.200/32',
    '168.63.129.16/32',
    '192.0.0.192/32',
    'fd00:ec2::/32',
    'fd20:ce::254/128',
    'fd00:42::42/128',
    'fd00:c1::a9fe:a9fe/128',
  ],
  unspecified: ['0.0.0.0/8', '::/128'],
  loopback: ['127.0.0.0/8', '::1/128'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'],
  carrier_grade_nat: ['100.64.0.0/10'],
  link_local: ['169.254.0.0/16', 'fe80::/10'],
  documentation: [
    '192.0.2.0/24',
    '198.51.100.0/24',
    '203.0.113.0/24',
    '2001:db8::/32',
    '3fff::/20',
  ],
  benchmarking: ['198.18.0.0/15', '2001:2::/48'],
  broadcast: ['255.255.255.255/32'],
  multicast: ['224.0.0.0/4', 'ff00::/8'],
  unique_local: ['fc00::/7'],
  site_local: ['fec0::/10'],
  ipv4_mapped: ['::ffff:0:0/96'],
  ipv4_translated: ['::ffff:0:0:0/96'],
  ipv4_compatible: ['::/96'],
  nat64: ['64:ff9b::/96', '64:ff9b:1::/48'],
  '6to4': ['2002::/16', '192.88.99.0/24'],
  teredo: ['2001::/32'],
  reserved: [
    '192.0.0.0/24',
    '192.31.196.0/24',
    '192.52.193.0/24',
    '192.175.48.0/24',
    '240.0.0.0/4',
    '100::/64',
    '100:0:0:1::/64',
    '2001::/23',
    '2620:4f:8000::/48',
    '5f00::/16',
  ],
} as const;

export type SpecialRange = keyof typeof SPECIAL;

const RANGES = Object.entries(SPECIAL).flatMap(([name, cidrs]) =>
  cidrs.map((cidr) => ({ name: name as SpecialRange, range: ipaddr.parseCIDR(cidr) })),
);

/** All that is routed on the public internet over IPv6 (RFC 4291, section 2.4). */
const GLOBAL_UNICAST = ipaddr.parseCIDR('2000::/3');

/** The rule that denies an address; null for a public one. */
export function specialRange(address: Address): SpecialRange | null {
  const special = RANGES.find(({ range }) => inRange(address, range));
  if (special !== undefined) return special.name;
  return address.kind() === 'ipv4' || inRange(address, GLOBAL_UNICAST) ? null : 'reserved';
}

/** Ranges that no webhook may reach, configured or not: link-local, and metadata services. */
const FORBIDDEN: ReadonlySet<SpecialRange | null> = new Set(['metadata', 'link_local']);

/** The rule that denies an address, also an embedded one, to every webhook; null for none. */
export function forbiddenRange(address: Address): SpecialRange | null {
  const range = specialRange(address);
  if (FORBIDDEN.has(range)) return range;
  const inner = address.kind() === 'ipv6' ? embedded(address as ipaddr.IPv6, range) : null;
  const innerRange = inner === null ? null : specialRange(inner);
  return FORBIDDEN.has(innerRange) ? innerRange : null;
}

/** Names of metadata services by the documentation of the clouds. Outside of a cloud they resolve to nothing. */
const METADATA_NAMES: ReadonlySet<string> = new Set([
  'metadata.google.internal',
  'metadata.goog',
  'instance-data.ec2.internal',
  'metadata.tencentyun.com',
  'api.metadata.cloud.ibm.com',
]);

/** True for names that no webhook may use, whatever they resolve to. */
export function isMetadataName(host: string): boolean {
  return METADATA_NAMES.has(host.toLowerCase().replace(/\.$/, ''));
}

/** The bytes of an IPv6 address in which a range keeps an IPv4 address. */
const EMBEDDED_AT: Partial<Record<SpecialRange, number>> = {
  ipv4_mapped: 12,
  ipv4_translated: 12,
  ipv4_compatible: 12,
  nat64: 12,
  '6to4': 2,
};

function embedded(address: ipaddr.IPv6, range: SpecialRange | null): ipaddr.IPv4 | null {
  const at = range === null ? undefined : EMBEDDED_AT[range];
  return at === undefined ? null : new ipaddr.IPv4(address.toByteArray().slice(at, at + 4));
}

/** Whether the address has the range's family and lies in the range. */
function inRange(address: Address, range: [Address, number]): boolean {
  return address.kind() === range[0].kind() && address.match(range);
}

/**
 * Reads an address in every textual form that a resolver or the C library takes: dotted, short,
 * decimal, octal, hexadecimal; IPv6 with brackets or a zone. Null where it is not an address.
 */
export function parseAddress(text: string): Address | null {
  const bare = text.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
  return ipaddr.isValid(bare) ? ipaddr.parse(bare) : null;
}

/** Private or plain-http targets that the operator allows to webhooks. */
export interface AllowList {
  /** Whichever address the host resolves to. */
  hasHost(host: string, port: number): boolean;
  hasAddress(address: Address): boolean;
  /** False when the list has no addresses: no resolved address can match. */
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
  // The C library reads 10.1 and 2130706433 as addresses; in a configured list they are mistakes.
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
