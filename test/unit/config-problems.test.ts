import * as fc from 'fast-check';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { renderInvalid } from '../../src/cli/local/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { formatProblem, type ConfigProblem, suggest } from '../../src/config/problems.ts';
import { ENDPOINT_TYPES } from '../../src/core/delivery/delivery.ts';

/** All kinds of endpoints, as a message lists them. */
const TYPES = ENDPOINT_TYPES.join(', ').replace(/, (?=\w+$)/, ' or ');

let cwd: string;

beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'runwatch-problems-'));
});

afterAll(() => rmSync(cwd, { recursive: true }));

function attempt(yaml: string, env: NodeJS.ProcessEnv = {}, flags = {}): ConfigProblem[] {
  writeFileSync(join(cwd, 'f.yaml'), yaml);
  const result = loadConfig({ purpose: 'command', env, flags, cwd, configPath: 'f.yaml' });
  return result.kind === 'invalid' ? [...result.problems] : [];
}

function problemsOf(...given: Parameters<typeof attempt>): string[] {
  return attempt(...given).map(formatProblem);
}

describe('what is said about a bad file', () => {
  test('all configuration problems are reported at once, in the order of the file', () => {
    const yaml = `log:
  level: verbose
polling:
  min_intervall: 3s
  max_interval: 30
  concurrency: many
servre: {}
endpoints:
  ops:
    type: webhook
    url: ftp://example.com
    events:
      - run.*
      - run.faild
  chat: { type: webhok }
`;
    expect(problemsOf(yaml)).toEqual([
      'f.yaml:2:3 log.level: expected trace, debug, info, warn, error, fatal or silent, got "verbose"',
      'f.yaml:4:3 polling.min_intervall: unknown key (did you mean min_interval?)',
      'f.yaml:5:3 polling.max_interval: expected a duration such as 10s, got the number 30',
      'f.yaml:6:3 polling.concurrency: expected auto or a whole number from 1 to 10000, got "many"',
      'f.yaml:7:1 servre: unknown key (did you mean server?)',
      'f.yaml:11:5 endpoints.ops.url: expected an http:// or https:// URL, got [redacted]',
      'f.yaml:14:9 endpoints.ops.events.1: expected an event type, a family such as run.*, or "*", got "run.faild" (did you mean run.failed?)',
      `f.yaml:15:11 endpoints.chat.type: expected ${TYPES}, got "webhok" (did you mean webhook?)`,
    ]);
  });

  test.each([
    ['server: 5', 'f.yaml:1:1 server: expected a map of settings, got a number'],
    ['- a', 'f.yaml:1:1: expected a map of settings, got a list'],
    ['watches: { timeout: 3 days }', 'watches.timeout: expected a duration such as 250ms'],
    [
      'watches: { timeout: 400d }',
      'watches.timeout: expected a duration from 1s to 365d, got "400d"',
    ],
    [
      'watches: { remind_feedback: [24h, 1h] }',
      'watches.remind_feedback: expected times in ascending order, such as [1h, 24h]',
    ],
    [
      'watches: { remind_feedback: 1h }',
      'watches.remind_feedback: expected a list of durations such as [1h, 24h], got text',
    ],
    [
      'sources: { a: { api_key: k, discover: { workflows: every } } }',
      'sources.a.discover.workflows: expected all, or a list of workflow ids, got text',
    ],
    [
      'sources: { a: { api_key: k, discover: { workflows: [all, w-1] } } }',
      'sources.a.discover.workflows: expected either all or workflow ids',
    ],
    [
      'sources: { a: { api_key: k, discover: { workflows: [w/../1] } } }',
      'sources.a.discover.workflows.0: expected the id of a workflow, got "w/../1"',
    ],
    [
      'sources: { a: { api_key: k, discover: { workflows: [w-1, w-1] } } }',
      'sources.a.discover.workflows: expected each workflow once',
    ],
    [
      'sources: { a: { api_key: k, discover: { workflows: all, since: yesterday } } }',
      'sources.a.discover.since: expected registration, or a time such as 2025-05-04T10:00:00Z, got "yesterday"',
    ],
    [
      'sources: { a: { api_key: k, discover: { workflows: all, since: 5 } } }',
      'sources.a.discover.since: expected registration, or a time such as 2025-05-04T10:00:00Z, got the number 5',
    ],
    [
      'sources: { a: { api_key: k, discover: { every: 5s } } }',
      'sources.a.discover.workflows: expected all, or a list of workflow ids, but it is missing',
    ],
    ['endpoints: { a: { type: log, retry: [] } }', 'endpoints.a.retry: unknown key'],
    [
      'endpoints: { a: { url: "https://x.example" } }',
      `a.type: expected ${TYPES}, but it is missing`,
    ],
    ['endpoints: { "a b": { type: log } }', 'endpoints.a…: expected a name of up to 63 letters'],
    ['endpoints: { per-watch: { type: log } }', 'endpoints.per-watch: per-watch is what webhooks'],
    ['endpoints: { a: { type: log, events: [] } }', 'expected at least one event type'],
    ['endpoints: { a: { type: log, default: yes } }', 'default: expected true or false, got "yes"'],
    [
      'auth: { tokens: [{ name: a, token: fifteen-letters }] }',
      'f.yaml:1:29 auth.tokens.0.token: expected a token of at least 16 characters, got [redacted]',
    ],
    [
      'auth: { tokens: [{ name: a, token: "${T}" }] }',
      'tokens.0.token: expected a token of at least 16 characters, but T is not set',
    ],
    [
      'sources: { a: { api_key: 12 } }',
      'api_key: expected the API key of a Noxus workspace, got a number, which',
    ],
    [
      'sources: { a: { base_url: "https://u:p@x.example" } }',
      'expected a URL without a user name and password',
    ],
    ['sources: { a: { base_url: "htp:/x" } }', 'got text without ://'],
    [
      'sources: { a: { api_key: k, rate_limit: 5 } }',
      'sources.a.rate_limit: expected a map of settings, got a number',
    ],
    [
      'endpoints: { m: { type: email, host: h, from: a@b.example, to: a } }',
      'endpoints.m.to: expected an address such as ops@example.com, got text',
    ],
    [
      'rules: [{ name: a, events: [run.failed], notify: [], threshold: { count: 5, within: 1h } }]',
      'rules.0.notify: expected at least one endpoint, got an empty list',
    ],
    ['redis: { url: localhost:6379 }', 'got text without ://'],
    [
      'egress: { allow: [example.com] }',
      'allow.0: expected an address, a CIDR such as 10.0.0.0/8, or host:port',
    ],
    ['egress: { allow: [10.0.0.0/33] }', 'allow.0: expected an address'],
    ['egress: { allow: ["a:0"] }', 'allow.0: expected an address'],
    ['server: { port: 1.5 }', 'expected a whole number from 0 to 65535, got the number 1.5'],
    ['server: { port: "${P}" }', 'expected a whole number from 0 to 65535, got "x" from P'],
    ['log: { level: "x${NONE}" }', 'log.level: NONE is not set'],
    ['log: { level: "${" }', 'log.level: expected ${NAME} or ${NAME:-text}'],
    ['log: *nowhere', 'f.yaml:1:1 log: no such anchor'],
    ['log: { <<: 3 }', 'f.yaml:1:1 log: expected << to name a map or a list of maps'],
  ])('%s', (yaml, expected) => {
    const problems = problemsOf(yaml, { P: 'x' });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(expected);
  });

  test.each([
    ['Host', 'reserved'],
    ['content-type', 'reserved'],
    ['Transfer-Encoding', 'reserved'],
    ['webhook-id', 'reserved'],
    ['proxy-authorization', 'reserved'],
    ['a b', 'expected the name of a header'],
  ])('a webhook cannot send the header %s', (header, expected) => {
    const yaml = `endpoints: { a: { type: webhook, url: "https://x.example", headers: { "${header}": v } } }`;
    const [problem, ...others] = problemsOf(yaml);
    expect(problem).toContain(expected);
    expect(others).toEqual([]);
  });

  test('settings that conflict are reported by line and key', () => {
    const yaml = `polling: { min_interval: 2m }
auth:
  tokens:
    - { name: a, token: canary-one-of-16-or-more }
    - { name: a, token: canary-two-of-16-or-more }
    - { name: c, token: canary-one-of-16-or-more }
endpoints:
  x: { type: webhook, url: "https://x.example", headers: { X-A: "1", x-a: "2" } }
`;
    expect(problemsOf(yaml)).toEqual([
      'f.yaml:1:12 polling.min_interval: expected at most polling.max_interval (1m), got 2m',
      'f.yaml:5:9 auth.tokens.1.name: another token is named a',
      'f.yaml:6:18 auth.tokens.2.token: the token named a is the same',
      'f.yaml:8:70 endpoints.x.headers.x-a: this header is given twice',
    ]);
  });

  test('YAML syntax errors carry line and column', () => {
    expect(problemsOf('log:\n  level: info\n  level: warn\n')).toEqual([
      'f.yaml:3:3 level: this key is given twice in the same map',
    ]);
    expect(problemsOf('redis:\n  url: "redis://:canary@x\n')).toEqual([
      'f.yaml:3:1: Missing closing "quote',
    ]);
    expect(problemsOf('log:\n\tlevel: info\n')[0]).toMatch(/^f\.yaml:2:1: /);
    expect(problemsOf('log: {}\n---\nlog: {}\n')[0]).toContain('expected one YAML document');
    expect(problemsOf('log: !level info\n')).toEqual([
      'f.yaml:1:6: unknown YAML tag (text that starts with ! needs quotes)',
    ]);
  });

  test('YAML aliases cannot expand a small file without bound', () => {
    const levels = Array.from({ length: 12 }, (_, n) => {
      const items = Array.from({ length: 9 }, () => (n === 0 ? 'x' : `*l${n - 1}`));
      return `l${n}: &l${n} [${items.join(', ')}]`;
    });
    expect(problemsOf(levels.join('\n')).join('\n')).toContain('nested too deeply, or too large');
    expect(problemsOf('log: &a { level: *a }').join('\n')).toContain(
      'nested too deeply, or too large',
    );
    expect(problemsOf('log: &a { <<: [*a, *a] }').join('\n')).toContain(
      'nested too deeply, or too large',
    );
  });

  test("a list item's problem does not name the variable of an earlier item that is absent", () => {
    expect(problemsOf('egress: { allow: ["${NONE}", bad] }')).toEqual([
      'f.yaml:1:30 egress.allow.0: expected an address, a CIDR such as 10.0.0.0/8, or host:port, got "bad"',
    ]);
  });

  test('a configuration file over 1 MiB is refused', () => {
    const problems = problemsOf(`# ${'x'.repeat(1024 * 1024)}\n`);
    expect(problems).toEqual(['--config: f.yaml is larger than 1 MiB']);
  });
});

