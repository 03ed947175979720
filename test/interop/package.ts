import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cleanEnv } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';
import type { CaseResult, Part } from './part.ts';
import { endWithParts, mustRun, run } from './tools.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The package as users get it: installed from its tarball, with what npm resolves today. */
export function packagePart(): Part {
  return {
    title: 'npm install of the tarball in an empty folder',
    missing: null,
    async play() {
      const folder = await mkdtemp(join(tmpdir(), 'runwatch-package-'));
      try {
        return await installed(folder);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

async function installed(folder: string): Promise<CaseResult[]> {
  const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
  const packed = await mustRun('npm', pack, { cwd: ROOT });
  const [tarball] = JSON.parse(packed) as { filename: string }[];
  const home = join(folder, 'home');
  await mustRun('mkdir', [home]);
  await writeFile(join(home, 'package.json'), '{ "name": "home", "version": "1.0.0" }');
  const install = ['install', '--no-audit', '--no-fund', `../${tarball?.filename}`];
  const { code, stderr } = await run('npm', install, { cwd: home });
  // npm 11 warns of every package with a script; none of them has to run.
  const isQuiet = code === 0 && !/npm warn (?!install-scripts)/.test(stderr);
  return [
    { title: 'installs without a warning', problem: isQuiet ? null : `exit ${code}\n${stderr}` },
    await sbom(home),
    await demo(home),
  ];
}

async function sbom(cwd: string): Promise<CaseResult> {
  const title = 'has a list of what it is made of (npm sbom)';
  const { code, stdout, stderr } = await run('npm', ['sbom', '--sbom-format', 'spdx'], { cwd });
  const isList = code === 0 && stdout.includes('"name": "runwatchd"');
  return { title, problem: isList ? null : `exit ${code}\n${stderr}` };
}

async function demo(cwd: string): Promise<CaseResult> {
  const child = spawn(join(cwd, 'node_modules/.bin/runwatch'), ['demo'], {
    cwd,
    env: cleanEnv({ TMPDIR: cwd }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endWithParts(child);
  const exited = once(child, 'exit');
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (piece: Buffer) => (said += piece.toString()));
  }
  const title = 'the installed demo comes to life';
  const isAlive = await waitFor(() => said.includes('✔'), { timeoutMs: 60_000 }).catch(() => false);
  child.kill('SIGINT');
  await exited;
  return { title, problem: isAlive ? null : said };
}
