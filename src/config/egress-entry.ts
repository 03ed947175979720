import { isIP, isIPv6 } from 'node:net';
import { z } from 'zod';

function isEgressEntry(entry: string): boolean {
  if (isIP(entry) !== 0) return true;
  const [, address = '', bits] = /^(.+)\/(\d{1,3})$/.exec(entry) ?? [];
  if (isIP(address) !== 0) return Number(bits) <= (isIPv6(address) ? 128 : 32);
  const [, host = '', port] = /^(.+):(\d{1,5})$/.exec(entry) ?? [];
  const isHost = /^\[.+\]$/.test(host) ? isIPv6(host.slice(1, -1)) : /^[\w.-]+$/.test(host);
  return isHost && Number(port) >= 1 && Number(port) <= 65_535;
}

export const egressEntry = z
  .string()
  .refine(isEgressEntry, 'expected an address, a CIDR such as 10.0.0.0/8, or host:port');
