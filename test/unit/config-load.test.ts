import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { loadConfig, type LoadedConfig } from '../../src/config/load.ts';
import type { ConfigFlags } from '../../src/config/overrides.ts';
import { formatProblem } from '../../src/config/problems.ts';
import { redactConfig } from '../../src/config/redact.ts';
import type { Config } from '../../src/config/schema.ts';

const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
const OTHER_SECRET = `whsec_${Buffer.alloc(32, 2).toString('base64')}`;
const KEY = Buffer.alloc(32, 3);

let cwd: string;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'runwatch-config-'));
});

afterEach(() => rmSync(cwd, { recursive: true }));

function write(name: string, text: string): void {
  mkdirSync(dirname(join(cwd, name)), { recursive: true });
  writeFileSync(join(cwd, name), text);
}

interface Given {
  env?: NodeJS.ProcessEnv;
  flags?: ConfigFlags;
  configPath?: string;
  purpose?: 'serve' | 'command';
}

function attempt({ env = {}, purpose = 'command', ...options }: Given) {
  return loadConfig({ env: { HOME: '/home/me', ...env }, purpose, cwd, ...options });
}

function load(given: Given = {}): LoadedConfig {
  const result = attempt(given);
  if (result.kind === 'loaded') return result;
  throw new Error(result.problems.map(formatProblem).join('\n'));
}

function config(given: Given = {}): Config {
  return load(given).config;
}

function problems(given: Given): string[] {
  const result = attempt(given);
  return result.kind === 'invalid' ? result.problems.map(formatProblem) : [];
}

describe('where settings come from', () => {
  test('without file, environment and flags, every setting has its default', () => {
    const loaded = load();
    expect(loaded).toMatchObject({ file: null, overrides: [] });
    expect(loaded.config).toMatchObject({
      data_dir: '/home/me/.local/share/runwatch',
      server: { host: '127.0.0.1', port: 8787, shutdown_timeout: 20_000 },
      polling: { min_interval: 1_000, max_interval: 60_000 },
      sources: {},
      endpoints: {},
    });
  });

  test('flags win over the environment, the environment over the file, the file over defaults', () => {
    write('runwatch.yaml', 'server: { host: ::1, port: 1, shutdown_timeout: 5s }\n');
    const env = { RUNWATCH_PORT: '2', RUNWATCH_HOST: 'localhost' };
    expect(config().server).toMatchObject({ host: '::1', port: 1 });
    expect(config({ env }).server).toMatchObject({ host: 'localhost', port: 2 });
    const loaded = load({ env, flags: { port: '3' } });
    expect(loaded.config.server).toEqual({ host: 'localhost', port: 3, shutdown_timeout: 5_000 });
    expect(loaded.overrides).toEqual(['RUNWATCH_HOST', '--port']);
  });

  test('the file is --config, else RUNWATCH_CONFIG, else the first of the searched places', () => {
    const env = { RUNWATCH_CONFIG: 'named.yaml' };
    for (const name of ['flag.yaml', 'named.yaml', 'config/runwatch.yaml', 'runwatch.yaml']) {
      write(name, `redis: { prefix: ${name.replaceAll(/\W/g, '-')} }`);
    }
    expect(load({ env, configPath: 'flag.yaml' }).config.redis.prefix).toBe('flag-yaml');
    expect(load({ env }).config.redis.prefix).toBe('named-yaml');
    expect(load()).toMatchObject({ file: 'config/runwatch.yaml' });
    rmSync(join(cwd, 'config'), { recursive: true });
    expect(load()).toMatchObject({ file: 'runwatch.yaml' });
  });

  test('a named file that is missing is an error, whether a flag or a variable names it', () => {
    expect(problems({ configPath: 'a.yaml' })).toEqual(['--config: cannot read a.yaml (ENOENT)']);
    const env = { RUNWATCH_CONFIG: 'b.yaml' };
    expect(problems({ env })).toEqual(['RUNWATCH_CONFIG: cannot read b.yaml (ENOENT)']);
  });

  test('a searched file that exists but cannot be read is an error', () => {
    mkdirSync(join(cwd, 'runwatch.yaml'));
    expect(problems({})).toEqual(['runwatch.yaml: cannot read runwatch.yaml (EISDIR)']);
  });

  test('empty files, empty sections and unset variables keep the defaults', () => {
    write('config/runwatch.yaml', '# nothing yet\n');
    expect(config().server.port).toBe(8787);
    write('config/runwatch.yaml', 'server:\n  port: "${PORT}"\nlog:\nendpoints:\n');
    expect(config()).toMatchObject({ server: { port: 8787 }, log: { level: 'info' } });
    expect(config({ env: { PORT: '' } }).server.port).toBe(8787);
    expect(config({ env: { PORT: '99' } }).server.port).toBe(99);
  });

  test('variables can set numbers, booleans, and entries of lists', () => {
    write(
      'runwatch.yaml',
      'egress: { require_https: "${H}", allow: ["${A}", 10.0.0.0/8, "${B}"] }\n',
    );
    const env = { H: 'false', B: '[::1]:80' };
    expect(config({ env }).egress).toEqual({
      require_https: false,
      allow: ['10.0.0.0/8', '[::1]:80'],
    });
  });

  test("YAML anchors, aliases and merge keys work, and a map's own keys win", () => {
    write(
      'runwatch.yaml',
      `endpoints:
  a: &base { type: webhook, url: https://a.example/, timeout: 3s }
  b: { <<: *base, timeout: 4s }
  c: { url: https://c.example/, <<: [{ timeout: 5s }, *base] }
  d: *base
`,
    );
    expect(config().endpoints).toMatchObject({
      a: { url: 'https://a.example/', timeout: 3_000 },
      b: { url: 'https://a.example/', timeout: 4_000 },
      c: { url: 'https://c.example/', timeout: 5_000 },
      d: { url: 'https://a.example/', timeout: 3_000 },
    });
  });
});

