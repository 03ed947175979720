import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { configSchema } from '../../src/config/schema.ts';
import { runCli } from '../support/cli-harness.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const text = readFileSync(join(ROOT, 'config/runwatch.schema.json'), 'utf8');
const isValid = new Ajv({
  strict: false,
  allErrors: true,
  formats: { uri: true, 'date-time': true },
}).compile(JSON.parse(text));

/** What an independent validator says of a file by the schema that `config --schema` prints. */
function problemsOf(yaml: string): string[] {
  return isValid(parse(yaml))
    ? []
    : (isValid.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

const EXAMPLES = [
  'config/runwatch.example.yaml',
  ...readdirSync(join(ROOT, 'config/examples'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.yaml'))
    .map((path) => `config/examples/${path}`),
];

/** The file with its commented-out examples enabled, in the place of what they override. */
const uncommented = readFileSync(join(ROOT, 'config/runwatch.example.yaml'), 'utf8')
  .replaceAll(
    /^((endpoints|workflows|time_intervals): \{\}|(rules|inhibit_rules|  tokens): \[\])$/gm,
    '',
  )
  .replaceAll(/^#(?! |$)/gm, '')
  .replaceAll(/^#(?= {2,}\S)/gm, '');

describe('the JSON Schema of the configuration', () => {
  test.each(EXAMPLES)('takes %s', (path) => {
    expect(problemsOf(readFileSync(join(ROOT, path), 'utf8'))).toEqual([]);
  });

  test('takes the example file with all that is commented out in it', () => {
    expect(problemsOf(uncommented)).toEqual([]);
  });

  test.each(EXAMPLES)('where %s names a schema, the editor finds this one', (path) => {
    const file = readFileSync(join(ROOT, path), 'utf8');
    const named = /^# yaml-language-server: \$schema=(\S+)/.exec(file)?.[1];
    const found = named && resolve(ROOT, dirname(path), named);
    expect([undefined, join(ROOT, 'config/runwatch.schema.json')]).toContain(found);
    expect(found === undefined || existsSync(found)).toBe(true);
  });

  test.each([
    ['a key that does not exist', 'server: { prot: 1 }'],
    ['a section that does not exist', 'sever: {}'],
    ['a number out of range', 'server: { port: 70000 }'],
    ['a word that is none of the known ones', 'log: { level: loud }'],
    ['a source without what its kind needs', 'sources: { gh: { type: http } }'],
    ['an endpoint of no kind', 'endpoints: { ops: { type: fax } }'],
    ['a rule without a name', 'rules: [{ events: [run.failed] }]'],
  ])('refuses %s, as the daemon does', (_what, yaml) => {
    expect(problemsOf(yaml)).not.toEqual([]);
    const given = { data_dir: '/d', ...(parse(yaml) as object) };
    expect(configSchema.safeParse(given).success).toBe(false);
  });

  test.each([
    ['a name with capitals', 'sources: { EU: { api_key: secret-key } }'],
    [
      'one text where a list may stand',
      'rules: [{ name: r, events: [run.failed], notify: [ops], when: { source: eu } }]',
    ],
  ])('takes %s, as the daemon does', (_what, yaml) => {
    expect(problemsOf(yaml)).toEqual([]);
    const given = { data_dir: '/d', ...(parse(yaml) as object) };
    expect(configSchema.safeParse(given).success).toBe(true);
  });

  test.each([
    ['a port', 'server: { port: "${PORT}" }'],
    ['a flag', 'redis: { refuse_clock_skew: "${SKEW:-false}" }'],
    ['an address', 'redis: { url: "${REDIS_URL}" }'],
    ['a level', 'log: { level: "${LEVEL}" }'],
  ])('takes a variable of the environment for %s', (_what, yaml) => {
    expect(problemsOf(yaml)).toEqual([]);
  });

  test('explains keys by what the example file says of them', () => {
    const { properties } = JSON.parse(text);
    expect(properties.server.properties.port.description).toContain('The port to listen on');
    const kinds = properties.sources.additionalProperties.oneOf;
    const http = kinds.find((one: any) => one.properties.type.const === 'http');
    expect(http.properties.base_url.description).toBeTruthy();
  });

  test('is what runwatch config --schema prints, whatever configuration there is', async () => {
    const { exitCode, stdout } = await runCli(['config', '--schema'], { env: {} });
    expect([exitCode, stdout]).toEqual([0, text]);
    expect((await runCli(['config', '--schema', '--check'], { env: {} })).exitCode).toBe(2);
  });
});
