import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { NEEDED } from '../../src/redis/server-check.ts';

const SOURCES = fileURLToPath(new URL('../../src/redis', import.meta.url));
const BULLMQ = join(dirname(createRequire(import.meta.url).resolve('bullmq')), '../esm/scripts');

/** The scripts of BullMQ that a queue and a worker run. */
const USED =
  /^(addStandardJob|moveToActive|moveToFinished|moveStalledJobsToWait|extendLocks?|releaseLock|retryJob|getCounts|removeJob|pause)-/;

function textsIn(folder: string, isWanted: (name: string) => boolean): string[] {
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter(isWanted)
    .map((name) => readFileSync(join(folder, name), 'utf8'));
}

function commandsIn(texts: string[], call: RegExp): string[] {
  const found = texts.flatMap((text) => [...text.matchAll(call)].map(([, name = '']) => name));
  return [...new Set(found.map((name) => name.toLowerCase()))];
}

test('the start tries the rights for every command that scripts run', () => {
  const tried = new Set(NEEDED.map(([name]) => name));
  const ours = commandsIn(
    textsIn(SOURCES, (name) => name.endsWith('.ts')),
    /redis\.p?call\('([a-zA-Z]+)'/g,
  );
  const theirs = commandsIn(
    textsIn(BULLMQ, (name) => USED.test(name) && name.endsWith('.js')),
    /rcall\(["']([a-zA-Z]+)["']/g,
  );
  expect(ours.length).toBeGreaterThan(20);
  expect(theirs.length).toBeGreaterThan(20);
  expect([...ours, ...theirs].filter((name) => !tried.has(name))).toEqual([]);
});
