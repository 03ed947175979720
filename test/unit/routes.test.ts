import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ROUTES } from '../support/routes.ts';

const SECURITY = readFileSync(join(import.meta.dirname, '../../docs/security.md'), 'utf8');

test('docs/security.md names each route that needs the scope admin, and no other', () => {
  const named = [...SECURITY.matchAll(/`((?:GET|POST|DELETE) \/v1\/[^`]+)`/g)].map(
    ([, route = '']) => route,
  );
  const expected = ROUTES.filter(({ scope, orAdmin }) => scope === 'admin' || orAdmin === true);
  expect(named.sort()).toEqual(expected.map(({ route }) => route).sort());
});
