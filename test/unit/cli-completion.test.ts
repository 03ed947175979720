import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
  return offeredOf(['name-of-$2'], ...words);
}

/** The same with a daemon that has these names, in which `$2` is what they are of. */
async function offeredOf(names: readonly string[], ...words: string[]): Promise<string[]> {
  // Bash gives words in pieces, which end at a colon and the like.
  const pieces = words.flatMap((word) =>
    word.split(/([:=@]+)/).filter((one, at) => at === 0 || one),
  );
  const program = `${await script('bash')}
COMP_WORDS=(runwatch ${pieces.map(quoted).join(' ')}) COMP_CWORD=${pieces.length}
COMP_LINE=${quoted(['runwatch', ...words].join(' '))} COMP_POINT=\${#COMP_LINE}
COMP_WORDBREAKS=$' \\t\\n"\\'@><=;|&(:'
runwatch() { sed "s/[$]2/$2/" ${quoted(join(directory, 'names'))}; }
_runwatch
printf '%s\\n' "\${COMPREPLY[@]}"`;
  writeFileSync(join(directory, 'names'), `${names.join('\n')}\n`);
  const text = execFileSync('bash', ['-c', program], { encoding: 'utf8' });
  return text.split('\n').filter((word) => word !== '');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
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
    expect.arrayContaining([...EVENT_TYPES, 'alert.firing', String.raw`run.\*`]),
  );
});

test('bash completes names that the daemon knows', async () => {
  expect(await offered('watch', '--endpoint', '')).toEqual(['name-of-endpoints']);
  expect(await offered('endpoints', 'test', 'name')).toEqual(['name-of-endpoints']);
  expect(await offered('list', '--source', '')).toEqual(['name-of-sources']);
  expect(await offered('show', 'name')).toEqual(['name-of-runs']);
  expect(await offered('ack', 'name')).toEqual(['name-of-runs']);
});

test('bash completes a flag with its value in one word', async () => {
  expect(await offered('list', '--state=a')).toEqual(['active']);
  expect(await offered('list', '--source=name')).toEqual(['name-of-sources']);
});

const WIDE = ['manual__2026-11-28T00:00:00+00:00', 'acme/shop/123', 'a=b=c', 'x@y:z'];

test.each([
  // Bash replaces what stands behind the last colon or equals sign, and an @ as well.
  ['man', 'manual__2026-11-28T00:00:00+00:00'],
  ['manual__2026-11-28T00:', '00:00+00:00'],
  ['manual__2026-11-28T00:00:0', '00+00:00'],
  ['acme/sh', 'acme/shop/123'],
  ['a=b', 'b=c'],
  ['x@', '@y:z'],
  ['x@y:', 'z'],
])('bash completes the id %s… by %s', async (typed, rest) => {
  expect(await offeredOf(WIDE, 'show', typed)).toEqual([rest]);
});

test('bash gets ids quoted, and runs nothing that they say', async () => {
  const ran = join(directory, 'ran');
  const names = [
    `$(touch\${IFS}${ran})`,
    `\`touch\${IFS}${ran}\``,
    `;>${ran}`,
    "o'brien",
    'a*',
    'b\\c',
  ];
  const replies = await offeredOf(names, 'show', '');
  const typedOn = execFileSync('bash', ['-c', `printf '%s\\n' ${replies.filter(isId).join(' ')}`]);
  expect(typedOn.toString().trimEnd().split('\n')).toEqual(names);
  expect(existsSync(ran)).toBe(false);
});

/** Flags come besides. */
function isId(reply: string): boolean {
  return !reply.startsWith('-');
}

test('bash completes an id behind what is escaped, or within quotes', async () => {
  const names = ["o'brien", 'run;1', '$x'];
  expect(await offeredOf(names, 'show', String.raw`o\'b`)).toEqual([String.raw`o\'brien`]);
  expect(await offeredOf(names, 'show', "'run;")).toEqual(['run;1']);
  expect((await offeredOf(names, 'show', '"')).filter(isId)).toEqual(['run;1']);
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