describe('the environment', () => {
  test('every environment variable sets its setting', () => {
    const env = {
      NOXUS_API_KEY: 'nox',
      NOXUS_BACKEND_URL: 'https://noxus.example',
      REDIS_URL: 'rediss://r.example/1',
      RUNWATCH_DATA_DIR: 'data',
      RUNWATCH_HOST: '0.0.0.0',
      RUNWATCH_PORT: '0',
      RUNWATCH_API_TOKEN: 'a-token-long-enough',
      RUNWATCH_WEBHOOK_URL: 'https://hooks.example/x',
      RUNWATCH_WEBHOOK_SECRET: SECRET,
      RUNWATCH_SIGNING_SECRET: OTHER_SECRET,
      RUNWATCH_ENCRYPTION_KEY: `${KEY.toString('base64')}, ${KEY.toString('hex')}`,
      RUNWATCH_LOG_LEVEL: 'debug',
    };
    expect(config({ env, purpose: 'serve' })).toMatchObject({
      data_dir: join(cwd, 'data'),
      log: { level: 'debug' },
      server: { host: '0.0.0.0', port: 0 },
      auth: {
        tokens: [{ name: 'env', token: 'a-token-long-enough', scopes: ['read', 'write', 'admin'] }],
      },
      redis: { url: 'rediss://r.example/1' },
      sources: { default: { base_url: 'https://noxus.example', api_key: 'nox' } },
      endpoints: { default: { type: 'webhook', url: 'https://hooks.example/x', secret: SECRET } },
      delivery: { signing_secret: OTHER_SECRET },
      encryption: { keys: [KEY.toString('base64'), KEY.toString('hex')] },
    });
  });

  test('every secret may be given as a file', () => {
    const secrets = {
      NOXUS_API_KEY: 'nox',
      RUNWATCH_API_TOKEN: 'a-token-long-enough',
      RUNWATCH_WEBHOOK_SECRET: SECRET,
      RUNWATCH_SIGNING_SECRET: OTHER_SECRET,
      RUNWATCH_ENCRYPTION_KEY: KEY.toString('hex'),
      REDIS_URL: 'redis://:pw@localhost/',
    };
    const env: NodeJS.ProcessEnv = { RUNWATCH_WEBHOOK_URL: 'https://hooks.example/' };
    for (const [name, value] of Object.entries(secrets)) {
      write(`secrets/${name}`, `${value}\n`);
      env[`${name}_FILE`] = `secrets/${name}`;
    }
    expect(config({ env })).toMatchObject({
      sources: { default: { api_key: 'nox' } },
      auth: { tokens: [{ token: 'a-token-long-enough' }] },
      endpoints: { default: { secret: SECRET } },
      delivery: { signing_secret: OTHER_SECRET },
      encryption: { keys: [KEY.toString('hex')] },
      redis: { url: 'redis://:pw@localhost/' },
    });
  });

  test('an unreadable secret file is one problem, without follow-up problems', () => {
    write('runwatch.yaml', 'sources: { default: { api_key: "${NOXUS_API_KEY}" } }\n');
    const env = { NOXUS_API_KEY_FILE: '/nowhere/key', RUNWATCH_API_TOKEN_FILE: '/nowhere/token' };
    expect(
      problems({ env: { ...env, RUNWATCH_HOST: '0.0.0.0' }, purpose: 'serve' }).sort(),
    ).toEqual([
      'NOXUS_API_KEY_FILE: cannot read /nowhere/key (ENOENT)',
      'RUNWATCH_API_TOKEN_FILE: cannot read /nowhere/token (ENOENT)',
    ]);
  });

  test('the data directory follows XDG, and a leading ~ is the home directory', () => {
    expect(config({ env: { XDG_DATA_HOME: '/xdg' } }).data_dir).toBe('/xdg/runwatch');
    expect(config({ env: { XDG_DATA_HOME: 'xdg' } }).data_dir).toBe(
      '/home/me/.local/share/runwatch',
    );
    expect(config({ env: { RUNWATCH_DATA_DIR: '~/w' } }).data_dir).toBe('/home/me/w');
    expect(config({ flags: { dataDir: '/flag' } }).data_dir).toBe('/flag');
  });

  test('the port variable that Kubernetes sets for a Service named runwatch is ignored', () => {
    expect(config({ env: { RUNWATCH_PORT: 'tcp://10.0.0.1:8787' } }).server.port).toBe(8787);
  });

  test('a token that the file lists keeps its name and scopes; another one is added', () => {
    write(
      'runwatch.yaml',
      'auth: { tokens: [{ name: ops, token: "${RUNWATCH_API_TOKEN}", scopes: [read] }, { name: b, token: another-token-of-25-chars }] }',
    );
    expect(
      config({ env: { RUNWATCH_API_TOKEN: 'the-token-of-24-characters' } }).auth.tokens,
    ).toEqual([
      { name: 'ops', token: 'the-token-of-24-characters', scopes: ['read'], sources: ['*'] },
      {
        name: 'b',
        token: 'another-token-of-25-chars',
        scopes: ['read', 'write', 'admin'],
        sources: ['*'],
      },
    ]);
    write('runwatch.yaml', 'auth: { tokens: [{ name: b, token: another-token-of-25-chars }] }');
    const tokens = config({ env: { RUNWATCH_API_TOKEN: 'the-token-of-24-characters' } }).auth
      .tokens;
    expect(tokens.map(({ name }) => name)).toEqual(['b', 'env']);
  });

  test('a key or URL that the file uses under another name adds no second entry', () => {
    write(
      'runwatch.yaml',
      `sources: { prod: { api_key: "\${NOXUS_API_KEY}" } }
endpoints: { ops: { type: webhook, url: "\${RUNWATCH_WEBHOOK_URL}" } }`,
    );
    const env = {
      NOXUS_API_KEY: 'nox',
      NOXUS_BACKEND_URL: 'https://noxus.example',
      RUNWATCH_WEBHOOK_URL: 'https://hooks.example/',
      RUNWATCH_WEBHOOK_SECRET: SECRET,
    };
    const { sources, endpoints } = config({ env });
    expect(Object.keys(sources)).toEqual(['prod']);
    expect(sources['prod']?.base_url).toBe('https://noxus.example');
    expect(Object.keys(endpoints)).toEqual(['ops']);
    expect(endpoints['ops']).toMatchObject({ secret: SECRET });
  });

  test('the webhook secret signs for every endpoint without its own', () => {
    const env = { RUNWATCH_WEBHOOK_SECRET: SECRET };
    expect(config({ env })).toMatchObject({ endpoints: {}, delivery: { signing_secret: SECRET } });
    write('runwatch.yaml', `delivery: { signing_secret: ${OTHER_SECRET} }`);
    expect(config({ env }).delivery.signing_secret).toBe(OTHER_SECRET);
    expect(config({ env: { RUNWATCH_SIGNING_SECRET: SECRET } }).delivery.signing_secret).toBe(
      SECRET,
    );
  });

  test("the environment's webhook replaces the URL of the file's default endpoint", () => {
    write(
      'runwatch.yaml',
      'endpoints: { default: { type: webhook, url: https://a.example/, timeout: 3s } }',
    );
    const env = { RUNWATCH_WEBHOOK_URL: 'https://b.example/' };
    expect(config({ env }).endpoints['default']).toMatchObject({
      url: 'https://b.example/',
      timeout: 3_000,
    });
    write('runwatch.yaml', 'endpoints: { default: { type: log, level: warn } }');
    expect(config({ env }).endpoints['default']).toMatchObject({
      type: 'webhook',
      url: 'https://b.example/',
    });
  });
});

