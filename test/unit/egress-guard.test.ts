import type { LookupAddress } from 'node:dns';
import { describe, expect, test } from '@jest/globals';
import {
  createEgressGuard,
  createEndpointGuard,
  type EgressGuard,
} from '../../src/deliver/egress/egress-guard.ts';

function guardOf(allow: string[] = [], requireHttps = true, found: string[] = []): EgressGuard {
  const resolve = () =>
    Promise.resolve(found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })));
  return createEgressGuard({ allow, requireHttps, resolve });
}

function ruleFor(guard: EgressGuard, url: string): string {
  const verdict = guard.check(new URL(url));
  return verdict.allowed ? 'allowed' : verdict.rule;
}

/** What the guard gives a connection: its addresses, or the reason for a refusal. */
function resolved(guard: EgressGuard, url: string, family = 0): Promise<string[] | string> {
  const { protocol, hostname, port } = new URL(url);
  const secure = protocol === 'https:';
  const target = { secure, host: hostname, port: port === '' ? 443 : Number(port) };
  return new Promise((resolve) => {
    guard.lookup(target)(hostname, { all: true, family }, (error, addresses) => {
      const list = (addresses as LookupAddress[] | '') || [];
      resolve(error === null ? list.map(({ address }) => address) : error.message);
    });
  });
}

describe('egress guard, before connecting', () => {
  test.each([
    ['https://hooks.example.com/x', 'allowed'],
    ['https://1.1.1.1/', 'allowed'],
    ['https://[2606:4700:4700::1111]:8443/', 'allowed'],
    ['http://hooks.example.com/', 'https_required'],
    ['http://1.1.1.1/', 'https_required'],
    ['ftp://hooks.example.com/', 'scheme'],
    ['file:///etc/passwd', 'scheme'],
    ['https://localhost/', 'loopback'],
    ['https://LOCALHOST./', 'loopback'],
    ['https://api.localhost/', 'loopback'],
    ['https://127.0.0.1./', 'loopback'],
    ['https://2130706433/', 'loopback'],
    ['https://0x7f.1/', 'loopback'],
    ['https://0177.0.0.1/', 'loopback'],
    ['https://１２７。０。０。１/', 'loopback'],
    ['https://[::1]/', 'loopback'],
    ['https://[::ffff:10.0.0.1]/', 'ipv4_mapped'],
    ['https://169.254.169.254/latest/meta-data', 'metadata'],
    ['https://Metadata.Google.Internal./computeMetadata/v1', 'metadata'],
    ['https://metadata.example.com/', 'allowed'],
    ['https://10.1.2.3/', 'private'],
  ])('the egress guard judges %s: %s', (url, rule) => {
    expect(ruleFor(guardOf(), url)).toBe(rule);
  });

  test('plain http to a public host passes where https is not required', () => {
    const guard = guardOf([], false);
    expect(ruleFor(guard, 'http://hooks.example.com/')).toBe('allowed');
    expect(ruleFor(guard, 'http://10.0.0.1/')).toBe('private');
  });

  test('an address with an unreadable zone is denied, not resolved', () => {
    const verdict = guardOf().checkTarget({ secure: true, host: 'fe80::1%eth0.1', port: 443 });
    expect(verdict).toMatchObject({ allowed: false, rule: 'unreadable_address' });
  });

  test("the egress guard's message names the address and the rule", () => {
    expect(guardOf().check(new URL('https://10.0.0.1/'))).toEqual({
      allowed: false,
      rule: 'private',
      message: '10.0.0.1 is not a public address (private): add "10.0.0.1:443" to egress.allow',
    });
  });

  test.each([
    ['http://127.0.0.1:18788/', 'add "127.0.0.1:18788" to egress.allow'],
    ['https://[::1]/', 'add "[::1]:443" to egress.allow'],
    ['http://hooks.internal/', 'add "hooks.internal:80" to egress.allow'],
    ['https://localhost:9/', 'add "localhost:9" to egress.allow'],
  ])('an egress block of %s names its cure, and the cure works', (url, cure) => {
    const verdict = guardOf().check(new URL(url));
    expect(verdict).toMatchObject({ message: expect.stringContaining(cure) });
    const [, entry = ''] = /"(.+)"/.exec(cure) ?? [];
    expect(ruleFor(guardOf([entry]), url)).toBe('allowed');
  });
});

