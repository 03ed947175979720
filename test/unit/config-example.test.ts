import { mkdtempSync, readFileSync, rmSync, writeFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { z } from 'zod';
import { COMMON_KEYS } from '../../src/config/endpoint-schema.ts';
import { loadConfig } from '../../src/config/load.ts';
import { formatProblem } from '../../src/config/problems.ts';
import { configSchema, type Config } from '../../src/config/schema.ts';
import { CERT_FOR_LOCALHOST, TEST_CA, TEST_KEY } from '../support/certificates.ts';

const EXAMPLE = new URL('../../config/runwatch.example.yaml', import.meta.url);
const text = readFileSync(EXAMPLE, 'utf8');

/** The file with its commented-out examples enabled, replacing the lines that they override. */
const uncommented = text
  .replaceAll(
    /^((endpoints|workflows|time_intervals): \{\}|(rules|inhibit_rules|  tokens): \[\])$/gm,
    '',
  )
  .replaceAll(/^#(?! |$)/gm, '')
  .replaceAll(/^#(?= {2,}\S)/gm, '');

const SOME_URL = 'https://chat.example/hooks/x';

/** What the examples need besides {@link valueOf}, or of a form of its own. */
const ENV = {
  HOME: '/home/me',
  NOXUS_API_KEY: 'nox',
  GH_TOKEN: 'ghp-token',
  RUNWATCH_API_TOKEN: 'a-token-long-enough',
  OPS_WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`,
  PAGERDUTY_ROUTING_KEY: 'R0123456789abcdef0123456789abcde',
  SLACK_BOT_TOKEN: 'xoxb-token',
  RUNWATCH_SIGNING_SECRET: `whsec_${Buffer.alloc(32, 1).toString('base64')}`,
};

/** The value of a variable that the example refers to. */
function valueOf(name: string): string {
  return name.endsWith('_URL') ? SOME_URL : name.toLowerCase().replaceAll('_', '-');
}

let cwd: string;

beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'runwatch-example-'));
  writeFileSync(join(cwd, 'ca.pem'), TEST_CA);
  writeFileSync(join(cwd, 'client.pem'), CERT_FOR_LOCALHOST);
  writeFileSync(join(cwd, 'client-key.pem'), TEST_KEY);
});

afterAll(() => rmSync(cwd, { recursive: true }));

function load(yaml: string, env: NodeJS.ProcessEnv): Config {
  writeFileSync(join(cwd, 'f.yaml'), yaml);
  const result = loadConfig({ purpose: 'serve', env, cwd, configPath: 'f.yaml' });
  if (result.kind === 'loaded') return result.config;
  throw new Error(result.problems.map(formatProblem).join('\n'));
}

type JSONSchema = z.core.JSONSchema.BaseSchema;

/** The path of a key; what not all kinds of endpoints have is below the type that has it, as all of sources. */
function pathTo(path: string, key: string, type: unknown): string {
  const isOfType = typeof type === 'string' && (path === 'sources.*.' || !COMMON_KEYS.has(key));
  return isOfType ? `${path}${type}: ${key}` : path + key;
}

/** Every key of a JSON schema, as a path in which `*` stands for a name or an index. */
function keysOf(schema: unknown, path = ''): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const { properties = {}, additionalProperties, items, oneOf, anyOf } = schema as JSONSchema;
  const type = typeof properties['type'] === 'object' ? properties['type'].const : undefined;
  const own = Object.entries(properties)
    // A key that nothing may be given for yet.
    .filter(([, child]) => typeof child !== 'object' || child.not === undefined)
    .map(([key, child]) => [pathTo(path, key, type), child] as const);
  return own
    .flatMap(([here, child]) => [here].concat(keysOf(child, `${here}.`)))
    .concat(
      keysOf(additionalProperties, `${path}*.`),
      keysOf(items, `${path}*.`),
      (oneOf ?? anyOf ?? []).flatMap((child) => keysOf(child, path)),
    );
}

/** Every key of a value, in the same form. */
function keysIn(value: unknown, known: ReadonlySet<string>, path = ''): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const type = 'type' in value ? value.type : undefined;
  return Object.entries(value).flatMap(([key, child]) => {
    const named = pathTo(path, key, type);
    const here = known.has(named) ? named : `${path}*`;
    return [here].concat(keysIn(child, known, `${here}.`));
  });
}

describe('the example configuration', () => {
  test('the example configuration as shipped states the defaults', () => {
    const config = load(text, { ...ENV, RUNWATCH_SIGNING_SECRET: '' });
    const defaults = configSchema.parse({
      data_dir: '/home/me/.local/share/runwatch',
      auth: { tokens: [{ name: 'env', token: 'a-token-long-enough' }] },
      sources: { default: { api_key: 'nox' } },
    });
    expect(config).toEqual(defaults);
  });

  test('the example configuration with its examples enabled loads, and its endpoints have the defaults', () => {
    // Only one way to reach Redis may be enabled, and only the daemon's own has a limit here.
    const inForce = uncommented.replaceAll(/^  (cluster|maxmemory): .*$/gm, '');
    const referred = [...inForce.matchAll(/"\$\{(\w+)\}"/g)].map(([, name = '']) => name);
    const values = Object.fromEntries(referred.map((name) => [name, valueOf(name)]));
    const env = { ...values, ...ENV };
    const { endpoints } = configSchema.parse({
      data_dir: '/d',
      endpoints: {
        ops: {
          type: 'webhook',
          url: 'https://example.com/hooks',
          secret: ENV.OPS_WEBHOOK_SECRET,
          events: ['run.failed', 'run.awaiting_human_feedback'],
          when: {
            workflow_id: ['3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11'],
            source: ['default'],
            metadata: { team: ['billing', 'support'] },
          },
          auth: { bearer: 'ops-webhook-token' },
          tls: {
            ca_file: join(cwd, 'ca.pem'),
            cert_file: join(cwd, 'client.pem'),
            key_file: join(cwd, 'client-key.pem'),
          },
          rate: 20,
          concurrency: 4,
          default: false,
        },
        audit: { type: 'log', events: ['*'], default: false },
        partner: {
          type: 'webhook',
          url: 'https://partner.example.com/hooks',
          auth: { basic: { username: 'runwatch', password: 'partner-password' } },
        },
        chat: {
          type: 'slack',
          url: SOME_URL,
          mentions: { '@ana': 'U0456' },
        },
        app: { type: 'slack', bot_token: 'xoxb-token', channel: 'C024BE91L' },
        room: {
          type: 'teams',
          url: SOME_URL,
          mentions: { '@ana': 'ana@example.com' },
        },
        guild: {
          type: 'discord',
          url: SOME_URL,
          mentions: { '@ana': '80351110224678912' },
        },
        mail: {
          type: 'email',
          url: 'smtp://mail.example.com:587',
          tls: {
            ca_file: join(cwd, 'ca.pem'),
            cert_file: join(cwd, 'client.pem'),
            key_file: join(cwd, 'client-key.pem'),
          },
          username: 'runwatch',
          password: 'smtp-password',
          from: 'runwatch <runwatch@example.com>',
          to: ['ops@example.com'],
          mentions: { '@ana': 'ana@example.com' },
        },
        relay: {
          type: 'email',
          host: 'localhost',
          port: 25,
          from: 'runwatch@example.com',
          to: ['ops@example.com'],
        },
        pager: { type: 'pagerduty', routing_key: ENV.PAGERDUTY_ROUTING_KEY },
      },
    });
    const config = load(inForce.replaceAll('/etc/runwatch/', `${cwd}/`), env);
    expect(config.endpoints).toMatchObject(endpoints);
    expect(config.redis).toMatchObject({ name: 'mymaster', password: 'redis-password' });
    expect(config.auth.tokens).toEqual([
      {
        name: 'ops',
        token: 'a-token-long-enough',
        scopes: ['read', 'write', 'admin'],
        sources: ['*'],
        max_watches: 10_000,
      },
    ]);
    expect(config.data_dir).toBe('/home/me/.local/share/runwatch');
  });

  test('the example configuration shows every key of the schema, of each kind of endpoint', () => {
    const known = keysOf(z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }));
    expect(known.length).toBeGreaterThan(40);
    const shown = new Set(keysIn(parse(uncommented), new Set(known)));
    expect(known.filter((key) => !shown.has(key))).toEqual([]);
  });

  test('the example configuration explains every key in a comment right above it', () => {
    const lines = text.split('\n').map((line) => line.replace(/^#(?=\S| {2,})/, ''));
    const keys = lines.flatMap((line, index) => (/^ *(- )?[a-z_]+:/.test(line) ? [index] : []));
    const bare = keys.filter((index) => {
      const isSection = lines[index]?.endsWith(':') === true;
      return !isSection && !/^ *# /.test(lines[index - 1] ?? '');
    });
    const unexplained = bare.map((index) => lines[index]?.trim());
    expect(unexplained).toEqual([]);
  });
});

describe('config examples', () => {
  const FOLDER = fileURLToPath(new URL('../../config/examples/', import.meta.url));
  const FILES = readdirSync(FOLDER).filter((file) => file.endsWith('.yaml'));

  const EXAMPLES_ENV = {
    HOME: '/home/me',
    NOXUS_API_KEY: 'nox',
    SLACK_WEBHOOK_URL: 'https://hooks.slack.com/services/T0/B0/x',
    SLACK_BOT_TOKEN: 'xoxb-token',
    PAGERDUTY_ROUTING_KEY: 'R0123456789abcdef0123456789abcde',
    SMTP_PASSWORD: 'smtp-password',
  };

  test.each(FILES)('config/examples/%s passes config --check --strict', (file) => {
    const configPath = FOLDER + file;
    const loaded = loadConfig({ purpose: 'serve', env: EXAMPLES_ENV, configPath, strict: true });
    expect(loaded.kind === 'invalid' ? loaded.problems.map(formatProblem) : []).toEqual([]);
  });
});
