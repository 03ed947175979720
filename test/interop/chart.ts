import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { findOnPath } from './metrics.ts';
import type { CaseResult, Part } from './part.ts';
import { FOLDER } from './places.ts';
import { mustRun, pythonWith, run, type Tools } from './tools.ts';

const CHART = fileURLToPath(new URL('../../deploy/helm/runwatch', import.meta.url));

/** The oldest that the chart takes, and the newest that has schemas. */
const KUBERNETES = ['1.25', '1.31', '1.37'];

/** Values that change what the chart renders. */
const VARIANTS = {
  'as it is': [],
  'with an autoscaler': ['autoscaling.enabled=true'],
  'with an ingress': ['ingress.enabled=true', 'ingress.tlsSecret=tls', 'ingress.path=/runwatch'],
  'with the operator of Prometheus': [
    'serviceMonitor.enabled=true',
    'serviceMonitor.tokenKey=api-token',
    'prometheusRule.enabled=true',
  ],
  'with nothing that can be left out': [
    'networkPolicy.enabled=false',
    'podDisruptionBudget.enabled=false',
    'serviceAccount.create=false',
    'topologySpread=false',
    'preStopSeconds=0',
  ],
  'with an image by its digest': [`image.digest=sha256:${'0'.repeat(64)}`],
  'on OpenShift': ['runAsUser', 'runAsGroup', 'fsGroup'].map(
    (key) => `podSecurityContext.${key}=null`,
  ),
  'with IPv6': ['listenOn=::', 'service.ipFamilyPolicy=PreferDualStack'],
  'with a cluster of Redis': [
    'secretFiles.REDIS_URL=null',
    'secretFiles.REDIS_PASSWORD=redis-password',
    'config.redis.cluster[0]=redis:6379',
  ],
  'with further volumes and labels': [
    'extraVolumes[0].name=ca',
    'extraVolumes[0].secret.secretName=ca',
    'extraVolumeMounts[0].name=ca',
    'extraVolumeMounts[0].mountPath=/ca',
    'podLabels.team=ml',
    'podAnnotations.note=text',
    'nodeSelector.disk=ssd',
    'tolerations[0].operator=Exists',
  ],
};

/** Values that the chart refuses, and what it says. */
const REFUSED = [
  { set: 'replicaCunt=3', says: /replicaCunt/ },
  { set: 'config.endpoint.ops.type=log', says: /endpoint/ },
  { set: 'service.port=http', says: /port/ },
  { set: 'existingSecret=', says: /set existingSecret/ },
  { set: 'config.server.shutdown_timeout=soon', says: /a duration such as 20s, not soon/ },
  { set: 'terminationGracePeriodSeconds=20', says: /is 20, and a stop may take 30/ },
];

/** An object that the chart rendered. */
export interface Manifest {
  kind: string;
  data?: Record<string, string>;
  spec: { template: { spec: PodSpec } };
}

/** What of a pod is checked or played. */
export interface PodSpec {
  automountServiceAccountToken: boolean;
  terminationGracePeriodSeconds: number;
  securityContext: { runAsNonRoot: boolean; runAsUser?: number; seccompProfile: { type: string } };
  containers: {
    args: string[];
    env: { name: string; value: string }[];
    securityContext: {
      allowPrivilegeEscalation: boolean;
      readOnlyRootFilesystem: boolean;
      capabilities: { drop: string[]; add?: string[] };
    };
  }[];
}

/** The chart, by helm and the schemas of Kubernetes. */
export function chartPart({ python }: Tools): Part {
  const helm = findHelm();
  const reason =
    helm === null ? 'there is no helm (go install helm.sh/helm/v3/cmd/helm@v3.22.0)' : null;
  return {
    title: 'helm and the schemas of Kubernetes on deploy/helm',
    missing: python === null ? 'there is no Python 3.11 with venv' : reason,
    async play() {
      const bin = await pythonWith(python ?? '', 'kubernetes');
      const validator = join(bin, 'kubernetes-validate');
      const versions = KUBERNETES.map((version) => playVersion(version, validator));
      return [await lint(), ...(await Promise.all([...versions, ...REFUSED.map(playRefused)]))];
    },
  };
}

