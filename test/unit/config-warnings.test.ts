import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { showConfig } from '../../src/cli/local/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { formatProblem } from '../../src/config/problems.ts';

const KEY = { NOXUS_API_KEY: 'nox' };
const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;

let cwd: string;

beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'runwatch-warnings-'));
});

afterAll(() => rmSync(cwd, { recursive: true }));

function attempt(yaml: string, env: NodeJS.ProcessEnv = KEY, strict = false) {
  writeFileSync(join(cwd, 'f.yaml'), yaml);
  return loadConfig({ purpose: 'serve', env, cwd, configPath: 'f.yaml', strict });
}

function warningsOf(...given: Parameters<typeof attempt>): string[] {
  const result = attempt(...given);
  return result.kind === 'loaded' ? result.warnings.map(formatProblem) : ['it is invalid'];
}

function problemsOf(...given: Parameters<typeof attempt>): string[] {
  const result = attempt(...given);
  return result.kind === 'invalid' ? result.problems.map(formatProblem) : [];
}

function sourceAt(url: string): string {
  return `sources: { default: { base_url: '${url}' } }\n`;
}

function endpointAt(url: string): string {
  return `endpoints: { ops: { type: webhook, url: '${url}' } }\n`;
}

describe('secret with an unset variable', () => {
  test.each([
    [
      'endpoints.ops.secret',
      "endpoints: { ops: { type: log }, a: { type: webhook, url: 'https://a.example', secret: '${S}' } }",
      'endpoints.a.secret',
    ],
    [
      'a header',
      "endpoints: { a: { type: webhook, url: 'https://a.example', headers: { x-key: '${S}' } } }",
      'endpoints.a.headers.x-key',
    ],
    ['an item of a list', "encryption: { keys: ['${S}'] }", 'encryption.keys.0'],
    ['the signing secret', "delivery: { signing_secret: '${S}' }", 'delivery.signing_secret'],
  ])('a secret with an unset variable is an error: %s', (_name, yaml, key) => {
    const [problem] = problemsOf(yaml);
    expect(problem).toMatch(/^f\.yaml:1:\d+ /);
    expect(problem).toContain(
      `${key}: S is not set; give it a value, or write \${S:-} where it may be absent`,
    );
  });

  test('an unset variable is no error with a default, an override by the environment, or without a secret', () => {
    expect(problemsOf("delivery: { signing_secret: '${S:-}' }")).toEqual([]);
    const env = { ...KEY, RUNWATCH_SIGNING_SECRET: SECRET };
    expect(problemsOf("delivery: { signing_secret: '${S}' }", env)).toEqual([]);
    expect(problemsOf("server: { port: '${S}' }\nredis: { url: '${S}' }")).toEqual([]);
  });

  test('a secret with an unreadable file is one problem', () => {
    const env = { ...KEY, S_FILE: 'nowhere' };
    expect(problemsOf("delivery: { signing_secret: '${S}' }", env)).toEqual([
      `S_FILE: cannot read ${join(cwd, 'nowhere')} (ENOENT)`,
    ]);
  });
});

