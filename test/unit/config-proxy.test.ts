import { expect, test } from '@jest/globals';
import { proxyFor } from '../../src/config/proxy.ts';

const proxyOf = (url: string, env: Record<string, string>) =>
  proxyFor(url, (name) => env[name])?.proxy ?? null;

const PROXY = { HTTPS_PROXY: 'http://proxy:3128' };

test.each([
  ['https://noxus.example', { HTTPS_PROXY: 'http://proxy:3128' }, 'http://proxy:3128'],
  ['https://noxus.example', { https_proxy: 'proxy:3128' }, 'http://proxy:3128'],
  ['https://noxus.example', { HTTPS_PROXY: ' ' }, null],
  ['http://noxus.example', PROXY, null],
  ['https://localhost:8443', PROXY, null],
  ['https://[::1]', PROXY, null],
  ['https://noxus.example', {}, null],
])('the proxy of the environment for %s with %j is %s', (url, env, proxy) => {
  expect(proxyOf(url, env)).toBe(proxy);
});

test.each([
  ['*', 'https://noxus.example', true],
  ['noxus.example', 'https://noxus.example', true],
  ['NOXUS.example , other', 'https://noxus.example', true],
  ['.example', 'https://noxus.example', true],
  ['*.example', 'https://noxus.example', true],
  ['example', 'https://noxus.example', true],
  ['oxus.example', 'https://noxus.example', false],
  ['noxus.example:443', 'https://noxus.example', true],
  ['noxus.example:8443', 'https://noxus.example', false],
  ['10.0.0.0/8', 'https://10.1.2.3', true],
  ['10.0.0.0/8', 'https://11.1.2.3', false],
  ['10.1.2.3', 'https://10.1.2.3:8443', true],
  ['fd00::/8', 'https://[fd00::1]', true],
  ['10.0.0.0/8', 'https://[fd00::1]', false],
  ['', 'https://noxus.example', false],
])('NO_PROXY=%s excepts %s: %p', (exceptions, url, isExcepted) => {
  expect(proxyOf(url, { ...PROXY, NO_PROXY: exceptions }) === null).toBe(isExcepted);
});
