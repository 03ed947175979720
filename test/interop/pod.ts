import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startReceiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startPrivateRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';
import { findHelm, manifestsOf, podOf, render, type PodSpec } from './chart.ts';
import { buildImage, type Image } from './image.ts';
import { findOnPath } from './metrics.ts';
import type { CaseResult, Part } from './part.ts';
import { SOURCES } from './places.ts';
import { endWithParts } from './tools.ts';

const TOKEN = 'token-of-the-pod-0123456789';
const SECRET = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;

/** Users that a cluster runs the pod as. */
const USERS = [
  { title: 'as the user of the image', uid: 1_000, gid: 1_000 },
  { title: 'as a user that OpenShift chooses', uid: 1_000_650_000, gid: 0 },
];

/**
 * The image of the Dockerfile as a pod of the chart, without a container runtime. Its files, arguments,
 * variables, volumes and user are those of the manifest. Its root is read-only, its program is process 1.
 */
export function podPart(): Part {
  return {
    title: 'the image of the Dockerfile as a pod of the chart',
    missing: missing(),
    async play() {
      const folder = await mkdtemp(join(tmpdir(), 'runwatch-pod-'));
      try {
        const image = await buildImage(folder);
        const results: CaseResult[] = [];
        for (const user of USERS) results.push(await playPod(image, folder, user));
        return results;
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

function missing(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'only root of Linux can';
  if (findHelm() === null) return 'there is no helm';
  const tools = ['unshare', 'setpriv', 'redis-server'].filter((one) => findOnPath(one) === null);
  return tools.length === 0 ? null : `there is no ${tools.join(', ')}`;
}

type User = (typeof USERS)[number];

async function playPod(image: Image, folder: string, user: User): Promise<CaseResult> {
  const redis = await startPrivateRedis({ tcp: true, aof: true });
  const noxus = await startSimulator();
  const receiver = await startReceiver({ secrets: [SECRET] });
  try {
    const chart = await render([
      `config.sources.default.base_url=${noxus.url}`,
      'config.endpoints.hooks.type=webhook',
      `config.endpoints.hooks.url=${receiver.url}`,
      `config.endpoints.hooks.secret=${SECRET}`,
      'config.polling.max_interval=1s',
    ]);
    const secrets = {
      'redis-url': redis.url,
      'noxus-api-key': noxus.apiKey,
      'api-token': TOKEN,
      'encryption-key': Buffer.alloc(32, 3).toString('hex'),
      'signing-secret': SECRET,
    };
    const pod = await startPod({ image, folder, user, chart, secrets });
    const problem = await live(pod, noxus, () => receiver.received.length).catch(
      (error: Error) => error.message,
    );
    const left = await pod.stop();
    const title = `the pod ${user.title} is ready, delivers the end of a run, and drains on SIGTERM`;
    const said = problem ?? left;
    return { title, problem: said === null ? null : `${said}\n${pod.output()}` };
  } finally {
    await Promise.all([receiver.close(), noxus.close(), redis.stop()]);
  }
}

interface Pod {
  url(): string;
  /** What is wrong with the rights of process 1. */
  rights(): Promise<string | null>;
  /** Ends it as a node does. @returns what was wrong */
  stop(): Promise<string | null>;
  output(): string;
}

interface PodOptions {
  image: Image;
  folder: string;
  user: User;
  /** The rendered chart. */
  chart: string;
  /** Texts by key. */
  secrets: Record<string, string>;
}

async function startPod(options: PodOptions): Promise<Pod> {
  const { image, folder, user, chart } = options;
  const spec = podOf(chart);
  const [container] = spec.containers;
  const args = [...image.entrypoint, ...(container?.args ?? [])];
  const ids = [user.uid, user.gid].map(String);
  const mounts = [
    await aFolder(folder),
    join(image.root, image.workdir),
    ...(await mountsOf(options)),
  ];
  const program = [...environmentOf(image, spec), ...args];
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child'];
  const child = spawn(
    'unshare',
    [...namespaces, 'sh', join(SOURCES, 'pod.sh'), ...mounts, ...ids, ...program],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  endWithParts(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (piece: Buffer) => (output += piece.toString()));
  }
  const exited = once(child, 'exit');
  const first = async () =>
    (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')).trim();
  return {
    url: () => /"url":"([^"]+)"/.exec(output)?.[1] ?? '',
    rights: async () => wrongRights(await readFile(`/proc/${await first()}/status`, 'utf8'), user),
    output: () => output,
    async stop() {
      if (child.exitCode === null) process.kill(Number(await first()), 'SIGTERM');
      const over = setTimeout(
        () => child.kill('SIGKILL'),
        spec.terminationGracePeriodSeconds * 1e3,
      );
      const [code] = (await exited) as [number | null];
      clearTimeout(over);
      return code === 0 ? null : `exit ${code}`;
    },
  };
}

const aFolder = (folder: string) => mkdtemp(join(folder, 'mount-'));

/** The variables of image and pod. Where it listens is left to the test. */
function environmentOf(image: Image, { containers: [container] }: PodSpec): string[] {
  const own = (container?.env ?? []).map(({ name, value }) => `${name}=${value}`);
  return [...image.env, ...own, 'RUNWATCH_HOST=127.0.0.1', 'RUNWATCH_PORT=0'];
}

/** The volumes of configuration and secrets: links, as the kubelet makes them. */
async function mountsOf({ folder, user, chart, secrets }: PodOptions): Promise<string[]> {
  const config = manifestsOf(chart).find(({ kind }) => kind === 'ConfigMap')?.data ?? {};
  const volumes = await Promise.all([
    volume(await aFolder(folder), config, { mode: 0o644, gid: 0 }),
    volume(await aFolder(folder), secrets, { mode: 0o440, gid: user.gid }),
  ]);
  return volumes;
}

async function volume(
  folder: string,
  files: Record<string, string>,
  { mode, gid }: { mode: number; gid: number },
): Promise<string> {
  const version = '..2026_01_01';
  await chmod(folder, 0o755);
  await mkdir(join(folder, version));
  await symlink(version, join(folder, '..data'));
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, version, name);
    await writeFile(path, text);
    await chmod(path, mode);
    await chown(path, 0, gid);
    await symlink(join('..data', name), join(folder, name));
  }
  return folder;
}

function wrongRights(status: string, { uid }: User): string | null {
  const wanted = [`Uid:\t${uid}\t${uid}`, 'CapEff:\t0000000000000000', 'NoNewPrivs:\t1'];
  const lacks = wanted.filter((line) => !status.includes(line));
  const isFirst = /^NSpid:.*\t1$/m.test(status);
  return lacks.length === 0 && isFirst ? null : `it lacks ${lacks.join(', ')}\n${status}`;
}

/** Asks the probes, and has one run watched to its end. @returns what went wrong */
async function live(pod: Pod, noxus: Simulator, delivered: () => number): Promise<string | null> {
  const ask = (path: string, init?: RequestInit) => fetch(`${pod.url()}${path}`, init);
  const isOk = async (path: string) => (await ask(path).catch(() => null))?.status === 200;
  await waitFor(async () => (await isOk('/livez')) && isOk('/readyz'), { timeoutMs: 30_000 });
  const wrong = await pod.rights();
  if (wrong !== null) return wrong;
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'completed' }] });
  const { status } = await ask('/v1/watches', {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ run_id: id }),
  });
  if (status !== 201) return `the registration gets ${status}`;
  await waitFor(() => delivered() === 1, { timeoutMs: 20_000 });
  return null;
}