describe('egress allow-list', () => {
  test.each([
    [['10.0.0.0/8'], 'http://10.1.2.3/', 'allowed'],
    [['10.0.0.0/8'], 'https://10.1.2.3/', 'allowed'],
    [['10.0.0.0/8'], 'https://11.1.2.3/', 'allowed'],
    [['10.0.0.0/8'], 'http://11.1.2.3/', 'https_required'],
    [['10.0.0.0/8'], 'https://192.168.0.1/', 'private'],
    [['10.0.0.0/8'], 'https://[::ffff:10.0.0.1]/', 'ipv4_mapped'],
    [['10.1.2.3'], 'http://10.1.2.3:9000/', 'allowed'],
    [['10.1.2.3'], 'http://10.1.2.4:9000/', 'private'],
    [['fd00::/8'], 'http://[fd12::1]/', 'allowed'],
    [['::1'], 'http://[::1]:3000/', 'allowed'],
    [['127.0.0.0/8'], 'http://localhost:3000/', 'allowed'],
    [['127.0.0.1:3000'], 'http://127.0.0.1:3000/', 'allowed'],
    [['127.0.0.1:3000'], 'http://127.0.0.1:3001/', 'loopback'],
    [['[::1]:3000'], 'http://[0:0::1]:3000/', 'allowed'],
    [['localhost:3000'], 'http://localhost:3000/', 'allowed'],
    [['localhost:3000'], 'http://127.0.0.1:3000/', 'loopback'],
    [['Hooks.Internal:80'], 'http://hooks.internal./', 'allowed'],
    [['hooks.internal:443'], 'https://hooks.internal/', 'allowed'],
    [['hooks.internal:443'], 'http://hooks.internal/', 'https_required'],
    [['hooks.internal:443'], 'http://evil-hooks.internal:443/', 'https_required'],
    [['0.0.0.0/0', '::/0'], 'http://10.1.2.3/', 'allowed'],
    [['0.0.0.0/0', '::/0'], 'http://169.254.169.254/', 'metadata'],
    [['169.254.169.254:80'], 'http://169.254.169.254/', 'metadata'],
    [['metadata.goog:80'], 'http://metadata.goog/', 'metadata'],
    [['fe80::/10'], 'http://[fe80::1]/', 'link_local'],
    [['::/0'], 'http://[::ffff:169.254.169.254]/', 'metadata'],
  ])('the allow-list %j lets %s be %s', (allow, url, rule) => {
    expect(ruleFor(guardOf(allow), url)).toBe(rule);
  });

  test.each([
    'hooks.internal',
    '10.0.0.0/33',
    '10.0.0',
    'hooks.internal:99999',
    'user@host:80',
    'http://host:80',
    '*:80',
    '',
  ])('the allow-list refuses the entry "%s"', (entry) => {
    expect(() => guardOf([entry])).toThrow(
      expect.objectContaining({ code: 'invalid_egress_rule' }),
    );
  });
});