describe('what is said about bad variables and flags', () => {
  test.each([
    ['RUNWATCH_PORT', 'abc', 'expected a whole number from 0 to 65535, got "abc"'],
    ['RUNWATCH_PORT', '70000', 'expected a whole number from 0 to 65535, got "70000"'],
    [
      'RUNWATCH_LOG_LEVEL',
      'inof',
      'expected trace, debug, info, warn, error, fatal or silent, got "inof" (did you mean info?)',
    ],
    [
      'RUNWATCH_API_TOKEN',
      'fifteen-letters',
      'expected a token of at least 16 characters, got [redacted]',
    ],
    [
      'RUNWATCH_WEBHOOK_SECRET',
      'whsec_x',
      'expected whsec_ followed by the base64 of 24 to 64 bytes, got [redacted]',
    ],
    ['RUNWATCH_ENCRYPTION_KEY', 'abc', 'expected 32 bytes in base64 or hex, got [redacted]'],
    ['RUNWATCH_WEBHOOK_URL', 'x', 'expected an http:// or https:// URL, got [redacted]'],
    [
      'REDIS_URL',
      'http://u:canary@x',
      'expected a redis://, rediss:// or unix:// URL, got a URL that begins with http://',
    ],
  ])('the setting %s=%s is a problem with a message', (name, value, message) => {
    expect(problemsOf('', { [name]: value })).toEqual([`${name}: ${message}`]);
  });

  test('a bad flag is named as the user gave it', () => {
    expect(problemsOf('server: { port: 1 }', { RUNWATCH_PORT: '2' }, { port: 'x' })).toEqual([
      '--port: expected a whole number from 0 to 65535, got "x"',
    ]);
  });

  test('an overridden mistake in the file leaves the rest of the file in force', () => {
    expect(problemsOf('server: 5', { RUNWATCH_PORT: '2' })).toEqual([
      'f.yaml:1:1 server: expected a map of settings, got a number',
    ]);
  });
});

