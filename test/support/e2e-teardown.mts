import { rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { TEST_MAIN } from './built-main.ts';
import globalTeardown from './global-teardown.mts';

export default async function e2eTeardown(): Promise<void> {
  await globalTeardown();
  const folder = dirname(process.env[TEST_MAIN] ?? '');
  if (basename(folder).startsWith('one-file-')) await rm(folder, { recursive: true, force: true });
}
