import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { sampleDelivery, sampleWatch } from '../support/api-samples.ts';
import { runCli } from '../support/cli-harness.ts';
import { tempDir } from '../support/daemon-process.ts';
import { startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';
import { waitFor } from '../support/wait-for.ts';

const RUN = '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d';
const WORKFLOW = '51a70000-0000-4000-8000-000000000001';

const AT = '2025-05-04T09:00:00.000Z';

let daemon: FakeDaemon;
let folder: string;
let path: string | undefined;

beforeEach(async () => {
  daemon = await startFakeDaemon();
  const none = { status: 200, body: { data: [], next_cursor: null } };
  const workflow = {
    source: 'default',
    workflow_id: WORKFLOW,
    name: 'invoices',
    watched: 1,
    active: 0,
    by_status: {},
    failure_rate: null,
    duration: null,
    detection_delay: null,
    requests_per_run: null,
  };
  daemon.on('GET /v1/workflows', { status: 200, body: { since: AT, data: [workflow] } });
  daemon.on('GET /v1/watches', none);
  daemon.on(`GET /v1/watches/${RUN}`, { status: 200, body: sampleWatch({ run_id: RUN }) });
  daemon.on('GET /v1/deliveries/dlv_1', { status: 200, body: sampleDelivery({ id: 'dlv_1' }) });
  folder = await tempDir();
  path = process.env['PATH'];
});

afterEach(async () => {
  process.env['PATH'] = path;
  await daemon.close();
  await rm(folder, { recursive: true, force: true });
});

/** Puts programs on the path that note what they are asked to open. */
async function putOpeners(): Promise<string> {
  const opened = join(folder, 'opened');
  for (const name of ['xdg-open', 'open']) {
    await writeFile(join(folder, name), `#!/bin/sh\nprintf '%s\\n' "$#" "$@" > '${opened}'\n`);
    await chmod(join(folder, name), 0o755);
  }
  process.env['PATH'] = `${folder}:${path}`;
  return opened;
}

test.each<[string, string]>([
  ['list', '/runs'],
  [
    'list --status failed,stopped --workflow invoices',
    `/runs?status=failed%2Cstopped&workflow=${WORKFLOW}`,
  ],
  ['list --meta team=ml --meta order=4711', '/runs?q=team%3Dml+order%3D4711'],
  ['list --since 1h', '/runs?order=changed&since=2025-05-04T09%3A00%3A00.000Z'],
  ['deliveries --state dead --endpoint ops', '/deliveries?state=dead&endpoint=ops'],
  [`deliveries --run ${RUN}`, `/deliveries?run=${RUN}`],
  ['deliveries dlv_1', '/deliveries/dlv_1'],
  ['alerts --state firing', '/alerts?state=firing'],
  ['alerts show alr_4n2k9x', '/alerts/alr_4n2k9x'],
  [`show ${RUN}`, `/runs/default/${RUN}`],
  ['attention', '/'],
  ['workflows', '/workflows'],
  ['endpoints', '/endpoints'],
  ['sources', '/system'],
  ['polling', '/system'],
  ['audit --by ci', '/system/audit?by=ci'],
  ['batches --state open', '/batches?state=open'],
  ['list --batch nightly', '/runs?batch=nightly'],
])('%s --web opens its page of the dashboard, and prints the address', async (verb, page) => {
  const opened = await putOpeners();
  const env = { RUNWATCH_URL: daemon.url, DISPLAY: ':0' };
  const { stdout, stderr, exitCode } = await runCli([...verb.split(' '), '--web'], { env });
  expect([exitCode, stderr, stdout]).toEqual([0, '', `${daemon.url}${page}\n`]);
  const noted = async () => (await readFile(opened, 'utf8').catch(() => '')).endsWith(`${page}\n`);
  await waitFor(noted);
  expect(await readFile(opened, 'utf8')).toBe(`1\n${daemon.url}${page}\n`);
});

test('--web prints where the dashboard is though no program opens it', async () => {
  process.env['PATH'] = folder;
  const env = { RUNWATCH_URL: daemon.url, DISPLAY: ':0' };
  const { stdout, stderr, exitCode } = await runCli(['attention', '--web'], { env });
  expect([exitCode, stderr, stdout]).toEqual([0, '', `${daemon.url}/\n`]);
});

test('--web leads to where users find the dashboard, unless --url names another daemon', async () => {
  const env = {
    RUNWATCH_URL: daemon.url,
    RUNWATCH_PUBLIC_URL: 'https://ops.example.com/runwatch/',
  };
  const { stdout } = await runCli(['list', '--web'], { env });
  expect(stdout).toBe('https://ops.example.com/runwatch/runs\n');
  const other = await runCli(['list', '--web', '--url', daemon.url], { env });
  expect(other.stdout).toBe(`${daemon.url}/runs\n`);
});

test('--web and --json exclude one another', async () => {
  const env = { RUNWATCH_URL: daemon.url };
  const { stderr, exitCode } = await runCli(['list', '--web', '--json'], { env });
  expect(exitCode).toBe(2);
  expect(stderr).toContain("option '--web' cannot be used with option '--json'");
});
