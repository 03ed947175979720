import { execFileSync } from 'node:child_process';
import { expect, test } from '@jest/globals';
import { matchPath } from '../../src/ui/app/match-path.ts';
import { shellWord } from '../../src/ui/parts/format.ts';

const IDS = [
  '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d',
  'acme/shop/123',
  'manual__2026-11-28T00:00:00+00:00',
  'arn:aws:states:eu-west-1:123:execution:orders:run~1',
  `50%;o'brien"$(x)\`y\`#&?<>|!*\\`,
];

test.each(IDS)('the page of the run %s has an address that gives the id back', (id) => {
  const path = `/runs/ci/${encodeURIComponent(id)}`;
  expect(matchPath('/runs/:source/:id+', path)).toEqual({ source: 'ci', id });
  expect(matchPath('/runs/:id', `/runs/${encodeURIComponent(id)}`)).toEqual({ id });
});

test('the page of a run is found behind a proxy that decodes slashes', () => {
  const shape = '/runs/:source/:id+';
  expect(matchPath(shape, '/runs/gh/acme/shop/123')).toEqual({ source: 'gh', id: 'acme/shop/123' });
  expect(matchPath('/runs/:id', '/runs/gh/acme/shop/123')).toBeNull();
});

test.each(['/runs/ci/%zz', '/runs/ci', '/runs/ci/', '/alerts/ci/1'])(
  'the address %s is of no run of a source',
  (path) => {
    expect(matchPath('/runs/:source/:id+', path)).toBeNull();
  },
);

test.each(IDS)('a command that is copied has the id %s as one word', (id) => {
  const text = execFileSync('bash', ['-c', `printf %s ${shellWord(id)}`], { encoding: 'utf8' });
  expect(text).toBe(id);
});
