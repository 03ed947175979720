import { fileURLToPath } from 'node:url';
import { findOnPath } from './metrics.ts';
import type { CaseResult, Part } from './part.ts';
import { run } from './tools.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

interface Check {
  title: string;
  args: string[];
}

/** The alert rules and the files of Compose, by the tools that will read them. */
export function deployParts(): Part[] {
  return [
    partOf('promtool', 'package prometheus', [
      {
        title: 'the alert rules are rules',
        args: ['check', 'rules', 'deploy/prometheus/rules.yaml'],
      },
      {
        title: 'the alert rules fire',
        args: ['test', 'rules', 'deploy/prometheus/rules.test.yaml'],
      },
    ]),
    partOf('docker-compose', 'package docker-compose', [
      { title: 'the compose file is one', args: ['-f', 'docker-compose.yml', 'config', '-q'] },
      {
        title: 'the compose file with monitoring is one',
        args: '-f docker-compose.yml -f deploy/docker-compose.monitoring.yml config -q'.split(' '),
      },
    ]),
  ];
}

function partOf(tool: string, from: string, checks: Check[]): Part {
  const command = findOnPath(tool);
  return {
    title: `${tool} on deploy/`,
    missing: command === null ? `there is no ${tool} (${from})` : null,
    play: () => Promise.all(checks.map((check) => play(command ?? '', check))),
  };
}

async function play(command: string, { title, args }: Check): Promise<CaseResult> {
  const { code, stdout, stderr } = await run(command, args, { cwd: ROOT });
  return { title, problem: code === 0 ? null : `exit ${code}\n${stdout}${stderr}` };
}
