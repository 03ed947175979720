import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findOnPath } from './metrics.ts';
import type { CaseResult, Part } from './part.ts';
import { run } from './tools.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CHART = join(ROOT, 'deploy/helm/runwatch');

interface Check {
  title: string;
  args: string[];
}

/** A helm that `go install` made takes the cluster for an old one. */
const KUBERNETES = ['--kube-version', '1.31.0'];

/** What is in `deploy/`, by the tools that will read it. */
export function deployParts(): Part[] {
  const secret = [...KUBERNETES, '--set', 'existingSecret=runwatch'];
  const all = ['serviceMonitor', 'prometheusRule', 'ingress'].flatMap((one) => [
    '--set',
    `${one}.enabled=true`,
  ]);
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
    partOf('helm', 'go install helm.sh/helm/v3/cmd/helm@v3.22.0', [
      { title: 'the chart is a chart', args: ['lint', CHART, ...secret] },
      { title: 'the chart renders', args: ['template', 'runwatch', CHART, ...secret] },
      {
        title: 'the chart renders with everything',
        args: ['template', 'x', CHART, ...secret, ...all],
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
  const command = findOnPath(tool) ?? ofGo(tool);
  return {
    title: `${tool} on deploy/`,
    missing: command === null ? `there is no ${tool} (${from})` : null,
    play: () => Promise.all(checks.map((check) => play(command ?? '', check))),
  };
}

/** A program that `go install` has put into its usual folder; null where there is none. */
function ofGo(tool: string): string | null {
  const path = join(homedir(), 'go/bin', tool);
  return existsSync(path) ? path : null;
}

async function play(command: string, { title, args }: Check): Promise<CaseResult> {
  const { code, stdout, stderr } = await run(command, args, { cwd: ROOT });
  return { title, problem: code === 0 ? null : `exit ${code}\n${stdout}${stderr}` };
}
