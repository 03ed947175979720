import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/load.ts';
import { formatProblem } from '../../src/config/problems.ts';
import { configSchema, type Config } from '../../src/config/schema.ts';
import { loadTlsFiles } from '../../src/config/tls-files.ts';
import { headerProblem } from '../../src/deliver/channels/webhook.ts';
import { CERT_FOR_LOCALHOST, TEST_CA, TEST_KEY } from '../support/certificates.ts';

/** A key without a certificate here; it protects nothing. */
const OTHER_KEY = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
`;

let cwd: string;

beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'runwatch-endpoint-'));
  writeFileSync(join(cwd, 'ca.pem'), TEST_CA);
  writeFileSync(join(cwd, 'client.pem'), CERT_FOR_LOCALHOST);
  writeFileSync(join(cwd, 'key.pem'), TEST_KEY);
  writeFileSync(join(cwd, 'other-key.pem'), OTHER_KEY);
  writeFileSync(join(cwd, 'text.pem'), 'canary');
});

afterAll(() => rmSync(cwd, { recursive: true }));

interface Setting {
  purpose?: 'serve' | 'command';
  /** The scheme of the URL. */
  url?: string;
}

function load(options: string, { purpose = 'serve', url = 'https' }: Setting = {}) {
  const yaml = `sources: { default: { api_key: k } }
endpoints:
  ops:
    type: webhook
    url: ${url}://example.com/
