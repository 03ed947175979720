import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  parseAddress,
  specialRange,
  type SpecialRange,
} from '../../src/deliver/egress/addresses.ts';

function rangeOf(text: string): SpecialRange | null | 'unreadable' {
  const address = parseAddress(text);
  return address === null ? 'unreadable' : specialRange(address);
}

const DENIED: [string, SpecialRange][] = [
  ['0.0.0.0', 'unspecified'],
  ['0.255.255.255', 'unspecified'],
  ['127.0.0.1', 'loopback'],
  ['127.255.255.255', 'loopback'],
  ['10.0.0.1', 'private'],
  ['10.255.255.255', 'private'],
  ['172.16.0.1', 'private'],
  ['172.31.255.255', 'private'],
  ['192.168.0.1', 'private'],
  ['192.168.255.255', 'private'],
  ['100.64.0.1', 'carrier_grade_nat'],
  ['100.127.255.255', 'carrier_grade_nat'],
  ['169.254.0.1', 'link_local'],
  ['169.254.169.254', 'metadata'],
  ['169.254.255.255', 'link_local'],
  ['169.254.170.2', 'metadata'],
  ['100.100.100.200', 'metadata'],
  ['168.63.129.16', 'metadata'],
  ['192.0.0.192', 'metadata'],
  ['192.0.0.1', 'reserved'],
  ['192.0.2.1', 'documentation'],
  ['198.51.100.1', 'documentation'],
  ['203.0.113.1', 'documentation'],
  ['198.18.0.1', 'benchmarking'],
  ['198.19.255.255', 'benchmarking'],
  ['192.88.99.1', '6to4'],
  ['224.0.0.1', 'multicast'],
  ['239.255.255.255', 'multicast'],
  ['240.0.0.1', 'reserved'],
  ['255.255.255.254', 'reserved'],
  ['255.255.255.255', 'broadcast'],
  ['::', 'unspecified'],
  ['::1', 'loopback'],
  ['0:0:0:0:0:0:0:1', 'loopback'],
  ['fe80::1', 'link_local'],
  ['fe80::1%eth0', 'link_local'],
  ['[fe80::1]', 'link_local'],
  ['febf::1', 'link_local'],
  ['fec0::1', 'site_local'],
  ['fc00::1', 'unique_local'],
  ['fdff::1', 'unique_local'],
  ['fd00:ec2::254', 'metadata'],
  ['fd20:ce::254', 'metadata'],
  ['ff02::1', 'multicast'],
  ['::ffff:127.0.0.1', 'ipv4_mapped'],
  ['::ffff:7f00:1', 'ipv4_mapped'],
  ['::ffff:8.8.8.8', 'ipv4_mapped'],
  ['::ffff:0:127.0.0.1', 'ipv4_translated'],
  ['::7f00:1', 'ipv4_compatible'],
  ['64:ff9b::7f00:1', 'nat64'],
  ['64:ff9b::8.8.8.8', 'nat64'],
  ['64:ff9b::a9fe:a9fe', 'nat64'],
  ['64:ff9b:1::1', 'nat64'],
  ['2002:7f00:1::', '6to4'],
  ['2001::1', 'teredo'],
  ['2001:2::1', 'benchmarking'],
  ['2001:db8::1', 'documentation'],
  ['3fff::1', 'documentation'],
  ['2001:10::1', 'reserved'],
  ['100::1', 'reserved'],
  ['5f00::1', 'reserved'],
  ['4000::1', 'reserved'],
  // The C library reads all of these as 127.0.0.1.
  ['2130706433', 'loopback'],
  ['0x7f000001', 'loopback'],
  ['017700000001', 'loopback'],
  ['127.1', 'loopback'],
  ['127.0.1', 'loopback'],
  ['0177.0.0.1', 'loopback'],
  ['0x7f.0.0.1', 'loopback'],
  ['0x7F.1', 'loopback'],
  ['127.0.0.1.', 'loopback'],
  // And these as 169.254.169.254.
  ['2852039166', 'metadata'],
  ['0xa9fea9fe', 'metadata'],
];

describe('special addresses', () => {
  test.each(DENIED)('address %s is %s', (text, range) => {
    expect(rangeOf(text)).toBe(range);
  });

  test.each([
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.0',
    '169.253.255.255',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '198.17.255.255',
    '198.20.0.0',
    '223.255.255.255',
    '2606:4700:4700::1111',
    '2a00:1450:4001::1',
  ])('address %s is a public address', (text) => {
    expect(rangeOf(text)).toBeNull();
  });

  test.each(['', 'localhost', '1.2.3.4.5', '256.0.0.1', '08.0.0.1', 'fe80::1%', '::1::'])(
    '"%s" cannot be read as an address',
    (text) => {
      expect(rangeOf(text)).toBe('unreadable');
    },
  );

  test('an IPv4 address is judged alike in every textual form', () => {
    const octet = fc.integer({ min: 0, max: 255 });
    const radix = fc.constantFrom(8, 10, 16);
    const forms = fc.record({
      octets: fc.tuple(octet, octet, octet, octet),
      radixes: fc.tuple(radix, radix, radix, radix),
      parts: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(forms, ({ octets, radixes, parts }) => {
        const text = shorten(octets, parts).map((value, i) => writeNumber(value, radixes[i] ?? 10));
        expect(rangeOf(text.join('.'))).toBe(rangeOf(octets.join('.')));
      }),
      { numRuns: 2_000 },
    );
  });

  test('no IPv4 address passes by being embedded in an IPv6 one', () => {
    const half = fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16));
    const prefix = fc.constantFrom('::ffff:', '::ffff:0:', '::', '64:ff9b::', '64:ff9b:1::');
    fc.assert(
      fc.property(prefix, half, half, (start, high, low) => {
        expect(rangeOf(`${start}${high}:${low}`)).not.toBeNull();
        expect(rangeOf(`2002:${high}:${low}::1`)).not.toBeNull();
      }),
    );
  });
});

/** Folds the last octets into one number, as `inet_aton` reads a.b.c, a.b and a. */
function shorten(octets: readonly number[], parts: number): number[] {
  const kept = octets.slice(0, parts - 1);
  const folded = octets.slice(parts - 1).reduce((sum, octet) => sum * 256 + octet, 0);
  return [...kept, folded];
}

function writeNumber(value: number, radix: number): string {
  const prefix = radix === 16 ? '0x' : radix === 8 && value > 0 ? '0' : '';
  return prefix + value.toString(radix);
}