describe('warnings about a configuration that cannot work', () => {
  test.each([
    ['http://169.254.1.1/hook', true],
    ['https://169.254.169.254/hook', true],
    ['http://[fe80::1]:8080/hook', true],
    ['http://[::ffff:169.254.1.1]/hook', true],
    ['http://10.0.0.1/hook', false],
    ['http://127.0.0.1:18788/hook', false],
    ['https://hooks.example.com/', false],
  ])('warning for an endpoint at %s: %s', (url, warned) => {
    const expected = warned
      ? [expect.stringContaining('endpoints.ops.url: runwatch connects to no link-local')]
      : [];
    expect(warningsOf(endpointAt(url))).toEqual(expected);
  });

  test.each([
    ['http://noxus.example.com', true],
    ['http://8.8.8.8:8080', true],
    ['http://[2606:4700::1111]', true],
    ['https://noxus.example.com', false],
    ['http://localhost:8789', false],
    ['http://127.0.0.1:8789', false],
    ['http://[::1]:8789', false],
    ['http://10.1.2.3', false],
    ['http://[fd12::1]', false],
    ['http://noxus', false],
    ['http://noxus.svc.cluster.local', false],
    ['http://noxus.internal.', false],
  ])('warning for an API key for %s: %s', (url, warned) => {
    const message =
      'f.yaml:1:23 sources.default.base_url: the API key travels in clear over plain http to ';
    expect(warningsOf(sourceAt(url))).toEqual(
      warned ? [`${message}${new URL(url).hostname}: use https`] : [],
    );
  });

  test('the warning of an API key over plain http names the variable of the address', () => {
    const env = { ...KEY, NOXUS_BACKEND_URL: 'http://noxus.example.com' };
    expect(warningsOf('', env)).toEqual([
      'NOXUS_BACKEND_URL: the API key travels in clear over plain http to noxus.example.com: use https',
    ]);
  });

  test.each([
    ['RUNWATCH_API_TOKN', ' (did you mean RUNWATCH_API_TOKEN?)'],
    ['RUNWATCH_WEBHOOKURL', ' (did you mean RUNWATCH_WEBHOOK_URL?)'],
    ['RUNWATCH_SIGNING_SECRET_FLIE', ' (did you mean RUNWATCH_SIGNING_SECRET_FILE?)'],
    ['RUNWATCH_SOMETHING_ELSE_ALTOGETHER', ''],
  ])('a warning says that the variable %s has no effect%s', (name, hint) => {
    expect(warningsOf('', { ...KEY, [name]: 'x' })).toEqual([
      `${name}: there is no such variable, so it has no effect${hint}`,
    ]);
  });

  test('a setting under its old name counts under the new one, with a warning', () => {
    const yaml = 'polling:\n  batch: ${LISTS}\n';
    const loaded = attempt(yaml, { ...KEY, LISTS: 'off' });
    expect(loaded.kind === 'loaded' && loaded.config.polling).toMatchObject({ lists: 'off' });
    expect(loaded.warnings.map(formatProblem)).toEqual([
      'f.yaml:2:3 polling.batch: it is called polling.lists now, and version 0.3.0 does not take the old name; rename it',
    ]);
    expect(problemsOf(yaml, { ...KEY, LISTS: 'on' })).toEqual([
      'f.yaml:2:3 polling.lists: expected auto or off, got "on" from LISTS',
    ]);
    expect(problemsOf('polling: { batch: off, lists: auto }')).toEqual([
      'f.yaml:1:12 polling.batch: it is called polling.lists now, which is given, too; remove one of them',
    ]);
  });

  test('variables that the file uses, empty ones, and those that Kubernetes sets cause no warning', () => {
    const env = {
      ...KEY,
      RUNWATCH_OPS_HOOK: 'https://hooks.example.com/',
      RUNWATCH_EMPTY: ' ',
      RUNWATCH_PORT: 'tcp://10.0.0.1:8787',
      RUNWATCH_SERVICE_HOST: '10.0.0.1',
      RUNWATCH_SERVICE_PORT: '8787',
      RUNWATCH_SERVICE_PORT_HTTP: '8787',
      RUNWATCH_PORT_8787_TCP: 'tcp://10.0.0.1:8787',
      RUNWATCH_PORT_8787_TCP_ADDR: '10.0.0.1',
      RUNWATCH_REDIS_PORT: 'tcp://10.0.0.2:6379',
      RUNWATCH_URL: 'http://127.0.0.1:8787',
      RUNWATCH_LOG_LEVEL: 'info',
    };
    expect(warningsOf(endpointAt('${RUNWATCH_OPS_HOOK}'), env)).toEqual([]);
  });

  test.each([
    [
      'an endpoint that nothing sends to',
      'endpoints: { ops: { type: log, default: true }, idle: { type: log, events: ["*"] } }',
      'f.yaml:1:49 endpoints.idle: no rule notifies it, and it is not among the defaults',
    ],
    [
      'a name in the filter of an endpoint',
      'endpoints: { ops: { type: log, when: { workflow_id: [invoices] } } }',
      'endpoints.ops.when.workflow_id: "invoices" is no UUID',
    ],
    [
      'an owner of a workflow whom no endpoint knows',
      `workflows: { wf-1: { name: a, owner: '@bob' } }
endpoints: { chat: { type: slack, url: 'https://hooks.slack.com/x', mentions: { '@rob': U1 } } }`,
      'f.yaml:1:31 workflows.wf-1.owner: no endpoint has @bob in its mentions, so that messages call no user: add it there (did you mean @rob?)',
    ],
    [
      'an owner of a rule whom no endpoint knows',
      `endpoints: { chat: { type: slack, url: 'https://hooks.slack.com/x' } }
rules: [{ name: r, events: [run.failed], notify: [chat], owner: '@bob' }]`,
      'rules.0.owner: no endpoint has @bob in its mentions',
    ],
  ])('%s is a warning', (_what, yaml, expected) => {
    expect(warningsOf(yaml)).toEqual([expect.stringContaining(expected)]);
  });

  test.each([
    [
      'an endpoint that says that it is no default',
      'endpoints: { ops: { type: log, default: true }, idle: { type: log, default: false } }',
    ],
    [
      'an endpoint of system events',
      'endpoints: { ops: { type: log, default: true }, own: { type: log, events: [system.*] } }',
    ],
    [
      'an endpoint that only an escalation names',
      `endpoints: { ops: { type: log, default: true }, late: { type: log } }
rules: [{ name: r, events: [run.failed], notify: [ops], escalate: [{ notify: [late] }] }]`,
    ],
    ['an endpoint where none is default', 'endpoints: { ops: { type: log }, b: { type: log } }'],
    [
      'the id of a workflow that is discovered',
      `sources: { a: { api_key: k, discover: { workflows: [wf-1] } } }
endpoints: { ops: { type: log, when: { workflow_id: wf-1 } } }`,
    ],
    [
      'an owner where no endpoint has messages for people',
      `endpoints: { ops: { type: log } }
workflows: { wf-1: { name: a, owner: '@bob' } }`,
    ],
    [
      'an owner that is no mention',
      `endpoints: { chat: { type: slack, url: 'https://hooks.slack.com/x' } }
workflows: { wf-1: { name: a, owner: Finance } }`,
    ],
  ])('%s is no warning', (_what, yaml) => {
    expect(warningsOf(yaml)).toEqual([]);
  });

  test('--strict makes every warning an error', () => {
    const env = { ...KEY, RUNWATCH_PROT: '1' };
    const yaml = sourceAt('http://noxus.example.com');
    expect(problemsOf(yaml, env)).toEqual([]);
    expect(problemsOf(yaml, env, true)).toEqual([
      expect.stringContaining('RUNWATCH_PROT'),
      expect.stringContaining('sources.default.base_url'),
    ]);
  });

  test('a misspelt variable is named beside the problem that it causes', () => {
    const result = attempt('', {
      NOXUS_API_KEY: 'n',
      RUNWATCH_HOST: '0.0.0.0',
      RUNWATCH_API_TOKN: 'x',
    });
    expect(result).toMatchObject({
      kind: 'invalid',
      problems: [{ path: ['RUNWATCH_HOST'] }],
      warnings: [{ path: ['RUNWATCH_API_TOKN'] }],
    });
  });
});

