import { readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import type { z } from 'zod';
import { readChanges } from '../../scripts/changelog.ts';
import { referencePages } from '../../scripts/docs.ts';
import { mcpTools } from '../../scripts/mcp-tools.ts';
import { endpoint } from '../../src/config/endpoint-schema.ts';
import { loadConfig } from '../../src/config/load.ts';
import { formatProblem } from '../../src/config/problems.ts';
import { presentationOf } from '../../src/config/schema-walk.ts';
import { configSchema } from '../../src/config/schema.ts';
import { ENDPOINT_TYPES, isForPeople } from '../../src/core/delivery/delivery.ts';
import { DEFAULT_EVENTS, DEFAULT_SYSTEM_EVENTS, EVENT_TYPES } from '../../src/core/event/event.ts';
import { CHECKS } from '../../src/core/health-check.ts';
import { formatDuration } from '../../src/core/time.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { runCli } from '../support/cli-harness.ts';
import { tempDir } from '../support/daemon-process.ts';

const ROOT = join(import.meta.dirname, '../..');

test('the generated pages in docs are what `npm run docs` writes', async () => {
  for (const [path, text] of Object.entries(await referencePages())) {
    expect([path, await readFile(path, 'utf8')]).toEqual([path, text]);
  }
});

test('no table of a Markdown file is aligned, so that a row more is one line of a diff', () => {
  const aligned = markdownFiles().flatMap((path) =>
    readFileSync(join(ROOT, path), 'utf8')
      .split('\n')
      .flatMap((line, at) =>
        /^\s*\|.*( {2}|-{4,}:? ?)\|/.test(line) ? [`${path}:${at + 1}`] : [],
      ),
  );
  expect(aligned).toEqual([]);
});

/** What the examples of docs/configuration.md expand. */
const SECRETS = {
  NOXUS_API_KEY: 'nox',
  RUNWATCH_API_TOKEN: 'a-token-long-enough',
  DASHBOARD_TOKEN: 'another-token-long-enough',
  JOBS_TOKEN: 'token',
  OPS_SECRET: `whsec_${Buffer.alloc(32, 1).toString('base64')}`,
  SLACK_URL: 'https://hooks.slack.com/services/T0/B0/x',
  HEARTBEAT_URL: 'https://hc-ping.com/x',
  NEW_KEY: Buffer.alloc(32, 1).toString('base64'),
  OLD_KEY: Buffer.alloc(32, 2).toString('base64'),
};

test.each(Object.keys(configSchema.shape))(
  'docs/configuration.md has a section %s, whose example has nothing that config --check warns of',
  async (name) => {
    const [, section = ''] = (await read('docs/configuration.md')).split(`\n## ${name}\n`);
    const [, example = ''] = /^\n```yaml\n([^]*?)```\n\n- `/.exec(section) ?? [];
    expect(Object.keys(parse(example) as object)).toContain(name);
    const cwd = await tempDir();
    await writeFile(join(cwd, 'runwatch.yaml'), example);
    const loaded = loadConfig({
      purpose: 'serve',
      env: { HOME: cwd, ...SECRETS },
      cwd,
      strict: true,
    });
    await rm(cwd, { recursive: true });
    const problems = loaded.kind === 'invalid' ? loaded.problems : [];
    expect([...problems, ...loaded.warnings].map(formatProblem)).toEqual([]);
    expect(loaded).toMatchObject({ kind: 'loaded', file: 'runwatch.yaml' });
  },
);

test('lines of docs/configuration.md have at most 100 columns, and its types are words', async () => {
  const page = await read('docs/configuration.md');
  expect(page.split('\n').filter((line) => line.length > 100)).toEqual([]);
  expect(page).not.toMatch(/Infinity|undefined|\[object/);
});

/** Keys of endpoints that group others. */
const GROUPS = new Set(['auth', 'tls', 'when']);

test.each(endpoint.options.map(({ shape }) => [shape.type.value, shape] as const))(
  'docs/configuration.md has each key of an endpoint of type %s with its default',
  async (kind, shape) => {
    const page = (await read('docs/configuration.md')).replaceAll('\n  ', ' ');
    const [, section = ''] = page.split(`\n### endpoint of type ${kind}\n`);
    const [list = ''] = section.split('\n#');
    const rows = list.matchAll(
      /^- `endpoints\.<name>\.(\w+)[^`]*` \(.+?; (?:default `(.+?)`|(required|optional))\): /gm,
    );
    const presets = new Map(
      [...rows].map(([, key = '', preset, word]) => {
        const isNone = GROUPS.has(key) || word === 'optional';
        return [key, isNone ? 'none' : (preset ?? word)];
      }),
    );
    const expected = Object.entries(shape).map(([key, schema]) => [key, presetOf(schema)] as const);
    expect(presets).toEqual(new Map(expected.filter(([key]) => key !== 'type')));
  },
);

/** What a key has where a file says nothing of it, as the page shows it. */
function presetOf(schema: z.ZodType): string {
  const { success, data } = schema.safeParse(undefined);
  if (!success) return 'required';
  if (data === undefined) return 'none';
  if (Array.isArray(data)) return `[${data.map(Number).map(formatDuration).join(', ')}]`;
  if (presentationOf(schema) === 'duration') return formatDuration(Number(data));
  return typeof data === 'string' ? data : JSON.stringify(data);
}

/** The Markdown files of the project, by their paths from the root. */
function markdownFiles(): string[] {
  const folders = ['docs', 'examples', 'deploy'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true }).map((name) => join(folder, String(name))),
  );
  return [...readdirSync(ROOT), ...folders].filter((path) => path.endsWith('.md'));
}

test('the README has at most 150 lines', async () => {
  const lines = (await read('README.md')).trimEnd().split('\n');
  expect(lines.length).toBeLessThanOrEqual(150);
});

test.each([...markdownFiles()])(
  'each link of %s leads to a file and heading that exist',
  (path) => {
    const text = readFileSync(join(ROOT, path), 'utf8').replaceAll(/^```[^]*?^```$/gm, '');
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
    const ours = links.filter((link) => !/^(https?|mailto):/.test(link));
    expect(ours.filter((link) => !leadsSomewhere(path, link))).toEqual([]);
  },
);

function leadsSomewhere(from: string, link: string): boolean {
  const [file = '', heading] = link.split('#');
  const path = file === '' ? join(ROOT, from) : join(ROOT, dirname(from), file);
  if (!existsSync(path)) return false;
  return heading === undefined || headingsOf(readFileSync(path, 'utf8')).includes(heading);
}

/** The headings of a page as links name them. */
function headingsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

const TESTS = join(ROOT, 'test');
const DOCUMENT = readFileSync(join(ROOT, 'docs/security.md'), 'utf8');

const named = [...DOCUMENT.matchAll(/`([\w/-]+) › ([^`]+)`/g)];

test('each promise in docs/security.md names its tests', () => {
  const rows = DOCUMENT.split('\n').filter((line) => /^\| (?!promise|party|-)/.test(line));
  expect(rows.length).toBeGreaterThan(20);
  expect(rows.filter((row) => !row.includes(' › '))).toEqual([]);
  expect(named.length).toBeGreaterThan(40);
});

test.each(named.map(([, file = '', title = '']) => [title, file]))(
  'docs/security.md names the test "%s" in %s',
  (title, file) => {
    const path = join(TESTS, `${file}.test.ts`);
    expect([path, existsSync(path)]).toEqual([path, true]);
    const source = readFileSync(path, 'utf8');
    expect(source).toMatch(
      new RegExp(`(?:describe|it|test)(?:\\.each)?[^]*?['"\`]${escaped(title)}`),
    );
  },
);

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

const read = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), 'utf8');

/** Names of metrics, histograms also by their parts. */
function knownMetrics(): Set<string> {
  const { registry } = createMetrics('1.2.3', () => Promise.reject(new Error('no store')));
  const names = registry.getMetricsAsArray().map(({ name }) => name);
  return new Set(names.flatMap((name) => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`]));
}

const metricsIn = (text: string) => [...text.matchAll(/\brunwatch_[a-z_]+/g)].map(([name]) => name);

test('the alert rules and the dashboard use metrics that exist', async () => {
  const known = knownMetrics();
  const dashboard = await read('deploy/grafana/runwatch.json');
  const { panels } = JSON.parse(dashboard) as { panels: { targets?: { expr: string }[] }[] };
  const rules = parse(await read('deploy/prometheus/rules.yaml')) as {
    groups: { rules: { expr: string }[] }[];
  };
  const expressions = [
    ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...rules.groups.flatMap((group) => group.rules.map(({ expr }) => expr)),
  ];
  expect(expressions.length).toBeGreaterThan(20);
  const used = expressions.flatMap(metricsIn);
  expect(used.filter((name) => !known.has(name))).toEqual([]);
});

test('there is an alert for every check of readiness that is not ok', async () => {
  const rules = await read('deploy/prometheus/rules.yaml');
  // Without a matcher: it fires for checks that are yet to come, too.
  expect(rules).toMatch(/expr: min without \(instance, pod\) \(runwatch_check_ok\) == 0/);
  const checks = [...rules.matchAll(/runwatch_check_ok\{check="([^"]+)"\}/g)].map(
    ([, name]) => name,
  );
  expect(CHECKS).toEqual(expect.arrayContaining(checks));
});

test('docs/operations.md says what to do about every check of readiness and every alert', async () => {
  const page = await read('docs/operations.md');
  expect(
    CHECKS.filter(
      (name) => !page.includes(`\`degraded ${name}`) && !page.includes(`\`failed ${name}`),
    ),
  ).toEqual([]);
  const alerts = await alertNames();
  expect(alerts.length).toBeGreaterThan(15);
  expect(alerts.filter((name) => !page.includes(`| \`${name}\` `))).toEqual([]);
});

