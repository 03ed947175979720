import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { inspectInstallation } from '../../src/cli/local/doctor.ts';
import { RunwatchError } from '../../src/core/errors.ts';
import type { KindOf } from '../../src/source/kinds.ts';
import { bareSource } from '../support/bare-source.ts';
import { CERT_FOR_LOCALHOST, TEST_CA, TEST_KEY } from '../support/certificates.ts';
import { startConnectProxy } from '../support/connect-proxy.ts';

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
});
const releasers: (() => unknown)[] = [];

afterEach(async () => {
  for (const release of releasers.splice(0).toReversed()) await release();
  await rm(dir, { recursive: true, force: true });
});

const SERVER = { version: '7.2.4', policy: 'noeviction', persistence: 'append_only_file' } as const;

interface World {
  env?: Record<string, string>;
  /** Of what kind sources are; as the configuration says, unless given. */
  kindOf?: KindOf;
  redis?: typeof SERVER | Error | null;
  ownServer?: string | null;
}

/** What doctor finds with a configuration file of this text. */
async function inspect(yaml: string, world: World = {}) {
  const path = join(dir, 'runwatch.yaml');
  await writeFile(path, yaml);
  const { env, kindOf, redis = SERVER, ownServer = 'redis-server 7.2.4' } = world;
  const local = {
    userAgent: 'runwatch/1.2.3',
    findOwnServer: async () => ownServer,
    probeRedis: async () => given(redis),
  };
  return inspectInstallation(local, path, {
    env: { HOME: dir, ...env },
    ...(kindOf !== undefined && { kindOf }),
  });
}

function given<T>(value: T | Error): T {
  if (value instanceof Error) throw value;
  return value;
}

const GOOD = 'sources: { default: { base_url: "https://noxus.example.com", api_key: k } }\n';
const WITH_REDIS = `${GOOD}redis: { url: "redis://127.0.0.1:6379" }\n`;

async function outside(yaml: string, world: World = {}) {
  const { inspectOutside } = await inspect(yaml, world);
  return inspectOutside();
}

describe('configuration, as doctor sees it', () => {
  test('doctor names the file of a good configuration', async () => {
    const { configuration, isConfigured } = await inspect(GOOD);
    expect(isConfigured).toBe(true);
    expect(configuration).toEqual([
      { name: 'configuration', status: 'ok', detail: join(dir, 'runwatch.yaml'), cure: null },
    ]);
  });

  test('doctor names each mistake of a configuration with its line, and asks nothing outside', async () => {
    const { configuration, isConfigured, inspectOutside } = await inspect(
      `${GOOD}polling: { concurency: 4 }\nserver: { port: 99999 }\n`,
    );
    expect(isConfigured).toBe(true);
    expect(configuration.map(({ status }) => status)).toEqual(['problem', 'problem']);
    const details = configuration.map(({ detail }) => detail).join('\n');
    expect(details).toMatch(/runwatch\.yaml:2.*concurency/);
    expect(details).toMatch(/runwatch\.yaml:3.*port/);
    expect(await inspectOutside()).toEqual([]);
  });

  test('doctor warns of what is valid and cannot work', async () => {
    const { configuration } = await inspect(GOOD.replace('https:', 'http:'), {
      env: { RUNWATCH_PROT: '1' },
    });
    const warnings = configuration.filter(({ status }) => status === 'warning');
    expect(warnings.map(({ detail }) => detail)).toEqual([
      expect.stringContaining('RUNWATCH_PROT'),
      expect.stringContaining('plain http'),
    ]);
  });

  test('doctor takes a machine without any source for one without a configuration', async () => {
    const found = await inspect('');
    expect(found.isConfigured).toBe(false);
    expect(found.configuration).toMatchObject([
      { status: 'problem', detail: expect.stringContaining('set NOXUS_API_KEY') },
    ]);
  });
});

