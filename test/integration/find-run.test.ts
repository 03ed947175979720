import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { configSchema } from '../../src/config/schema.ts';
import type { SourceTraits } from '../../src/core/source/traits.ts';
import { createServer, listen } from '../../src/http/server.ts';
import { Services } from '../../src/http/services.ts';
import { createTokens } from '../../src/http/tokens.ts';
import { lookupAnswer } from '../../src/http/schemas/lookup.ts';
import { NOXUS_TRAITS } from '../../src/noxus/traits.ts';
import { newWatch, NOON } from '../support/builders.ts';
import { runCli } from '../support/cli-harness.ts';
import { testDaemon } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';

/* A run by what people type or paste: through the command line, the server and Redis. */

const UUID = '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d';
const OTHER_UUID = 'aa000000-5b1e-4a55-9d3c-0c5f0a1b2c3d';

const RUNS = [
  ['default', UUID],
  ['eu', 'run-1'],
  ['eu', 'shared'],
  ['us', 'shared'],
  ['ci', 'acme/shop/123'],
] as const;

/** A source with other ids than Noxus, and pages that only its template knows. */
const CI_TRAITS: SourceTraits = {
  ...NOXUS_TRAITS,
  label: 'ci',
  idProblem: (id) => (id.split('/').length === 3 ? null : 'expected owner/repository/run'),
  idInUrl: () => null,
};

/** A source that takes any id but those of Noxus. */
const ANY_TRAITS: SourceTraits = {
  ...CI_TRAITS,
  label: 'any',
  idProblem: (id) => (/^[\w.-]+$/.test(id) ? 'expected a colon, a slash or the like' : null),
  canonicalId: (id) => id,
};

const TRAITS: Record<string, SourceTraits> = { ci: CI_TRAITS, any: ANY_TRAITS };

const token = (name: string, rest: object) => ({
  name,
  token: `${name}-token-of-16-letters`,
  scopes: ['read' as const, 'write' as const],
  sources: ['*'],
  ...rest,
});

const config = configSchema.parse({
  data_dir: '/nowhere',
  server: { public_url: 'https://watch.example/at/' },
  sources: {
    default: { api_key: 'a', base_url: 'https://backend.noxus.example' },
    eu: { api_key: 'b', base_url: 'https://eu.example', run_url: 'https://app.example/{run_id}' },
    us: { api_key: 'c', base_url: 'https://us.example', run_url: 'https://app.example/{run_id}' },
    ci: {
      api_key: 'd',
      base_url: 'https://api.ci.example',
      run_url: 'https://ci.example/{run_id}',
    },
    any: { api_key: 'e', base_url: 'https://any.example' },
  },
  workflows: {
    invoices: { run_url: 'https://invoices.example/{workflow_id}?run={run_id}' },
    'us/payroll': { run_url: 'https://payroll.example/{run_id}' },
  },
});
const stores = openStores(undefined, { isClockManual: true });
const daemon = testDaemon({
  config,
  stores,
  now: () => NOON,
  tokens: createTokens([
    token('all', {}),
    token('one', { sources: ['us'] }),
    token('blind', { scopes: ['write'] }),
  ]),
  connections: { state: () => ({ kind: 'ok' }) },
  poller: { sourceOf: () => undefined },
  traitsOf: (name) => (name in config.sources ? (TRAITS[name] ?? NOXUS_TRAITS) : null),
});
Object.assign(daemon.poller, { process: daemon });
Object.assign(daemon.deliverer, { process: daemon });
const server = createServer(daemon, new Services(daemon), new AbortController().signal);
const directory = mkdtempSync(join(tmpdir(), 'runwatch-find-'));
let url: string;

beforeAll(async () => {
  await stores.redis.set(stores.keys.clock, NOON);
  for (const [source, runId] of RUNS) {
    const after = newWatch({ source, runId, subscriptions: [] });
    await stores.watches.commit({ before: null, after, events: [], deliveries: [] });
  }
  url = await listen(server, { host: '127.0.0.1', port: 0 });
});

afterAll(async () => {
  rmSync(directory, { recursive: true });
  await server.close();
  await stores.close();
});

async function lookup(query: string, name = 'all') {
  const headers = { authorization: `Bearer ${name}-token-of-16-letters` };
  const response = await fetch(`${url}/v1/lookup?${query}`, { headers });
  expect(response.status).toBe(200);
  return lookupAnswer.strict().parse(await response.json());
}

const found = async (q: string, name?: string) =>
  (await lookup(`q=${encodeURIComponent(q)}`, name)).data.map(
    ({ id, source }) => `${source} ${id}`,
  );

const cli = (...args: string[]) => as('all', ...args);

const as = (name: string, ...args: string[]) =>
  runCli(args, {
    env: { RUNWATCH_URL: url, RUNWATCH_API_TOKEN: `${name}-token-of-16-letters` },
    now: () => NOON,
  });