test('the runbook_url of every alert leads to a heading of the documentation', async () => {
  const rules = parse(await read('deploy/prometheus/rules.yaml')) as {
    groups: { rules: { alert: string; annotations: { runbook_url?: string } }[] }[];
  };
  const alerts = rules.groups.flatMap((group) => group.rules);
  expect(alerts.length).toBeGreaterThan(15);
  const lost = alerts.filter(
    ({ annotations: { runbook_url: url = '' } }) => !leadsSomewhere('README.md', url),
  );
  expect(lost.map(({ alert }) => alert)).toEqual([]);
});

test('panels of the dashboard that are by source or endpoint follow its variables', async () => {
  const { panels, templating } = JSON.parse(await read('deploy/grafana/runwatch.json')) as {
    panels: { targets?: { expr: string }[] }[];
    templating: { list: { name: string; query: string }[] };
  };
  const queries = templating.list.filter(({ name }) => name !== 'datasource');
  expect(queries.map(({ name, query }) => [name, query])).toEqual([
    ['source', 'label_values(runwatch_source_up, source)'],
    ['endpoint', 'label_values(runwatch_endpoint_up, endpoint)'],
  ]);
  expect(
    queries.flatMap(({ query }) => metricsIn(query)).every((name) => knownMetrics().has(name)),
  ).toBe(true);
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  const fixed = expressions.filter((expr) =>
    ['source', 'endpoint'].some(
      (label) =>
        new RegExp(`by \\(${label}\\b`).test(expr) && !expr.includes(`${label}=~"$${label}"`),
    ),
  );
  expect(fixed).toEqual([]);
});

