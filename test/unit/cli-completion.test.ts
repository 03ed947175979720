import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { EVENT_TYPES } from '../../src/core/event/event.ts';
import { runCli } from '../support/cli-harness.ts';

const directory = mkdtempSync(join(tmpdir(), 'runwatch-completion-'));
afterAll(() => rmSync(directory, { recursive: true }));

const script = async (shell: string) => (await runCli(['completion', shell])).stdout;

/** What bash offers for a line while its last word is being typed. */
async function offered(...words: string[]): Promise<string[]> {
  const line = words.map((word) => `'${word}'`).join(' ');
  const program = `${await script('bash')}
COMP_WORDS=(runwatch ${line}) COMP_CWORD=${words.length}
runwatch() { echo "name-of-$2"; }
_runwatch
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const text = execFileSync('bash', ['-c', program], { encoding: 'utf8' });
  return text.split('\n').filter((word) => word !== '');
}

test('bash completes verbs, and the verbs of a verb', async () => {
  expect(await offered('wa')).toEqual(['watch', 'wait']);
  expect(await offered('endpoints', 'r')).toEqual(['resume', 'retry', 'rotate']);
});

test('bash completes flags of the verb, and values of a flag', async () => {
  expect(await offered('list', '--sta')).toEqual(['--state', '--status']);
  expect(await offered('list', '--state', 'a')).toEqual(['active']);
  expect(await offered('deliveries', '--state', 'd')).toEqual(['delivered', 'dead']);
  expect(await offered('events', '--type', '')).toEqual(
    expect.arrayContaining([...EVENT_TYPES, 'alert.firing', 'run.*', 'system.*']),
  );
});

test('bash completes names that the daemon knows', async () => {
  expect(await offered('watch', '--endpoint', '')).toEqual(['name-of-endpoints']);
  expect(await offered('endpoints', 'test', 'name')).toEqual(['name-of-endpoints']);
  expect(await offered('list', '--source', '')).toEqual(['name-of-sources']);
  expect(await offered('show', 'name')).toEqual(['name-of-runs']);
});

test.each(['zsh', 'fish'])('%s gets a script that it can read, with every verb', async (shell) => {
  const text = await script(shell);
  for (const verb of ['watch', 'unwatch', 'completion']) expect(text).toContain(verb);
  expect(text).not.toContain('complete <kind>');
  // Where the shell is not installed, nothing can be said.
  const path = join(directory, shell);
  writeFileSync(path, text);
  const checked = spawnSync(shell, ['-n', path], { encoding: 'utf8' });
  if (checked.error === undefined) expect([checked.status, checked.stderr]).toEqual([0, '']);
});

test('completion of another shell is a usage error', async () => {
  expect((await runCli(['completion', 'tcsh'])).exitCode).toBe(2);
});