describe('config --check', () => {
  function check(flags: { strict?: boolean; json?: boolean }) {
    const said = { stdout: '', stderr: '' };
    const sink = (name: keyof typeof said) => ({
      write: (text: string) => void (said[name] += text),
    });
    const options = { check: true, strict: false, json: false, configPath: join(cwd, 'f.yaml') };
    const exitCode = showConfig(
      { ...options, ...flags },
      { stdout: sink('stdout'), stderr: sink('stderr') },
    );
    return { exitCode, ...said };
  }

  beforeAll(() => {
    // A variable of the test suite, which users do not have.
    delete process.env['RUNWATCH_TEST_REDIS_URL'];
    writeFileSync(
      join(cwd, 'f.yaml'),
      'sources: { default: { base_url: http://noxus.example.com, api_key: nox } }\n',
    );
  });

  test('config --check prints warnings on standard error and exits 0', () => {
    expect(check({})).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^ok: /),
      stderr: expect.stringMatching(/^warning: .*f\.yaml:1:23 sources\.default\.base_url: /),
    });
  });

  test('config --check --strict exits 2 and does not print ok', () => {
    expect(check({ strict: true })).toMatchObject({ exitCode: 2, stdout: '' });
  });

  test('config --check --json prints one JSON document', () => {
    const { exitCode, stdout, stderr } = check({ json: true });
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      problems: [],
      warnings: [{ key: 'sources.default.base_url', line: 1 }],
    });
    const [warning] = (JSON.parse(stdout) as { warnings: object[] }).warnings;
    expect(Object.keys(warning ?? {})).toEqual(['file', 'line', 'column', 'key', 'message']);
    expect(JSON.parse(check({ json: true, strict: true }).stdout)).toMatchObject({
      ok: false,
      problems: [{ key: 'sources.default.base_url' }],
      warnings: [],
    });
  });
});

test('RUNWATCH_EGRESS_ALLOW and RUNWATCH_PUBLIC_URL set their settings', () => {
  const env = {
    ...KEY,
    RUNWATCH_EGRESS_ALLOW: '10.0.0.0/8, 127.0.0.1:18788,',
    RUNWATCH_PUBLIC_URL: 'https://runwatch.example.com',
  };
  const result = attempt('egress: { allow: [192.168.0.0/16] }', env);
  expect(result).toMatchObject({
    kind: 'loaded',
    config: {
      egress: { allow: ['10.0.0.0/8', '127.0.0.1:18788'] },
      server: { public_url: 'https://runwatch.example.com' },
    },
  });
  expect(problemsOf('', { ...KEY, RUNWATCH_EGRESS_ALLOW: 'everything' })).toEqual([
    expect.stringContaining('RUNWATCH_EGRESS_ALLOW: expected an address, a CIDR'),
  ]);
});
