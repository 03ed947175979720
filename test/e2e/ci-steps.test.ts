import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { SHIPPED_MAIN } from '../support/built-main.ts';
import { cleanEnv, tempDir } from '../support/daemon-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let noxus: Simulator;
let folder: string;

/** Puts an npm on PATH that installs this build in place of the packed package. */
beforeAll(async () => {
  noxus = await startSimulator();
  folder = await tempDir();
  const npm = join(folder, 'npm');
  const script = `#!/bin/sh\n[ "$*" = "install --global ./runwatchd-1.2.3.tgz" ] || exit 99\nln -sf "${SHIPPED_MAIN}" "${folder}/runwatch"\n`;
  await writeFile(npm, script);
  await chmod(npm, 0o755);
  await writeFile(join(folder, 'runwatchd-1.2.3.tgz'), '');
});

afterAll(async () => {
  await noxus.close();
  await rm(folder, { recursive: true, force: true });
});

/** The commands of a step as the documentation prints it. */
async function stepOf(system: string): Promise<string> {
  const page = await readFile(join(ROOT, 'docs/deploy.md'), 'utf8');
  const [, block = ''] = new RegExp(`\`\`\`yaml\\n# ${system}\\n(.*?)\`\`\``, 's').exec(page) ?? [];
  const step = parse(block) as [{ run: string }] | { wait: { script: string[] } };
  return Array.isArray(step) ? step[0].run : step.wait.script.join('\n');
}

async function exitOf(command: string, env: Record<string, string>) {
  const child = spawn('sh', ['-ec', command], {
    cwd: folder,
    env: cleanEnv({
      CI: 'true',
      PATH: `${folder}${delimiter}${process.env['PATH']}`,
      NOXUS_BACKEND_URL: noxus.url,
      NOXUS_API_KEY: noxus.apiKey,
      ...env,
    }),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stderr };
}

test.each([
  ['GitHub Actions', 'completed', 0],
  ['GitHub Actions', 'failed', 1],
  ['GitLab CI', 'awaiting_human_feedback', 4],
])('the step for %s in the documentation ends for a run that is %s with %p', async (...one) => {
  const [system, status, expected] = one;
  const { id } = noxus.add({
    steps: [
      { after_ms: 0, status: 'running' },
      { after_ms: 300, status },
    ],
  });
  const { code, stderr } = await exitOf(await stepOf(system), { RUN_ID: id });
  expect([code, stderr]).toEqual([expected, stderr]);
});
