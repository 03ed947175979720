import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as client from '../../src/client/client.ts';
import * as webhook from '../../src/client/webhook.ts';
import { apiAnswers, apiRequests, events } from './api.ts';
import { cliExits, cliFlags, cliJson } from './command-line.ts';
import { type Direction, type Entries, type Entry, plain } from './entry.ts';
import { packageArguments, packageTypes } from './package-types.ts';
import { type JsonSchema, SchemaEntries } from './schema.ts';

interface Kind {
  direction: Direction;
  /** Reads what there is from what is generated of the code: test/goldens, docs and config; of the package, from the code. */
  read: (root: string) => Promise<Entries>;
}

/** What users rely on, by kind; docs/stability.md says what that means. */
export const KINDS: Readonly<Record<string, Kind>> = {
  configuration: { direction: 'takes', read: configuration },
  environment: { direction: 'takes', read: environment },
  'api-requests': { direction: 'takes', read: apiRequests },
  'api-answers': { direction: 'gives', read: apiAnswers },
  'api-problems': { direction: 'gives', read: apiProblems },
  events: { direction: 'gives', read: events },
  'cli-flags': { direction: 'takes', read: cliFlags },
  'cli-json': { direction: 'gives', read: cliJson },
  'cli-exits': { direction: 'gives', read: cliExits },
  metrics: { direction: 'gives', read: metrics },
  'readiness-checks': { direction: 'gives', read: readinessChecks },
  'package-exports': { direction: 'gives', read: packageExports },
  'package-types': { direction: 'gives', read: packageTypes },
  'package-arguments': { direction: 'takes', read: packageArguments },
};

async function configuration(root: string): Promise<Entries> {
  const text = await readFile(join(root, 'config/runwatch.schema.json'), 'utf8');
  const schema = JSON.parse(text) as JsonSchema & { definitions?: Record<string, JsonSchema> };
  const keys = new SchemaEntries(schema.definitions ?? {});
  keys.add('', schema, false);
  return keys.entries;
}

/** The variables that docs/configuration.md lists. */
async function environment(root: string): Promise<Entries> {
  const text = await readFile(join(root, 'docs/configuration.md'), 'utf8');
  const [, list = ''] = text.split('\n## Variables\n');
  const names = [...list.matchAll(/^- ((?:`\w+` ?)+)/gm)].flatMap(
    ([, its = '']) => its.match(/\w+/g) ?? [],
  );
  return new Map(names.map((name) => [name, plain('variable')]));
}

async function apiProblems(root: string): Promise<Entries> {
  const text = await readFile(join(root, 'test/goldens/problems.json'), 'utf8');
  const problems = Object.entries(JSON.parse(text) as Record<string, { status: number }>);
  return new Map(problems.map(([code, { status }]) => [code, plain(String(status))]));
}

/** Our own metrics; those of the process belong to its library. */
async function metrics(root: string): Promise<Entries> {
  const text = await readFile(join(root, 'test/goldens/metrics.txt'), 'utf8');
  const found = new Map<string, Entry>();
  const lines = text.matchAll(/^(runwatch_\w+)\{(.*?)\} (\w+):/gm);
  for (const [, name = '', labels = '', type = ''] of lines) {
    found.set(name, plain(type));
    for (const label of labels.match(/\w+/g) ?? []) found.set(`${name}{${label}}`, plain('label'));
  }
  return found;
}

async function readinessChecks(root: string): Promise<Entries> {
  const text = await readFile(join(root, 'test/goldens/readyz.txt'), 'utf8');
  const names = [...text.matchAll(/^check (.+)$/gm)];
  return new Map(names.map(([, name = '']) => [name, plain('check')]));
}

/** What programs import, and the methods of a client. */
function packageExports(): Promise<Entries> {
  const exported = { client, webhook, 'client createClient()': client.createClient() };
  const found = new Map<string, Entry>();
  for (const [place, values] of Object.entries(exported)) {
    for (const [name, value] of Object.entries(values))
      found.set(`${place} ${name}`, plain(typeof value));
  }
  return Promise.resolve(found);
}
