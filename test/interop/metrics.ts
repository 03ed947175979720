import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { CaseResult, Part } from './part.ts';
import { TOKEN, type Stage } from './stage.ts';

/** Prometheus's own judgement of `/metrics`. */
export function metricsPart({ daemon }: Stage): Part {
  const promtool = findOnPath('promtool');
  return {
    title: 'promtool on /metrics',
    missing: promtool === null ? 'there is no promtool (package prometheus)' : null,
    async play() {
      const response = await fetch(`${daemon.url}/metrics`, {
        headers: { authorization: `Bearer ${TOKEN}` },
      });
      return [await check(promtool ?? '', await response.text())];
    },
  };
}

async function check(promtool: string, metrics: string): Promise<CaseResult> {
  const child = spawn(promtool, ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stdout.on('data', (piece: Buffer) => (said += piece.toString()));
  child.stderr.on('data', (piece: Buffer) => (said += piece.toString()));
  child.stdin.end(metrics);
  const code = await new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  const problem = code === 0 && said.trim() === '' ? null : `exit ${code}\n${said}`;
  return { title: 'the metrics are what Prometheus wants', problem };
}

/** Where a program is; null where it is not. */
export function findOnPath(name: string): string | null {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      continue;
    }
  }
  return null;
}