describe('Redis, as doctor sees it without a daemon', () => {
  const redisOf = async (yaml: string, world: World) =>
    (await outside(yaml, world)).filter(({ name }) => name.startsWith('redis'));

  test('doctor names the server that the daemon would run as its own Redis', async () => {
    expect(await redisOf(GOOD, {})).toEqual([
      {
        name: 'redis',
        status: 'ok',
        detail: 'the daemon runs its own: redis-server 7.2.4',
        cure: null,
      },
    ]);
  });

  test('doctor says which package to install where no server is', async () => {
    expect(await redisOf(GOOD, { ownServer: null })).toMatchObject([
      { status: 'problem', cure: expect.stringContaining('install redis-server (apt)') },
    ]);
  });

  test('doctor asks a configured Redis how it keeps data', async () => {
    const checks = await redisOf(WITH_REDIS, { redis: { ...SERVER } });
    expect(checks.map(({ name, status }) => [name, status])).toEqual([
      ['redis', 'ok'],
      ['redis policy', 'ok'],
      ['redis persistence', 'ok'],
    ]);
  });

  test('doctor takes a configured Redis that says nothing of itself for a good one', async () => {
    expect(await redisOf(WITH_REDIS, { redis: null })).toMatchObject([{ detail: 'answers' }]);
  });

  test('doctor names a configured Redis that does not answer, with its cure', async () => {
    const redis = new RunwatchError('Redis does not answer', { code: 'redis_unavailable' });
    expect(await redisOf(WITH_REDIS, { redis })).toEqual([
      {
        name: 'redis',
        status: 'problem',
        detail: 'Redis does not answer',
        cure: 'see that it runs, and that REDIS_URL names it',
      },
    ]);
  });
});

