import { spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { cleanEnv } from './daemon-process.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** The output and exit of a process of the built command line. */
export interface CliOutput {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

/**
 * Runs the built command line as its own process, with empty standard input.
 * @param as in which folder, as which user, and by which entry point
 */
export async function runBuiltCli(
  args: string[],
  env: Record<string, string> = {},
  { main = MAIN, ...as }: Pick<SpawnOptions, 'cwd' | 'uid' | 'gid'> & { main?: string } = {},
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
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return { exitCode, ...output };
}
