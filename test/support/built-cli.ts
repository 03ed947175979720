import { spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { MAIN } from './built-main.ts';
import { cleanEnv } from './daemon-process.ts';

/** The output and exit of a process of the built command line. */
export interface CliOutput {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

/**
 * Runs the built command line as its own process, with empty standard input.
 * @param as in which folder, as which user, by which entry point, and whether anybody reads its standard output
 */
export async function runBuiltCli(
  args: string[],
  env: Record<string, string> = {},
  {
    main = MAIN,
    isUnread = false,
    ...as
  }: Pick<SpawnOptions, 'cwd' | 'uid' | 'gid'> & { main?: string; isUnread?: boolean } = {},
): Promise<CliOutput> {
  const child = spawn(process.execPath, [main, ...args], {
    ...as,
    env: cleanEnv(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text));
  }
  if (isUnread) child.stdout.destroy();
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return { exitCode, ...output };
}