test.each([
  ['https://app.example/run-1?tab=logs', 'eu run-1'],
  ['https://ci.example/acme/shop/123/', 'ci acme/shop/123'],
  ['https://ci.example/acme%2Fshop%2F124', 'ci acme/shop/124'],
  [`https://backend.noxus.example/v1/runs/${UUID}`, `default ${UUID}`],
  [` {https://app.noxus.ai/acme/${UUID.toUpperCase()}} `, `default ${UUID}`],
  ['https://watch.example/at/runs/us/shared', 'us shared'],
  ['https://watch.example/at/runs/ci/acme%2Fshop%2F123', 'ci acme/shop/123'],
])('lookup of the URL %j answers the run %s', async (q, run) => {
  expect(await found(q)).toEqual([run]);
});

test('lookup takes the dashboard at its own address for a place of runs, too', async () => {
  expect(await found(`${url}/runs/eu/run-7`)).toEqual(['eu run-7']);
});

test('lookup takes no name of a source in the dashboard for the id of a run', async () => {
  for (const root of ['https://watch.example/at', url]) {
    expect(await found(`${root}/runs/unheard-of/${UUID}`)).toEqual([]);
    expect(await found(`${root}/runs/eu/run-1`, 'one')).toEqual([]);
  }
});

test('lookup of a URL takes a host that is none for no place of runs', async () => {
  const path = '/v1/lookup?q=https://app.example/run-1';
  const headers = { host: 'a b', authorization: 'Bearer all-token-of-16-letters' };
  const [answer] = (await once(get(`${url}${path}`, { headers }), 'response')) as [IncomingMessage];
  answer.resume();
  expect(answer.statusCode).toBe(200);
});

test('lookup of a URL prefers runs that are watched, and names each source where several have it', async () => {
  expect(await found('https://app.example/run-1')).toEqual(['eu run-1']);
  expect(await found('https://app.example/shared')).toEqual(['eu shared', 'us shared']);
  expect(await found('https://app.example/new')).toEqual(['eu new', 'us new']);
  expect(await found('https://invoices.example/invoices?run=run-1')).toEqual(['eu run-1']);
  // Without a watch, only the source that the entry of a workflow names.
  expect(await found('https://payroll.example/run-1')).toEqual(['us run-1']);
});

test('lookup of a URL of no run says which sources it tried', async () => {
  const nothing = { data: [], more: false, tried: ['default', 'eu', 'us', 'ci', 'any'] };
  expect(await lookup('q=https://ci.example/acme/shop')).toEqual(nothing);
  expect(await lookup('q=https://app.example/')).toEqual(nothing);
  expect(await lookup('kind=event&q=https://app.example/run-1')).toMatchObject({ data: [] });
});

test('lookup takes a beginning or last part as q, in braces or not', async () => {
  expect(await found('{6F1C9A52}')).toEqual([`default ${UUID}`]);
  expect(await found('123')).toEqual(['ci acme/shop/123']);
  expect((await lookup('q=6f1c')).tried.toSorted()).toEqual(['ci', 'default', 'eu', 'us']);
});

test('lookup for a token of some sources says nothing of other ones', async () => {
  expect(await lookup('q=https://app.example/run-1', 'one')).toEqual({
    data: [{ kind: 'run', id: 'run-1', source: 'us' }],
    more: false,
    tried: ['us'],
  });
  expect(await lookup('q=https://watch.example/at/runs/eu/run-1', 'one')).toMatchObject({
    tried: ['us'],
  });
});

test('show takes the URL of a run and asks the source that it is of', async () => {
  const { stdout, stderr, exitCode } = await cli('show', 'https://app.example/run-1', '--json');
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  expect(JSON.parse(stdout)).toMatchObject({ run_id: 'run-1', source: 'eu' });
});

test('show of a URL that several sources may have names them, and takes --source', async () => {
  const shared = 'https://app.example/shared';
  const { stderr, exitCode } = await cli('show', shared);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('of several sources: name one by --source (eu, us)');
  const { stdout } = await cli('show', shared, '--source', 'us', '--json');
  expect(JSON.parse(stdout)).toMatchObject({ run_id: 'shared', source: 'us' });
});

test('show of a URL that no source knows names the sources that were tried', async () => {
  const { stderr, exitCode } = await cli('show', 'https://ci.example/builds');
  expect(exitCode).toBe(1);
  expect(stderr).toBe(
    'error: no source has a run with the URL https://ci.example/builds (tried default, eu, us, ci, any)\n',
  );
});

test('a token that may not read hears that the daemon does not say which run has a URL', async () => {
  const { stderr, exitCode } = await as('blind', 'unwatch', 'https://app.example/run-1');
  expect(exitCode).toBe(1);
  expect(stderr).toContain('token without the scope read: give the id of the run');
});