describe('sources, as doctor sees them without a daemon', () => {
  /** A Noxus on loopback over TLS, with a certificate of an authority that nobody trusts. @returns its URL */
  async function noxus(handler: RequestListener): Promise<string> {
    const server = https.createServer({ key: TEST_KEY, cert: CERT_FOR_LOCALHOST }, handler);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    releasers.push(async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    });
    return `https://localhost:${(server.address() as AddressInfo).port}`;
  }

  /** Answers by the path that is asked for. */
  const answering =
    (answers: Record<string, readonly [status: number, body: object]>): RequestListener =>
    ({ url = '' }, response) => {
      const path = Object.keys(answers).find((one) => url.startsWith(one)) ?? '';
      const [status, body] = answers[path] ?? [500, {}];
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };

  const NO_RUNS = {
    '/v1/runs?': [200, { items: [], total: 0, page: 1, size: 1, pages: 0 }],
  } as const;

  async function sourceOf(settings: object, world: World = {}) {
    const ca = join(dir, 'ca.pem');
    await writeFile(ca, TEST_CA);
    const source = { api_key: 'k', ca_file: ca, ...settings };
    const checks = await outside(JSON.stringify({ sources: { default: source } }), world);
    return checks.find(({ name }) => name === 'source default');
  }

  const GOOD_SOURCE = { name: 'source default', status: 'ok', detail: 'answers', cure: null };

  test('doctor asks a source as a daemon would: by its ca_file and through its proxy', async () => {
    const proxy = await startConnectProxy();
    releasers.push(() => proxy.close());
    const base_url = await noxus(answering(NO_RUNS));
    const through = `http://127.0.0.1:${proxy.port}`;
    expect(await sourceOf({ base_url, proxy: through })).toEqual(GOOD_SOURCE);
    expect(proxy.tunnels).toHaveLength(1);
    expect(await sourceOf({ base_url, ca_file: undefined })).toMatchObject({
      status: 'problem',
      detail: expect.stringContaining('certificate'),
    });
  });

  test('doctor reads a run that no source has where the key may not list runs', async () => {
    const base_url = await noxus(
      answering({
        '/v1/runs?': [403, { detail: 'no right to list runs' }],
        '/v1/runs/': [404, { detail: 'Run not found' }],
      }),
    );
    expect(await sourceOf({ base_url })).toEqual(GOOD_SOURCE);
  });

  test('doctor says that a refused API key is to be replaced', async () => {
    const base_url = await noxus(answering({ '/v1/runs': [401, { detail: 'Invalid API key' }] }));
    expect(await sourceOf({ base_url })).toEqual({
      name: 'source default',
      status: 'problem',
      detail: expect.stringContaining('401'),
      cure: 'give it a key of this workspace (NOXUS_API_KEY, or sources.*.api_key)',
    });
  });

  test('doctor names a source that does not answer, with its cure', async () => {
    expect(await sourceOf({ base_url: 'https://127.0.0.1:9' })).toEqual({
      name: 'source default',
      status: 'problem',
      detail: expect.stringContaining('refuses connections'),
      cure: 'see that its base_url is right and can be reached from here',
    });
  });

  test('doctor names a source that cannot be opened', async () => {
    const { kindOf: bare } = bareSource();
    const kindOf: KindOf = (...args) => ({
      ...bare(...args),
      open() {
        throw new RunwatchError('no HTTP header can carry it', { code: 'invalid_source' });
      },
    });
    expect(await sourceOf({}, { kindOf })).toMatchObject({
      status: 'problem',
      detail: 'no HTTP header can carry it',
    });
  });

  test('doctor asks nothing of a source that only a run shows to answer', async () => {
    const { kindOf, reads } = bareSource();
    expect(await sourceOf({}, { kindOf })).toMatchObject({
      status: 'ok',
      detail: expect.stringMatching(/^not asked: .*`runwatch try <run-id> --source default`$/),
    });
    expect(reads).toEqual([]);
  });

  const declared = (base_url: string, more = '') =>
    `sources: { api: { type: http, base_url: "${base_url}", headers: { x-key: a-secret-key }, ` +
    `run: { get: '/runs/{run}', id: $.id, status: $.status }, states: { completed: [done] }, ca_file: "${join(dir, 'ca.pem')}"${more} } }\n`;

  async function checkOf(yaml: string) {
    await writeFile(join(dir, 'ca.pem'), TEST_CA);
    return (await outside(yaml)).find(({ name }) => name === 'source api');
  }

  test('doctor asks the probe of a declared source, and takes JSON for an answer', async () => {
    const base_url = await noxus(answering({ '/status': [200, { ok: true }] }));
    expect(await checkOf(declared(base_url, ', probe: /status'))).toEqual({
      ...GOOD_SOURCE,
      name: 'source api',
    });
  });

  test('doctor says of a source without a probe how a run shows whether it answers', async () => {
    expect(await checkOf(declared('https://api.example'))).toMatchObject({
      status: 'ok',
      detail: expect.stringContaining('`runwatch try <run-id> --source api`'),
    });
  });

  test('doctor names headers that are refused, and a base_url that answers with pages', async () => {
    const refusing = await noxus(answering({ '/status': [401, { error: 'no' }] }));
    expect(await checkOf(declared(refusing, ', probe: /status'))).toMatchObject({
      status: 'problem',
      cure: 'give it headers that its API accepts (sources.*.headers)',
    });
    const pages = await noxus((_, response) => {
      response.writeHead(200, { 'content-type': 'text/html' });
      response.end('<html></html>');
    });
    expect(await checkOf(declared(pages, ', probe: /status'))).toMatchObject({
      status: 'problem',
      detail: 'the body is HTML, not JSON',
      cure: expect.stringContaining('its base_url is that of its API, not of its pages'),
    });
  });

  test('doctor warns of a declared source whose runs never complete', async () => {
    const { configuration } = await inspect(
      declared('https://api.example').replace('completed:', 'running:'),
    );
    const details = configuration.map(({ detail }) => detail).join('\n');
    expect(details).toMatch(/sources\.api\.states: no word of the source means completed/);
  });
});