${options}
`;
  writeFileSync(join(cwd, 'f.yaml'), yaml);
  return loadConfig({ purpose, env: {}, cwd, configPath: 'f.yaml' });
}

function problemsOf(...given: Parameters<typeof load>): string[] {
  const result = load(...given);
  return result.kind === 'invalid' ? result.problems.map(formatProblem) : [];
}

function webhookOf(...given: Parameters<typeof load>) {
  const result = load(...given);
  const endpoint: Config['endpoints'][string] | undefined =
    result.kind === 'loaded' ? result.config.endpoints['ops'] : undefined;
  if (endpoint?.type !== 'webhook') throw new Error(problemsOf(...given).join('\n'));
  return endpoint;
}

describe('the options of a webhook', () => {
  test('an omitted webhook option is absent or has its default', () => {
    expect(Object.keys(webhookOf('')).sort()).toEqual([
      'body',
      'headers',
      'retry',
      'timeout',
      'type',
      'url',
    ]);
    expect(webhookOf('').body).toBe('standard');
  });

  test("a webhook's numbers may come as the text of a variable", () => {
    expect(webhookOf('    rate: "0.5"\n    concurrency: "100"')).toMatchObject({
      rate: 0.5,
      concurrency: 100,
    });
  });

  test('a single value to match is a list of one', () => {
    expect(
      webhookOf('    when: { workflow_id: w, source: [default], metadata: { a: x, b: [y, z] } }')
        .when,
    ).toEqual({ workflow_id: ['w'], source: ['default'], metadata: { a: ['x'], b: ['y', 'z'] } });
  });

  test.each([
    [
      'rate: 0',
      'ops.rate: expected a number per second, above 0 and up to 10000, got the number 0',
    ],
    ['concurrency: 101', 'ops.concurrency: expected a whole number from 1 to 100'],
    [
      'body: cloudevent',
      'f.yaml:6:5 endpoints.ops.body: expected standard or cloudevents, got "cloudevent" (did you mean cloudevents?)',
    ],
    [
      'auth: {}',
      'f.yaml:6:5 endpoints.ops.auth.bearer: expected either bearer or basic, but it is missing',
    ],
    [
      'auth: { bearer: "${OPS_TOKEN}" }',
      'ops.auth.bearer: expected either bearer or basic, but OPS_TOKEN is not set',
    ],
    [
      'auth: { bearer: canary, basic: { username: canary, password: canary } }',
      'endpoints.ops.auth.basic: expected either bearer or basic, got a map',
    ],
    ['auth: { bearer: "canary x" }', 'auth.bearer: expected a token: ASCII without spaces'],
    ['auth: { barer: canary }', 'auth.barer: unknown key (did you mean bearer?)'],
    [
      'auth: { basic: { username: "canary:x", password: canary } }',
      'auth.basic.username: expected a user name without colons',
    ],
    ['auth: { basic: { username: a } }', 'auth.basic.password: expected a password'],
    [
      'auth: { bearer: t }\n    headers: { Authorization: canary }',
      'ops.headers.Authorization: auth sets this header already',
    ],
    ['when: { workflow: x }', 'ops.when.workflow: unknown key'],
    [
      'when: { workflow_id: [] }',
      'when.workflow_id: expected text or a list of texts, got an empty list',
    ],
    ['when: { workflow_id: 5 }', 'when.workflow_id: expected text or a list of texts'],
    ['when: { metadata: { a: [1] } }', 'when.metadata.a.0: expected text, got'],
    [
      'when: { source: defualt }',
      'ops.when.source: no source is named "defualt" (did you mean default?)',
    ],
  ])('a webhook with %s is refused', (option, problem) => {
    const problems = problemsOf(`    ${option}`).join('\n');
    expect(problems).toContain(problem);
    expect(problems).not.toContain('canary');
  });
});

test.each([
  'Connection',
  'Content-Encoding',
  'content-length',
  'content-type',
  'Expect',
  'Host',
  'HTTP2-Settings',
  'Keep-Alive',
  'Proxy-Authorization',
  'TE',
  'Trailer',
  'Transfer-Encoding',
  'Upgrade',
  'User-Agent',
  'webhook-id',
])('the header %s, which no webhook can send, is refused before anything starts', (header) => {
  expect(headerProblem(header, 'x')).toMatch(/reserved/);
  expect(problemsOf(`    headers: { ${header}: x }`)).toEqual([
    `f.yaml:6:16 endpoints.ops.headers.${header}: this header is reserved`,
  ]);
});

describe('the TLS files of a webhook', () => {
  test("a webhook's TLS files are found from the working directory, and read unchanged", () => {
    const { tls } = webhookOf(
      '    tls: { ca_file: ca.pem, cert_file: client.pem, key_file: key.pem }',
    );
    expect(tls?.ca_file).toBe(join(cwd, 'ca.pem'));
    expect(loadTlsFiles(['endpoints', 'ops'], tls!)).toEqual({
      ca: TEST_CA,
      certificate: CERT_FOR_LOCALHOST,
      key: TEST_KEY,
    });
  });

  test.each([
    [
      'ca_file: none.pem',
      () => `f.yaml:6:12 endpoints.ops.tls.ca_file: cannot read ${cwd}/none.pem (ENOENT)`,
    ],
    ['ca_file: text.pem', () => `tls.ca_file: expected a certificate in PEM in ${cwd}/text.pem`],
    ['ca_file: key.pem', () => 'tls.ca_file: expected a certificate in PEM'],
    [
      'cert_file: client.pem, key_file: text.pem',
      () => 'tls.key_file: expected a private key without a passphrase in PEM',
    ],
    [
      'cert_file: client.pem, key_file: other-key.pem',
      () => 'tls.key_file: the key is not that of the certificate',
    ],
    ['cert_file: client.pem', () => 'tls.key_file: cert_file and key_file go together'],
    ['key_file: key.pem', () => 'tls.cert_file: cert_file and key_file go together'],
    ['ca: x', () => 'tls.ca: unknown key'],
  ])('a webhook with TLS files %s is refused', (files, problem) => {
    const problems = problemsOf(`    tls: { ${files} }`).join('\n');
    expect(problems).toContain(problem());
    expect(problems).not.toContain('canary');
  });

  test('TLS files of a receiver without TLS are reported as without effect', () => {
    expect(problemsOf('    tls: { ca_file: ca.pem }', { url: 'http' })).toEqual([
      'f.yaml:6:5 endpoints.ops.tls: it has no effect, since the url is not https',
    ]);
  });

  test('only the daemon reads TLS files', () => {
    expect(problemsOf('    tls: { ca_file: none.pem }', { purpose: 'command' })).toEqual([]);
  });

  test('TLS files that vanish after the daemon started are named', () => {
    expect(() => loadTlsFiles(['endpoints', 'ops'], { ca_file: '/nowhere/ca.pem' })).toThrow(
      expect.objectContaining({
        code: 'tls_files_unusable',
        message: 'endpoints.ops.tls.ca_file: cannot read /nowhere/ca.pem (ENOENT)',
      }),
    );
  });
});

test.each([
  ['smtp://ops:100%sure@mail.example', { type: 'email', from: 'a@b.example', to: ['c@d.example'] }],
])('a bare %% in the password of %s is refused', (url, endpoint) => {
  const { error } = configSchema.safeParse({
    data_dir: '/d',
    endpoints: { mail: { ...endpoint, url } },
    egress: { proxy: url.replace('smtp', 'http') },
  });
  expect(error?.issues.map(({ path, message }) => [path.join('.'), message])).toEqual([
    ['endpoints.mail.url', expect.stringContaining('expected %25')],
    ['egress.proxy', expect.stringContaining('expected %25')],
  ]);
});
