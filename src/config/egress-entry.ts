import { isIP, isIPv6 } from 'node:net';
import { z } from 'zod';

function isEgressEntry(entry: string): boolean {
  if (isIP(entry) !== 0) return true;
  const [, address = '', bits] = /^(.+)\/(\d{1,3})$/.exec(entry) ?? [];
  if (isIP(address) !== 0) return Number(bits) <= (isIPv6(address) ? 128 : 32);
  const [, host = '', port] = /^(\[[^\]]+\]|[\p{L}\p{N}._-]+):(\d{1,5})$/u.exec(entry) ?? [];
  return Number(port) > 0 && URL.canParse(`http://${host}:${port}`);
}

export const egressEntry = z
  .string()
  .refine(isEgressEntry, 'expected an address, a CIDR such as 10.0.0.0/8, or host:port');