test('events of the URL of a run are those of this run', async () => {
  const { exitCode, stderr } = await cli('events', '--run', 'https://app.example/run-1');
  expect({ exitCode, stderr }).toEqual({
    exitCode: 0,
    stderr: expect.stringContaining('No event'),
  });
});

test('unwatch takes URLs from a file, and ends the watch of their source', async () => {
  for (const [source, runId] of [
    ['us', 'file-1'],
    ['us', 'file-2'],
    ['eu', 'file-2'],
  ] as const) {
    const after = newWatch({ source, runId, subscriptions: [] });
    await stores.watches.commit({ before: null, after, events: [], deliveries: [] });
  }
  const file = join(directory, 'urls.txt');
  const lines = [
    'https://app.example/file-1 # by template',
    'https://watch.example/at/runs/us/file-2',
  ];
  writeFileSync(file, lines.join('\n'));
  const { stdout, stderr, exitCode } = await cli('unwatch', '--file', file);
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  expect(stdout).toBe('no longer watched file-1\nno longer watched file-2\n');
  const states = await Promise.all(
    [['us', 'file-1'] as const, ['us', 'file-2'] as const, ['eu', 'file-2'] as const].map(
      async ([source, runId]) => (await stores.watches.get({ source, runId }))?.watch.state,
    ),
  );
  expect(states).toEqual(['cancelled', 'cancelled', 'active']);
});

test('show of a run that is not watched, by its URL, says so of its id and source', async () => {
  const { stderr, exitCode } = await cli(
    'show',
    `https://backend.noxus.example/runs/${OTHER_UUID}`,
  );
  expect({ stderr, exitCode }).toEqual({
    stderr: `error: run ${OTHER_UUID} of source default is not watched\n`,
    exitCode: 1,
  });
});

const WIDE_IDS = [
  'acme/shop/124',
  'manual__2026-11-28T00:00:00+00:00',
  'arn:aws:states:eu-west-1:123456789012:execution:orders:run~1',
  `a,b;c#d%20e"f'g\`h(i)[j]<k>=m@n|\\`,
  `${'x/'.repeat(127)}y`,
];

async function watchWide(): Promise<void> {
  for (const runId of WIDE_IDS) {
    const after = newWatch({ source: 'any', runId, subscriptions: [] });
    await stores.watches.commit({ before: null, after, events: [], deliveries: [] });
  }
}

test.each(WIDE_IDS)('verbs that take a run take the id %s as it is', async (id) => {
  await watchWide();
  const { stdout, stderr, exitCode } = await cli('show', id, '--json');
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  expect(JSON.parse(stdout)).toMatchObject({ run_id: id, source: 'any' });
  for (const verb of ['events', 'deliveries']) {
    expect(await cli(verb, '--run', id, '--json')).toMatchObject({ exitCode: 0, stderr: '' });
  }
  expect(await cli('ack', id, '--by', 'ana')).toMatchObject({
    stdout: `acknowledged run ${id}\n`,
    exitCode: 0,
  });
});

test('unwatch takes ids of any form from standard input, each with a comment behind white space', async () => {
  await watchWide();
  const stdin = WIDE_IDS.map((id) => `${id} # a comment\n`).join('');
  const env = { RUNWATCH_URL: url, RUNWATCH_API_TOKEN: 'all-token-of-16-letters' };
  const { stdout, stderr } = await runCli(['unwatch', '-'], { env, stdin });
  expect(stderr).toBe('');
  expect(stdout.trimEnd().split('\n').toSorted()).toEqual(
    WIDE_IDS.map((id) => `no longer watched ${id}`).toSorted(),
  );
});

test('show takes the whole last part of an id, and names the runs that share one', async () => {
  await watchWide();
  const { stdout, stderr } = await cli('show', '123', '--json');
  expect(stderr).toBe('123 is run acme/shop/123\n');
  expect(JSON.parse(stdout)).toMatchObject({ run_id: 'acme/shop/123', source: 'ci' });
  const several = await cli('show', 'acme/shop/12');
  expect(several.exitCode).toBe(2);
  expect(several.stderr).toContain('  - acme/shop/124\n  - acme/shop/123\n');
});

test('show of an id that no source takes says the form that each expects', async () => {
  const { stderr, exitCode } = await cli('show', 'no/id', '--source', 'ci');
  expect(exitCode).toBe(2);
  expect(stderr).toContain('expected owner/repository/run');
});

test('lookup finds the run of a source that is configured no more by its page of the dashboard', async () => {
  const after = newWatch({ source: 'former', runId: 'run-1', subscriptions: [] });
  await stores.watches.commit({ before: null, after, events: [], deliveries: [] });
  const page = 'https://watch.example/at/runs/former/run-1';
  expect(await found(page)).toEqual(['former run-1']);
  expect(await found(page, 'one')).toEqual([]);
});