describe('the proxy of a source', () => {
  test('discover.since is registration, or a time with its offset from UTC', () => {
    const sinceOf = (since: string) => {
      write('f.yaml', `sources: { a: { api_key: k, discover: { workflows: all${since} } } }`);
      return config({ configPath: 'f.yaml' }).sources['a']?.discover?.since;
    };
    expect(sinceOf('')).toBe('registration');
    expect(sinceOf(', since: 2025-05-04T10:00:00Z')).toBe('2025-05-04T10:00:00Z');
    expect(sinceOf(', since: 2025-05-04T10:00:00.000+01:00')).toBe('2025-05-04T10:00:00.000+01:00');
  });

  test('the proxy of a source is its own, else that of HTTPS_PROXY, and its password is not shown', () => {
    write(
      'runwatch.yaml',
      'sources:\n  a: { api_key: k }\n  b: { api_key: k, proxy: "http://b:3128" }\n  c: { api_key: k, base_url: "https://c.internal" }\n',
    );
    const env = { HTTPS_PROXY: 'http://me:pa55word@proxy:3128', NO_PROXY: '.internal' };
    const { sources } = config({ env });
    expect(sources['a']?.proxy).toBe('http://me:pa55word@proxy:3128');
    expect(sources['b']?.proxy).toBe('http://b:3128');
    expect(sources['c']?.proxy).toBeUndefined();
    expect(JSON.stringify(redactConfig(config({ env })))).not.toContain('pa55word');
    expect(problems({ env: { HTTPS_PROXY: 'socks5://proxy' } })).toEqual([
      'HTTPS_PROXY: expected the http:// or https:// URL of a proxy, got a URL that begins with socks5://',
    ]);
  });
});

