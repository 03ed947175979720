import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';

const text = readFileSync(join(import.meta.dirname, '../../docker-compose.yml'), 'utf8');

/** The file with the lines that its head offers. */
const offered = text.replaceAll(
  /^( +)# (RUNWATCH_CONFIG:|SLACK_WEBHOOK_URL_FILE:|- slack-webhook-url|- \.\/runwatch\.yaml|slack-webhook-url:)/gm,
  '$1$2',
);

describe.each([
  ['as it is', text, 3],
  ['with a configuration and a secret of it', offered, 4],
])('docker-compose.yml %s', (_what, file, secrets) => {
  const compose = parse(file);
  const { environment, volumes, secrets: used } = compose.services.runwatch;

  test('gives the daemon as many secrets, each from a file, by a variable of its own', () => {
    expect(used).toHaveLength(secrets);
    const paths = Object.values(environment).filter((one) => String(one).startsWith('/run/'));
    expect(new Set(paths)).toEqual(new Set(used.map((name: string) => `/run/secrets/${name}`)));
    expect(paths).toHaveLength(secrets);
    for (const name of used) expect(compose.secrets[name].file).toBe(`./secrets/${name}`);
  });

  test('mounts the configuration that it names, read-only, and no other', () => {
    const mounted = volumes.filter((one: string) => one.includes('runwatch.yaml'));
    const named = environment.RUNWATCH_CONFIG;
    expect(mounted).toEqual(named === undefined ? [] : [`./runwatch.yaml:${named}:ro`]);
    expect(named !== undefined).toBe(file === offered);
  });
});