test('every alert is tested by promtool', async () => {
  const { tests } = parse(await read('deploy/prometheus/rules.test.yaml')) as {
    tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
  };
  const fired = tests
    .flatMap((one) => one.alert_rule_test)
    .filter(({ exp_alerts: alerts }) => alerts.length > 0)
    .map(({ alertname }) => alertname);
  expect(new Set(fired)).toEqual(new Set(await alertNames()));
});

async function alertNames(): Promise<string[]> {
  const rules = await read('deploy/prometheus/rules.yaml');
  return [...rules.matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name);
}

test('the rights that the documentation gives to a user of Redis are those that are tested', async () => {
  const [, documented] = /ACL SETUSER runwatch on >… (.+)/.exec(await read('docs/deploy.md')) ?? [];
  const tested = await read('test/integration/connection.test.ts');
  const [, rights = ''] = /const rights = \[(.+)\];/.exec(tested) ?? [];
  const words = [...rights.matchAll(/'([^']+)'/g)].map(([, word = '']) => word);
  expect(documented).toBe(words.join(' ').replaceAll('{connection}', '{runwatch}'));
});

test('the chart takes each key of the configuration but the data directory, which is a volume', async () => {
  const values = JSON.parse(await read('deploy/helm/runwatch/values.schema.json')) as {
    properties: { config: { properties: Record<string, unknown> } };
  };
  const keys = Object.keys(configSchema.shape).filter((key) => key !== 'data_dir');
  expect(Object.keys(values.properties.config.properties).toSorted()).toEqual(keys.toSorted());
});