describe('what serving needs', () => {
  const key = { NOXUS_API_KEY: 'nox' };

  test('the daemon needs a source with a key, other commands do not', () => {
    expect(problems({ purpose: 'serve' })).toEqual([expect.stringContaining('set NOXUS_API_KEY')]);
    write(
      'runwatch.yaml',
      'sources:\n  default:\n    api_key: "${NOXUS_API_KEY}"\n    timeout: 3s\n',
    );
    expect(problems({ purpose: 'serve' })).toEqual([
      'runwatch.yaml:3:5 sources.default.api_key: expected the API key of a Noxus workspace, but NOXUS_API_KEY is not set',
    ]);
    expect(config({ purpose: 'command' }).sources).toEqual({});
    expect(config({ purpose: 'serve', env: key }).sources['default']?.timeout).toBe(3_000);
  });

  test('a source without a key is still checked for all other problems', () => {
    write('runwatch.yaml', 'sources: { default: { timeuot: 3s } }');
    expect(problems({ purpose: 'command' })).toEqual([
      'runwatch.yaml:1:23 sources.default.timeuot: unknown key (did you mean timeout?)',
    ]);
  });

  test.each(['0.0.0.0', '::', '192.168.1.2', 'example.com', '[::]'])(
    'the server refuses to start on %s without a token',
    (host) => {
      const given = { purpose: 'serve', flags: { host } } as const;
      expect(problems({ ...given, env: key })).toEqual([
        expect.stringMatching(/^--host: the server refuses to start on the non-loopback host/),
      ]);
      expect(
        problems({ ...given, env: { ...key, RUNWATCH_API_TOKEN: 'a-token-long-enough' } }),
      ).toEqual([]);
    },
  );

  test.each(['127.0.0.1', '127.8.0.1', '::1', '[::1]', 'localhost', '::ffff:127.0.0.1'])(
    'loopback needs no token: %s',
    (host) => {
      expect(problems({ purpose: 'serve', env: key, flags: { host } })).toEqual([]);
    },
  );
});
