import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cleanEnv } from '../support/daemon-process.ts';
import type { Output } from './part.ts';
import { FOLDER, SOURCES } from './places.ts';

/** Longest that any one program may take, ms. */
const LIMIT_MS = 180_000;

const programs = new Set<ChildProcess>();

/** Notes a program that is to be ended with the parts, whatever becomes of its own. */
export function endWithParts(child: ChildProcess): void {
  programs.add(child);
  child.once('close', () => programs.delete(child));
}

/** Ends the programs that still run. */
export function killPrograms(): void {
  for (const program of programs) program.kill('SIGKILL');
}

interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  limitMs?: number;
}

/** Runs a program to its end; one that takes too long is killed. */
export async function run(
  command: string,
  args: string[],
  { cwd = SOURCES, env = {}, limitMs = LIMIT_MS }: RunOptions = {},
): Promise<Output> {
  const child = spawn(command, args, {
    cwd,
    env: cleanEnv(env),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limitMs,
    killSignal: 'SIGKILL',
  });
  endWithParts(child);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (piece: Buffer) => (stdout += piece.toString()));
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()));
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, stdout, stderr: error.message }));
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** {@link run} for what has to work. @throws Error with what it wrote */
export async function mustRun(
  command: string,
  args: string[],
  options: RunOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`);
}

/** The languages of this machine; null where one is missing. */
export interface Tools {
  python: string | null;
  go: string | null;
}

export async function findTools(): Promise<Tools> {
  const python = await run('python3', [
    '-c',
    'import venv, sys; assert sys.version_info >= (3, 11)',
  ]);
  const { stdout: go } = await run('go', ['version']);
  const [, minor = 0] = /\bgo1\.(\d+)/.exec(go) ?? [];
  return { python: python.code === 0 ? 'python3' : null, go: Number(minor) >= 26 ? 'go' : null };
}

const environments = new Map<string, Promise<string>>();

/**
 * Makes a virtual environment with the packages of a list, unless it is there already.
 * @returns the folder of its programs
 */
export async function pythonWith(
  python: string,
  list: 'sdk' | 'tools' | 'kubernetes',
): Promise<string> {
  const known = environments.get(list) ?? install(python, list);
  environments.set(list, known);
  return known;
}

async function install(python: string, list: string): Promise<string> {
  const wanted = await readFile(join(SOURCES, 'python', `requirements-${list}.txt`), 'utf8');
  const folder = join(FOLDER, `python-${list}`);
  const bin = join(folder, 'bin');
  const stamp = join(folder, 'installed.txt');
  if (existsSync(stamp) && (await readFile(stamp, 'utf8')) === wanted) return bin;
  await mustRun(python, ['-m', 'venv', '--clear', folder]);
  const file = join(SOURCES, 'python', `requirements-${list}.txt`);
  const options = [
    '--quiet',
    '--no-compile',
    '--no-deps',
    '--disable-pip-version-check',
    '--only-binary',
    ':all:',
  ];
  await mustRun(join(bin, 'pip'), ['install', ...options, '-r', file]);
  await writeFile(stamp, wanted);
  return bin;
}