test('the chart has the alert rules of deploy/prometheus', async () => {
  const rules = await read('deploy/prometheus/rules.yaml');
  expect(await read('deploy/helm/runwatch/rules.yaml')).toBe(rules);
});

test('docs/commands.md has each verb but help and version', async () => {
  const page = await read('docs/commands.md');
  const { stdout } = await runCli(['--help']);
  const [list = ''] = stdout.split('\nEnvironment:');
  const verbs = [...list.matchAll(/^  ([a-z]+) (?=.*  )/gm)].map(([, verb = '']) => verb);
  expect(verbs.length).toBeGreaterThan(25);
  const missing = verbs.filter((verb) => !new RegExp(`^runwatch ${verb}\\b`, 'm').test(page));
  expect(missing.toSorted()).toEqual(['help', 'version']);
});

test('the help of mcp names each tool', async () => {
  const tools = await mcpTools();
  expect(tools.length).toBeGreaterThan(15);
  const { stdout } = await runCli(['mcp', '--help']);
  const missing = tools.filter(({ name }) => !new RegExp(`\\b${name}\\b`).test(stdout));
  expect(missing.map(({ name }) => name)).toEqual([]);
});

test('docs/events.md says of each event of runs, and of each sent by default, whether it is sent by default', async () => {
  const [, page = ''] = (await read('docs/events.md')).split('| type | sent | by default |\n');
  const [rows = ''] = page.split('\n\n');
  const said = [...rows.matchAll(/^\| (.+?) \|.*\| (yes|no) \|$/gm)].flatMap(
    ([, names = '', isDefault]) =>
      [...names.matchAll(/`([\w.]+)`/g)].map(([, type]) => [type, isDefault]),
  );
  const byDefault = new Set<string>([...DEFAULT_EVENTS, ...DEFAULT_SYSTEM_EVENTS]);
  const types = new Set([...EVENT_TYPES, ...byDefault]);
  expect(Object.fromEntries(said)).toMatchObject(
    Object.fromEntries([...types].map((type) => [type, byDefault.has(type) ? 'yes' : 'no'])),
  );
});

test('docs/design.md names files that exist', async () => {
  const page = await read('docs/design.md');
  const paths = [...page.matchAll(/`((?:[\w.-]+\/)+[\w.-]+\.\w+)`/g)].map(([, path = '']) => path);
  expect(paths.length).toBeGreaterThan(20);
  const isThere = (path: string) => ['.', 'src'].some((root) => existsSync(join(ROOT, root, path)));
  expect(paths.filter((path) => !isThere(path))).toEqual([]);
});

test('CONTRIBUTING.md names files and scripts that exist', async () => {
  const text = await read('CONTRIBUTING.md');
  const paths = [...text.matchAll(/(?<![\w/.:-])((?:\.?[\w-]+\/)+[\w.-]*|[\w-]+\.(?:md|json))\b/g)];
  expect(paths.length).toBeGreaterThan(10);
  expect(paths.map(([path]) => path).filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  const { scripts } = JSON.parse(await read('package.json')) as { scripts: Record<string, string> };
  const ran = [...text.matchAll(/npm run ([\w:-]+)/g)].map(([, name = '']) => name);
  expect(ran.filter((name) => scripts[name] === undefined)).toEqual([]);
});

test('docs/destinations.md says what every kind of endpoint for people needs and which answers are final, and names the others', async () => {
  const page = await read('docs/destinations.md');
  const [first = ''] = /^Endpoints of type .+?\./m.exec(page) ?? [];
  const untold = ENDPOINT_TYPES.filter((type) =>
    isForPeople(type)
      ? page.split(`\n| \`${type}\` `).length !== 3
      : !first.includes(`\`${type}\``),
  );
  expect(untold).toEqual([]);
});

test('CHANGELOG.md or a file of changes names every kind of endpoint', async () => {
  const changes = await readChanges(ROOT);
  const said = [await read('CHANGELOG.md'), ...changes.map(({ text }) => text)].join('\n');
  const unnamed = ENDPOINT_TYPES.filter((type) => !new RegExp(`\\b${type}s?\\b`, 'i').test(said));
  expect(unnamed).toEqual([]);
});
