import { readFile } from 'node:fs/promises';
import { expect, test } from '@jest/globals';
import { format, resolveConfig } from 'prettier';
import { referencePages } from '../../scripts/docs.ts';

test('the generated pages in docs are what `npm run docs` writes', async () => {
  for (const [path, text] of Object.entries(await referencePages())) {
    const written = await format(text, { ...(await resolveConfig(path)), filepath: path });
    expect([path, await readFile(path, 'utf8')]).toEqual([path, written]);
  }
});