/** The program, also where `go install` has put it; null where there is none. */
export function findHelm(): string | null {
  const path = join(homedir(), 'go/bin/helm');
  return findOnPath('helm') ?? (existsSync(path) ? path : null);
}

/** The objects of the chart as text. @throws Error with what helm says */
export async function render(values: string[], version = '1.31'): Promise<string> {
  return mustRun(findHelm() ?? 'helm', argsOf('template', values, version));
}

function argsOf(verb: string, values: string[], version: string): string[] {
  const set = ['existingSecret=runwatch', ...values].flatMap((value) => ['--set', value]);
  // Without a version, a helm that `go install` made takes the cluster for an old one.
  return [...(verb === 'lint' ? ['lint', '--strict'] : ['template', 'runwatch']), CHART]
    .concat(['--kube-version', `${version}.0`])
    .concat(set);
}

async function lint(): Promise<CaseResult> {
  const { code, stdout, stderr } = await run(findHelm() ?? 'helm', argsOf('lint', [], '1.31'));
  return { title: 'helm lint has nothing to say', problem: code === 0 ? null : stdout + stderr };
}

/** All variants at once: to start the validator takes longer than to judge. */
async function playVersion(version: string, validator: string): Promise<CaseResult> {
  const folder = join(FOLDER, 'chart', version);
  await mkdir(folder, { recursive: true });
  const problems: string[] = [];
  const files: string[] = [];
  for (const [name, values] of Object.entries(VARIANTS)) {
    const text = await render(values, version);
    const file = join(folder, `${name.replaceAll(' ', '-')}.yaml`);
    await writeFile(file, text);
    files.push(file);
    problems.push(...unrestricted(podOf(text)).map((problem) => `${name}: ${problem}`));
  }
  const judged = await run(validator, [
    '-k',
    version,
    '--strict',
    '--no-warn',
    '--quiet',
    ...files,
  ]);
  if (judged.code !== 0) problems.push(judged.stdout + judged.stderr);
  const title = `the chart fits Kubernetes ${version} and is restricted, in ${files.length} variants`;
  return { title, problem: problems.length === 0 ? null : problems.join('\n') };
}

async function playRefused({ set, says }: (typeof REFUSED)[number]): Promise<CaseResult> {
  const problem = await render([set]).then(
    () => 'it is taken',
    (error: Error) => (says.test(error.message) ? null : error.message),
  );
  return { title: `the chart refuses ${set}`, problem };
}

/** The objects of a rendered chart. */
export function manifestsOf(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

/** The pod of the Deployment. */
export function podOf(text: string): PodSpec {
  const deployment = manifestsOf(text).find(({ kind }) => kind === 'Deployment');
  if (deployment === undefined) throw new Error('there is no Deployment');
  return deployment.spec.template.spec;
}

/** What a pod lacks of the level "restricted" of the Pod Security Standards, and of a read-only root. */
function unrestricted(pod: PodSpec): string[] {
  const [container] = pod.containers;
  const { securityContext } = pod;
  const rights = container?.securityContext;
  const wanted: [string, boolean | undefined][] = [
    ['runAsNonRoot', securityContext.runAsNonRoot],
    ['seccompProfile RuntimeDefault', securityContext.seccompProfile.type === 'RuntimeDefault'],
    ['a user other than root', securityContext.runAsUser !== 0],
    ['allowPrivilegeEscalation false', rights?.allowPrivilegeEscalation === false],
    ['capabilities drop ALL', rights?.capabilities.drop.includes('ALL')],
    ['no capability', rights?.capabilities.add === undefined],
    ['readOnlyRootFilesystem', rights?.readOnlyRootFilesystem],
    ['no token of the service account', !pod.automountServiceAccountToken],
  ];
  return wanted.filter(([, isGiven]) => isGiven !== true).map(([what]) => `the pod lacks ${what}`);
}
