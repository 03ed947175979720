import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cleanEnv, startDaemonProcess, stopAll } from '../support/daemon-process.ts';
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
    await serve(home),
    await demo(home),
  ];
}

async function sbom(cwd: string): Promise<CaseResult> {
  const title = 'has a list of what it is made of (npm sbom)';
  const { code, stdout, stderr } = await run('npm', ['sbom', '--sbom-format', 'cyclonedx'], {
    cwd,
  });
  const isList = code === 0 && /"name": "runwatchd"[^]*"name": "zod"/.test(stdout);
  return { title, problem: isList ? null : `exit ${code}\n${stderr}` };
}

async function serve(cwd: string): Promise<CaseResult> {
  const title = 'the installed daemon answers, with the version of its package';
  const home = join(cwd, 'node_modules/runwatchd');
  const { version } = JSON.parse(await readFile(join(home, 'package.json'), 'utf8')) as {
    version: string;
  };
  const daemon = await startDaemonProcess({
    main: join(home, 'dist/main.js'),
    env: { NOXUS_API_KEY: 'key', NOXUS_BACKEND_URL: 'http://127.0.0.1:9' },
  });
  try {
    const { body } = await daemon.api<{ info: { version: string } }>('/openapi.json');
    const problem = `it says ${JSON.stringify(body.info)}, and the package ${version}`;
    return { title, problem: body.info.version === version ? null : problem };
  } finally {
    await stopAll([daemon]);
  }
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
