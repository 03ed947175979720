import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { LocalInspection } from '../../src/cli/local/doctor.ts';
import { sampleSource } from '../support/api-samples.ts';
import { runCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

let daemon: FakeDaemon;

const PROCESS = {
  id: 'p1',
  name: 'web-1:7',
  version: '1.2.3',
  since: '2025-05-04T09:00:00.000Z',
  heartbeat: '2025-05-04T10:00:00.000Z',
  clock_skew_ms: 3,
};
const SERVER = { version: '7.2.4', policy: 'noeviction', persistence: 'append_only_file' };
const MEMORY = { used: 5e6, max: 1e9, live: 1, settled: 1, indexes: 1, days_left: null };

function readiness(...checks: [name: string, status: string, detail: string][]) {
  const failed = checks.some(([, status]) => status === 'failed');
  const body = {
    status: failed ? 'unready' : 'ready',
    checks: checks.map(([name, status, detail]) => ({ name, status, detail })),
  };
  return { status: failed ? 503 : 200, body };
}

beforeEach(async () => {
  daemon = await startFakeDaemon();
  daemon.on('GET /readyz', readiness(['redis', 'ok', 'takes writes']));
  daemon.on('GET /v1/processes', { status: 200, body: { data: [PROCESS] } });
  daemon.on('GET /v1/sources', { status: 200, body: { data: [] } });
  daemon.on('GET /v1/store', { status: 200, body: { server: SERVER, memory: MEMORY } });
});
afterEach(() => daemon.close());

const good = { name: 'configuration', status: 'ok' as const, detail: 'runwatch.yaml', cure: null };
const HERE: LocalInspection = {
  configuration: [good],
  isConfigured: true,
  inspectOutside: async () => [
    { name: 'redis', status: 'problem', detail: 'Redis does not answer', cure: 'start it' },
  ],
  inspectSources: async (names) =>
    names.map((name) => ({
      name: `source ${name}`,
      status: 'problem',
      detail: 'connect ECONNREFUSED',
      cure: 'see that its base_url is right and can be reached from here',
    })),
};

const doctor = (local: LocalInspection = HERE, ...args: string[]) =>
  runCli(['doctor', ...args], {
    env: { RUNWATCH_URL: daemon.url },
    local: { inspect: async () => local },
  });

test('doctor itself asks a source that never answered the daemon', async () => {
  const sources = [
    sampleSource({ state: 'unknown', last_answer_at: null }),
    sampleSource({ name: 'eu' }),
  ];
  daemon.on('GET /v1/sources', { status: 200, body: { data: sources } });
  const { stdout, exitCode } = await doctor();
  expect(exitCode).toBe(1);
  expect(stdout).toContain('✘ source default: connect ECONNREFUSED');
  expect(stdout).not.toContain('source eu');
});

test('doctor of a good installation says so, a line for each check, and exits 0', async () => {
  const { stdout, exitCode } = await doctor();
  expect(exitCode).toBe(0);
  expect(stdout.split('\n')).toEqual([
    '✔ configuration: runwatch.yaml',
    `✔ daemon: answers at ${daemon.url}`,
    '✔ token: none is needed',
    '✔ versions: 1 daemon of version 1.2.3, this command 1.2.3',
    '✔ clocks: agree with that of Redis',
    '✔ redis policy: version 7.2.4, maxmemory-policy noeviction',
    '✔ redis persistence: append-only file: a restart loses nothing',
    '✔ redis: takes writes',
    'All is well.',
    '',
  ]);
});

test('doctor names what is wrong with its cure, and exits 1', async () => {
  const server = { ...SERVER, policy: 'allkeys-lru', persistence: 'none' };
  daemon.on('GET /v1/store', { status: 200, body: { server, memory: { ...MEMORY, max: null } } });
  const skewed = { ...PROCESS, version: '1.2.2', clock_skew_ms: -90_000 };
  daemon.on('GET /v1/processes', { status: 200, body: { data: [PROCESS, skewed] } });
  daemon.on(
    'GET /readyz',
    readiness(['redis', 'failed', 'does not answer'], ['endpoints', 'degraded', 'ops is failing']),
  );
  const { stdout, exitCode } = await doctor();
  expect(exitCode).toBe(1);
  for (const part of [
    '✘ redis policy: version 7.2.4, maxmemory-policy allkeys-lru\n    → set maxmemory-policy noeviction',
    '⚠ redis persistence: nothing on disk: a restart loses everything\n    → set appendonly yes',
    '⚠ memory limit: ',
    '⚠ versions: 2 daemons of version 1.2.3 and 1.2.2',
    '⚠ clocks: the clock of web-1:7 is 1m 30s behind that of Redis',
    '✘ redis: does not answer\n    → ',
    '⚠ endpoints: ops is failing\n    → see `runwatch endpoints`',
    '2 problems, 5 warnings.',
  ]) {
    expect(stdout).toContain(part);
  }
});

test.each([
  ['a page', '<html>'],
  ['other JSON', { message: 'no server' }],
])('doctor names a proxy that answers for the daemon with %s', async (_what, body) => {
  daemon.on('GET /readyz', { status: 503, body });
  const { stdout, exitCode } = await doctor();
  expect(exitCode).toBe(1);
  expect(stdout).toContain(`✘ daemon: a proxy answers 503 for the daemon at ${daemon.url}\n`);
});

test('doctor without a daemon asks Redis and the sources itself', async () => {
  await daemon.close();
  const { stdout, exitCode } = await doctor();
  daemon = await startFakeDaemon();
  expect(exitCode).toBe(1);
  expect(stdout).toContain('✘ daemon: no daemon answers at');
  expect(stdout).toContain('→ start it with `runwatch serve`');
  expect(stdout).toContain('✘ redis: Redis does not answer\n    → start it');
});

test('doctor of a refused token says which to set, and --json says all of it', async () => {
  daemon.on('GET /v1/processes', problem(401, 'unauthorized', 'no'));
  const { stdout, exitCode } = await doctor(HERE, '--json');
  expect(exitCode).toBe(1);
  const report = JSON.parse(stdout) as { ok: boolean; checks: { name: string }[] };
  expect(report).toMatchObject({ ok: false, problems: 1, warnings: 0 });
  expect(report.checks.find(({ name }) => name === 'token')).toMatchObject({
    status: 'problem',
    cure: 'set RUNWATCH_API_TOKEN to a token of auth.tokens',
  });
});

test('doctor beside a daemon elsewhere needs no configuration here', async () => {
  const missing = { ...good, status: 'problem' as const, detail: 'expected a source' };
  const { stdout, exitCode } = await doctor({
    ...HERE,
    configuration: [missing],
    isConfigured: false,
  });
  expect(exitCode).toBe(0);
  expect(stdout).toContain('✔ configuration: none here; the daemon has its own');
});

const wrong = {
  name: 'configuration',
  status: 'problem' as const,
  detail: 'runwatch.yaml:3:5 sources.default.api_key: but NOXUS_API_KEY is not set',
  cure: null,
};

test('doctor beside a daemon notes what is wrong with the configuration of the shell, and exits 0', async () => {
  const warned = { ...wrong, status: 'warning' as const, detail: 'another' };
  const { stdout, exitCode } = await doctor({ ...HERE, configuration: [good, wrong, warned] });
  expect(exitCode).toBe(0);
  expect(stdout).toContain(
    "ℹ configuration: this shell's configuration was not judged, since the daemon has its own: " +
      `${wrong.detail}, and 1 more\n    → to judge the file of the service`,
  );
  for (const line of [
    /\n {6}systemd +sudo systemd-run .* \\\n/,
    /\n {6}compose +docker compose exec runwatch /,
    /\n {6}Kubernetes +kubectl exec /,
  ]) {
    expect(stdout).toMatch(line);
  }
  expect(stdout).toMatch(/\nAll is well\.\n$/);
});

test('doctor with --json beside a daemon has the configuration of the shell as a note', async () => {
  const { stdout, exitCode } = await doctor({ ...HERE, configuration: [wrong] }, '--json');
  expect(exitCode).toBe(0);
  const report = JSON.parse(stdout) as { checks: { name: string }[] };
  expect(report).toMatchObject({ ok: true, problems: 0, warnings: 0 });
  expect(report.checks.find(({ name }) => name === 'configuration')).toMatchObject({
    status: 'note',
  });
});

test('doctor judges the configuration that --config names, also beside a daemon', async () => {
  const local = { ...HERE, configuration: [wrong] };
  const { stdout, exitCode } = await doctor(local, '--config', 'new.yaml');
  expect(exitCode).toBe(1);
  expect(stdout).toContain(`✘ configuration: ${wrong.detail}\n`);
});

test('doctor without a daemon judges the configuration of the shell', async () => {
  await daemon.close();
  const { stdout, exitCode } = await doctor({ ...HERE, configuration: [wrong] });
  daemon = await startFakeDaemon();
  expect(exitCode).toBe(1);
  expect(stdout).toContain(`✘ configuration: ${wrong.detail}\n`);
});

test('the lines of doctor give the service of systemd the credentials that its unit has', async () => {
  const { stdout } = await doctor({ ...HERE, configuration: [wrong] });
  const unit = await readFile(
    new URL('../../deploy/systemd/runwatch.service', import.meta.url),
    'utf8',
  );
  const credentials = [...unit.matchAll(/^LoadCredential=(.+)$/gm)].map(([, one]) => one);
  const variables = [...unit.matchAll(/^Environment=(\w+_FILE)=%d\/(.+)$/gm)].map(
    ([, name, file]) => `${name}=/run/credentials/runwatch-check.service/${file}`,
  );
  expect(credentials.length).toBeGreaterThan(0);
  for (const one of credentials) expect(stdout).toContain(` -p LoadCredential=${one} \\\n`);
  for (const one of variables) expect(stdout).toContain(` --setenv=${one} \\\n`);
});

test('doctor of a token that may not read says which scope it lacks', async () => {
  daemon.on('GET /v1/store', problem(403, 'forbidden', 'the token may not read'));
  const { stdout, exitCode } = await doctor();
  expect(exitCode).toBe(1);
  expect(stdout).toContain('✘ token: ');
  expect(stdout).toContain('→ give the token the scope read (auth.tokens)');
});

test('doctor with a token says that it is taken', async () => {
  const { stdout } = await runCli(['doctor'], {
    env: { RUNWATCH_URL: daemon.url, RUNWATCH_API_TOKEN: 'a-token-of-16-chars' },
    local: { inspect: async () => HERE },
  });
  expect(stdout).toContain('✔ token: is taken');
});

test('doctor of an older daemon without /v1/store, and of a clock that is ahead', async () => {
  daemon.on('GET /v1/store', problem(404, 'not_found', 'no'));
  const ahead = { ...PROCESS, clock_skew_ms: 2_000 };
  daemon.on('GET /v1/processes', { status: 200, body: { data: [ahead] } });
  const { stdout, exitCode } = await doctor();
  expect(exitCode).toBe(0);
  expect(stdout).not.toContain('redis policy');
  expect(stdout).toContain('⚠ clocks: the clock of web-1:7 is 2.0s ahead of that of Redis');
  expect(stdout).toMatch(/\n1 warning\.\n$/);
});

test('doctor of snapshots only says what a restart loses', async () => {
  const server = { ...SERVER, persistence: 'snapshots' };
  daemon.on('GET /v1/store', { status: 200, body: { server, memory: MEMORY } });
  const { stdout, exitCode } = await doctor();
  expect(exitCode).toBe(0);
  expect(stdout).toContain(
    '⚠ redis persistence: snapshots only: a restart loses what came since the last\n    → set appendonly yes',
  );
});

test.each([
  ['sources', '→ see `runwatch sources`'],
  ['discovery', '→ see that the API key or headers of the source may list runs'],
])('doctor gives the cure of the check %s that is degraded', async (name, cure) => {
  daemon.on('GET /readyz', readiness([name, 'degraded', 'not well']));
  const { stdout } = await doctor();
  expect(stdout).toContain(`⚠ ${name}: not well\n    ${cure}`);
});

test('doctor shows a check of a newer daemon that says what to do itself', async () => {
  daemon.on('GET /readyz', readiness(['moon', 'odd', 'is full; wait']));
  const { stdout, exitCode } = await doctor();
  expect(exitCode).toBe(0);
  expect(stdout).toContain('⚠ moon: is full; wait\n1 warning.');
});
