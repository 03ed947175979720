import { expect, test } from '@jest/globals';
import { differences } from '../../scripts/goldens.ts';

test('what users and programs see is as recorded; `npm run goldens` records a wanted change', async () => {
  expect((await differences()).join('\n')).toBe('');
});