test('configuration problems are printed one per line', () => {
  const problem = { path: ['A'], message: 'b' };
  expect(renderInvalid({ problems: [problem, problem], warnings: [problem] })).toBe(
    'A: b\nA: b\nwarning: A: b\n',
  );
});

test.each([
  ['webhook https://example.com/secret', 'text with a URL in it'],
  ['webhook https//example.com/secret', 'text with a URL in it'],
  ['https//example.com/secret', 'text with a URL in it'],
  ['webhook secret whsec_canary', 'text that is no single word'],
  ["webhook secret 'canary'", 'text that is no single word'],
  ['user:canary@host', 'text that is no single word'],
])('a line that ran together with the one before it, such as %s, is not shown', (type, shown) => {
  expect(problemsOf(`endpoints: { hook: { type: ${type} } }`)).toEqual([
    `f.yaml:1:22 endpoints.hook.type: expected ${TYPES}, got ${shown}`,
  ]);
});

test.each([
  ['redis:/ /:canary', 'text without ://'],
  ['redis//canary', 'text without ://'],
  ['rediscanary', 'text without ://'],
  ['localhost:6379', 'text without ://'],
  ['http://canary:6379/0', 'a URL that begins with http://'],
  ['http:// canary', 'text that begins with http://'],
])('a problem with a Redis URL written as %s says only that it is %s', (url, shown) => {
  expect(problemsOf(`redis: { url: "${url}" }`)).toEqual([
    `f.yaml:1:10 redis.url: expected a redis://, rediss:// or unix:// URL, got ${shown}`,
  ]);
});