describe('egress guard, at the moment of connecting', () => {
  const url = 'https://hooks.example.com/';

  test('the egress guard passes only allowed addresses to a connection', async () => {
    const found = ['10.0.0.1', '1.1.1.1', '::1', '2606:4700::1111', 'fe80::1%eth0.1'];
    expect(await resolved(guardOf([], true, found), url)).toEqual(['1.1.1.1', '2606:4700::1111']);
  });

  test('the egress guard passes only the requested address family', async () => {
    const guard = guardOf([], true, ['1.1.1.1', '2606:4700::1111']);
    expect(await resolved(guard, url, 6)).toEqual(['2606:4700::1111']);
  });

  test('the egress guard fails with the first reason where no address is left', async () => {
    const guard = guardOf([], true, ['10.0.0.1', '::1']);
    expect(await resolved(guard, url)).toBe(
      'hooks.example.com resolves to 10.0.0.1, which is not a public address (private): ' +
        'add "hooks.example.com:443" to egress.allow',
    );
  });

  test('the egress guard fails where a name has no address', async () => {
    expect(await resolved(guardOf(), url)).toBe('no address for hooks.example.com');
  });

  test('an allowed host may resolve to anything but link-local and metadata addresses', async () => {
    const found = ['10.0.0.1', '169.254.169.254', 'fe80::1'];
    const guard = guardOf(['hooks.example.com:8080'], true, found);
    expect(await resolved(guard, 'http://hooks.example.com:8080/')).toEqual(['10.0.0.1']);
    expect(await resolved(guard, 'http://hooks.example.com:8081/')).toMatch(/private/);
  });

  test('plain http reaches only those addresses of a name that are in an allowed range', async () => {
    const guard = guardOf(['10.0.0.0/8'], true, ['1.1.1.1', '10.0.0.1']);
    expect(ruleFor(guard, 'http://hooks.internal:80/')).toBe('allowed');
    expect(await resolved(guard, 'http://hooks.internal:81/')).toEqual(['10.0.0.1']);
    const elsewhere = guardOf(['10.0.0.0/8'], true, ['1.1.1.1']);
    expect(await resolved(elsewhere, 'http://hooks.internal:81/')).toMatch(/https_required/);
  });

  test('a resolver that flips between public and private addresses never yields a private one', async () => {
    let calls = 0;
    const guard = createEgressGuard({
      allow: [],
      requireHttps: true,
      resolve: () => {
        calls += 1;
        return Promise.resolve([{ address: calls % 2 === 0 ? '127.0.0.1' : '1.1.1.1', family: 4 }]);
      },
    });
    const answers = [];
    for (let i = 0; i < 1_000; i += 1) answers.push(await resolved(guard, url));
    expect(answers.filter((answer) => Array.isArray(answer))).toEqual(
      Array.from({ length: 500 }, () => ['1.1.1.1']),
    );
  });
});

describe('the guard of configured endpoints', () => {
  const guard = createEndpointGuard();

  test.each([
    'http://127.0.0.1:18788/',
    'http://localhost/',
    'https://10.1.2.3/',
    'http://[::1]:80/',
    'http://[fd12::1]/',
    'http://hooks.example.com/',
    'http://[64:ff9b::8.8.8.8]/',
  ])('a configured endpoint may be %s', (url) => {
    expect(ruleFor(guard, url)).toBe('allowed');
  });

  test.each([
    ['http://169.254.169.254/latest', 'metadata'],
    ['http://2852039166/', 'metadata'],
    ['http://metadata.google.internal/', 'metadata'],
    ['http://169.254.1.1/', 'link_local'],
    ['http://[fe80::1]/', 'link_local'],
    ['http://[fd00:ec2::254]/', 'metadata'],
    ['http://[::ffff:169.254.169.254]/', 'metadata'],
    ['http://[::169.254.169.254]/', 'metadata'],
    ['http://[64:ff9b::169.254.169.254]/', 'metadata'],
    ['http://[2002:a9fe:a9fe::]/', 'metadata'],
    ['ftp://10.0.0.1/', 'scheme'],
  ])('the guard of configured endpoints refuses %s: %s', (url, rule) => {
    expect(ruleFor(guard, url)).toBe(rule);
  });

  test("a configured endpoint's name loses its metadata address, and keeps the others", async () => {
    const resolve = (found: string[]) => () =>
      Promise.resolve(found.map((address) => ({ address, family: 4 })));
    const url = 'https://hooks.internal/';
    const mixed = createEndpointGuard({ resolve: resolve(['169.254.169.254', '10.0.0.1']) });
    expect(await resolved(mixed, url)).toEqual(['10.0.0.1']);
    const only = createEndpointGuard({ resolve: resolve(['169.254.169.254']) });
    expect(await resolved(only, url)).toBe(
      'hooks.internal resolves to 169.254.169.254, which is an address that runwatch never connects to (metadata)',
    );
  });
});
