import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { RunReaderSettings } from '../../src/cli/local/run-reader.ts';
import { inspectInstallation } from '../../src/cli/local/doctor.ts';
import { RunwatchError } from '../../src/core/errors.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const SERVER = { version: '7.2.4', policy: 'noeviction', persistence: 'append_only_file' } as const;
const NOT_FOUND: PollResult = { kind: 'not_found', message: 'no such run' } as PollResult;

interface World {
  env?: Record<string, string>;
  /** What each source answers to a read. */
  answer?: PollResult | Error;
  redis?: typeof SERVER | Error | null;
  ownServer?: string | null;
}

/** What doctor finds with a configuration file of this text. */
async function inspect(yaml: string, world: World = {}) {
  const path = join(dir, 'runwatch.yaml');
  await writeFile(path, yaml);
  const readers: RunReaderSettings[] = [];
  const { answer = NOT_FOUND, redis = SERVER, ownServer = 'redis-server 7.2.4' } = world;
  const local = {
    userAgent: 'runwatch/1.2.3',
    findOwnServer: async () => ownServer,
    probeRedis: async () => given(redis),
    createRunReader: async (settings: RunReaderSettings) => {
      readers.push(settings);
      return { readRun: async () => given(answer), close: () => undefined };
    },
  };
  const found = await inspectInstallation(local, path, { HOME: dir, ...world.env });
  return { ...found, readers };
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
  const sourceOf = async (answer: World['answer']) => {
    const checks = await outside(GOOD, { ...(answer !== undefined && { answer }) });
    return checks.find(({ name }) => name === 'source default');
  };

  test('doctor asks each source for a run that none has', async () => {
    const { inspectOutside, readers } = await inspect(GOOD);
    await inspectOutside();
    expect(readers).toMatchObject([{ baseUrl: 'https://noxus.example.com', apiKey: 'k' }]);
    expect(await sourceOf(NOT_FOUND)).toMatchObject({ status: 'ok', detail: 'answers' });
  });

  test('doctor says that a refused API key is to be replaced', async () => {
    const refused = { kind: 'unauthorized', message: 'status 401' } as PollResult;
    expect(await sourceOf(refused)).toEqual({
      name: 'source default',
      status: 'problem',
      detail: 'status 401',
      cure: 'give it a key of this workspace (NOXUS_API_KEY, or sources.*.api_key)',
    });
  });

  const SILENT: PollResult = { kind: 'unavailable', message: 'refuses connections' };

  test.each([
    ['does not answer', SILENT],
    ['breaks off', new Error('refuses connections')],
  ])('doctor names a source that %s, with its cure', async (_how, answer) => {
    expect(await sourceOf(answer)).toEqual({
      name: 'source default',
      status: 'problem',
      detail: 'refuses connections',
      cure: 'see that its base_url is right and can be reached from here',
    });
  });
});