test('no mistake whatever makes a secret appear in a problem', () => {
  const secrets = { api_key: 'canary-k', token: 'canary-t', secret: 'canary-s', url: 'canary-u' };
  const yaml = `sources: { a: { api_key: ${secrets.api_key}, timeout: 10s } }
auth:
  tokens:
    - name: ops
      token: "${secrets.token}"
endpoints:
  hook:
    type: webhook
    url: https://example.com/${secrets.url}?key=${secrets.url}
    secret: '${secrets.secret}'
    headers:
      authorization: Bearer ${secrets.token}
encryption: { keys: [${secrets.api_key}, "${secrets.secret}"] }
redis:
  url: redis://:${secrets.url}@localhost
`;
  // A missing or extra colon can turn a value into a key, and problems name keys.
  const noise = fc.stringMatching(/^[^:?]{0,3}$/);
  const edit = fc.record({ at: fc.nat(yaml.length), remove: fc.nat(4), insert: noise });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      let text = yaml;
      for (const { at, remove, insert } of edits) {
        text = text.slice(0, at) + insert + text.slice(at + remove);
      }
      const messages = attempt(text).map(({ message }) => message);
      expect(messages.join('\n')).not.toContain('canary');
    }),
    { numRuns: 500 },
  );
});

const KEYS = ['min_interval', 'max_interval', 'profile', 'port'];

test.each([
  ['min_intervall', 'min_interval'],
  ['minInterval', 'min_interval'],
  ['mni_interval', 'min_interval'],
  ['prot', 'port'],
  ['PORT', 'port'],
  ['pr', null],
  ['retention', null],
  ['', null],
])('for the word %s the suggestion is %s', (word, expected) => {
  expect(suggest(word, KEYS)).toBe(expected);
});

test('a word that is itself a candidate is the suggestion', () => {
  const words = fc.uniqueArray(fc.stringMatching(/^[a-z_]{1,12}$/), { minLength: 1 });
  fc.assert(
    fc.property(words, fc.nat(), (candidates, index) => {
      const word = candidates[index % candidates.length] ?? '';
      expect(suggest(word, candidates)).toBe(word);
    }),
  );
});

test('without candidates there is no suggestion', () => {
  expect(suggest('port', [])).toBeNull();
});
