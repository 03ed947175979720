// Writes config/runwatch.schema.json, docs/configuration.md, docs/events.md, docs/mcp.md and docs/metrics.md from the code: `npm run docs`. A test compares them.
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { RENAMED_KEYS } from '../src/config/renamed-keys.ts';
import { configSchema } from '../src/config/schema.ts';
import {
  BATCH_EVENT_TYPES,
  DEFAULT_EVENTS,
  DEFAULT_SYSTEM_EVENTS,
} from '../src/core/event/event.ts';
import { groupBy } from '../src/core/arrays.ts';
import { createServer } from '../src/http/server.ts';
import { createTokens } from '../src/http/tokens.ts';
import { createMetrics } from '../src/telemetry/metrics.ts';
import { wrapped } from '../src/cli/render/text.ts';
import { EXAMPLES } from './configuration-examples.ts';
import { configurationKeys, type Key } from './configuration-page.ts';
import { configurationSchema } from './configuration-schema.ts';
import { MCP_SCOPES, mcpTools, type McpTool } from './mcp-tools.ts';
import { testDaemon } from '../test/support/daemon.ts';
import { fakeServices, servicesOf } from '../test/support/fake-services.ts';

interface Schema {
  $ref?: string;
  description?: string;
  type?: string | string[];
  format?: string;
  const?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  anyOf?: Schema[];
  items?: Schema;
  enum?: string[];
}

interface Document {
  webhooks: Record<string, { post: { summary: string } }>;
  components: { schemas: Record<string, Schema> };
}

const GENERATED = '<!-- Written by `npm run docs` from the code; edit that. -->';

/** The generated pages. @returns the text of each by its path from the root */
export async function referencePages(): Promise<Record<string, string>> {
  return {
    'config/runwatch.schema.json': await configurationSchema(),
    'docs/configuration.md': await configurationPage(),
    'docs/events.md': eventsPage(await apiDocument()),
    'docs/mcp.md': mcpPage(await mcpTools()),
    'docs/metrics.md': await metricsPage(),
  };
}

/** What each variable means, and its default; null for none. */
const VARIABLES: readonly (readonly [name: string, meaning: string, preset: string | null])[] = [
  ['`NOXUS_API_KEY`', 'API key of a workspace of Noxus, the source named `default`', null],
  ['`NOXUS_BACKEND_URL`', 'where Noxus is', '`https://backend.noxus.ai`'],
  [
    '`REDIS_URL`',
    '`redis://`, `rediss://` or `unix://`; without it the daemon runs its own Redis',
    null,
  ],
  ['`RUNWATCH_CONFIG`', 'the configuration file', '`./config/runwatch.yaml`, …'],
  [
    '`RUNWATCH_DATA_DIR`',
    'the own Redis, and the two secrets below where they are not set',
    '`$XDG_DATA_HOME/runwatch`',
  ],
  [
    '`RUNWATCH_HOST` `RUNWATCH_PORT`',
    'where the API listens; beyond loopback it needs a token',
    '`127.0.0.1` `8787`',
  ],
  ['`RUNWATCH_API_TOKEN`', 'a token with all scopes; also what the command line sends', null],
  ['`RUNWATCH_WEBHOOK_URL` `RUNWATCH_WEBHOOK_SECRET`', 'an endpoint named `default`', null],
  [
    '`RUNWATCH_SIGNING_SECRET`',
    'secrets of webhooks without their own come of it',
    'made at first start',
  ],
  [
    '`RUNWATCH_ENCRYPTION_KEY`',
    '32 bytes in base64 or hex, several by comma; encrypts secrets that come with a watch',
    'made at first start',
  ],
  [
    '`RUNWATCH_EGRESS_ALLOW`',
    "private or plain http addresses that a watch's webhook may reach",
    null,
  ],
  [
    '`RUNWATCH_PUBLIC_URL`',
    'the address by which users reach the API, as its document names it',
    null,
  ],
  ['`RUNWATCH_LOG_LEVEL`', '`trace` to `silent`', '`info`'],
  ['`RUNWATCH_URL`', 'where the command line finds the daemon', 'the API above'],
];

/** Lines of docs/configuration.md are no wider than this, but for what has no space. */
const PAGE_WIDTH = 100;

async function configurationPage(): Promise<string> {
  const keys = groupBy(await configurationKeys(), ({ path }) => sectionOf(path));
  const sections = Object.keys(configSchema.shape).map(
    (name) => [name, keys.get(name) ?? []] as const,
  );
  const links = sections.map(([name]) => `[\`${name}\`](#${name})`);
  return pageOf([
    '# Configuration',
    GENERATED,
    ...[
      'Flags win over the environment, the environment over the file, the file over the defaults. The file is named by `--config` or `RUNWATCH_CONFIG`; else it is the first of `./config/runwatch.yaml`, `./runwatch.yaml` and `/etc/runwatch/runwatch.yaml` that exists. `runwatch config --check --strict` says what is wrong with it. [`runwatch.example.yaml`](../config/runwatch.example.yaml) is a file with every key. An editor completes keys and says what is wrong where the first line of the file names [`runwatch.schema.json`](../config/runwatch.schema.json), which `runwatch config --schema` prints: `# yaml-language-server: $schema=runwatch.schema.json`.',
      '`${NAME}` stands for an environment variable, or for the content of the file that `NAME_FILE` names; `${NAME:-text}` gives a default. A duration is text such as `250ms`, `10s`, `5m`, `2h`, `7d` or `1w`, a size text such as `512mb` or `2gb`. [`sources.md`](sources.md) says how an API is declared as a source, and [`destinations.md`](destinations.md) what each type of endpoint does, with examples.',
      `Sections: ${links.join(', ')}. In each, \`<name>\` is a name of your choice, and \`[]\` an item of a list. The variables of the environment [stand below](#variables).`,
    ].map(folded),
    ...sections.flatMap(([name, its]) => configurationSection(name, its)),
    ...renamedSection(),
    '## Variables',
    folded(
      'Every secret can be given as `NAME_FILE`, a file that holds it. SIGHUP reads the file of the configuration again; [`operations.md`](operations.md#change-the-configuration) says what takes effect.',
    ),
    VARIABLES.map(([name, meaning, preset]) =>
      item(`${name}${preset === null ? '' : ` (default ${preset})`}: ${meaning}.`),
    ).join('\n'),
  ]);
}

/** The old names of keys that are still taken; nothing where there are none. */
function renamedSection(): string[] {
  if (RENAMED_KEYS.length === 0) return [];
  const items = RENAMED_KEYS.map(({ map, old, key, since, until }) =>
    item(
      `\`${map}.${old}\` is \`${map}.${key}\` since version ${since}; version ${until} does not take the old name.`,
    ),
  );
  return [
    '## Renamed keys',
    folded(
      'An old name is taken with a warning, which `runwatch config --check` and the start of the daemon print; `--strict` makes it an error. [`stability.md`](stability.md) says how long old names are taken.',
    ),
    items.join('\n'),
  ];
}

function sectionOf(path: string): string {
  return /^\w+/.exec(path)?.[0] ?? '';
}

/** An example, the keys of the section, and those of each kind of its entries. */
function configurationSection(name: string, keys: readonly Key[]): string[] {
  const example = EXAMPLES[name];
  if (example === undefined) throw new Error(`the section ${name} has no example`);
  const singular = name.replace(/s$/, '');
  return [
    `## ${name}`,
    `\`\`\`yaml${example}\n\`\`\``,
    ...[...groupBy(keys, ({ kind }) => kind)].flatMap(([kind, its]) => {
      const list = its.map(keyItem).join('\n');
      return kind === null ? [list] : [`### ${singular} of type ${kind}`, list];
    }),
  ];
}

function keyItem({ path, type, preset, meaning }: Key): string {
  const given = { none: 'optional', required: 'required' }[preset] ?? `default ${preset}`;
  return item(`\`${path}\` (${type}; ${given}): ${meaning}`);
}

function folded(paragraph: string): string {
  return wrapped(paragraph, PAGE_WIDTH).join('\n');
}

function item(text: string): string {
  return `- ${wrapped(text, PAGE_WIDTH - 2).join('\n  ')}`;
}

async function apiDocument(): Promise<Document> {
  const config = configSchema.parse({
    data_dir: '/nowhere',
    auth: { public: ['metrics', 'docs'] },
  });
  const daemon = testDaemon({ config, version: '0.0.0', tokens: createTokens([]) });
  const { signal } = new AbortController();
  const app = createServer(daemon, servicesOf(fakeServices()), signal);
  try {
    await app.ready();
    return app.swagger() as unknown as Document;
  } finally {
    await app.close();
  }
}

const BY_DEFAULT = new Set<string>([
  ...DEFAULT_EVENTS,
  ...BATCH_EVENT_TYPES,
  ...DEFAULT_SYSTEM_EVENTS,
]);

function eventsPage({ webhooks, components }: Document): string {
  const { schemas } = components;
  const types = Object.entries(webhooks).map(([type, { post }]) => [
    `\`${type}\``,
    post.summary,
    BY_DEFAULT.has(type) ? 'yes' : 'no',
  ]);
  return pageOf([
    '# Events',
    GENERATED,
    'The body of a webhook is one event: `id`, `type`, `timestamp` and `data`. The `id` belongs to the change and is the same in every attempt. The `timestamp` is when the change happened by the account of the source where it says so, else when runwatch detected it.',
    '`GET /v1/events`, the event stream and `runwatch events` give what `*` names in `events` of an endpoint: `run.*`, `watch.*`, `workflow.*`, `batch.*`, `source.unreachable`, `source.recovered`, `source.inconsistent`, `source.consistent` and `discovery.waiting`. They give the others where `type` names them: `alert.*` for alerts, `system.*` or a family such as `endpoint.*` for what is about runwatch itself. The newest 100,000 of those are kept, for `watches.retention`.',
    'An endpoint without `events` gets what is sent by default, and a webhook that is given with a watch those of its run. Alerts go to the endpoints that their rules name. A reminder of a run that waits comes after an hour and a day (`watches.remind_feedback`).',
    table(['type', 'sent', 'by default'], types),
    '## `data` of `run.*` and `watch.*`',
    fieldTable(schemas['EventData'], schemas),
    '`run` is the snapshot:',
    fieldTable(schemas['Run'], schemas),
    '## `data` of `batch.*`',
    'These go to the endpoints of the batch, else to what hears of its runs, once each, a pager of `batch.failed` alone.',
    fieldTable(schemas['BatchEventData'], schemas),
    '## `data` of `endpoint.*` and `delivery.*`',
    fieldTable(schemas['EndpointEventData'], schemas),
    '## `data` of `workflow.*`',
    fieldTable(schemas['WorkflowEventData'], schemas),
    '## `data` of other system events',
    fieldTable(schemas['SystemEventData'], schemas),
    'Further fields say how many it concerns, and what else is known.',
    '## Bodies for other systems',
    '`body: cloudevents` sends CloudEvents 1.0 in structured JSON:',
    fieldTable(schemas['CloudEvent'], schemas),
  ]);
}

function fieldTable(schema: Schema | undefined, schemas: Record<string, Schema>): string {
  const required = new Set(schema?.required);
  const rows = Object.entries(schema?.properties ?? {}).map(([name, field]) => [
    `\`${name}\``,
    typeOf(field, schemas) + (required.has(name) ? '' : ', optional'),
    descriptionOf(field, schemas),
  ]);
  return table(['field', 'type', 'meaning'], rows);
}

function typeOf(field: Schema, schemas: Record<string, Schema>): string {
  const found = resolve(field, schemas);
  if (found.const !== undefined) return `\`"${found.const}"\``;
  if (found.format === 'date-time') return 'time';
  if (found.enum) return 'string';
  if (found.anyOf) return [...new Set(found.anyOf.map((one) => typeOf(one, schemas)))].join(' or ');
  if (found.type === 'array') return `array of ${typeOf(found.items ?? {}, schemas)}`;
  if (found.properties && field.$ref !== '#/components/schemas/Run') {
    const names = Object.keys(found.properties).map((name) => `\`${name}\``);
    return `object of ${names.join(', ')}`;
  }
  return [found.type ?? 'any'].flat().join(' or ');
}

function descriptionOf(field: Schema, schemas: Record<string, Schema>): string {
  const own = field.description ?? resolve(field, schemas).description;
  if (own !== undefined) return own;
  const [first] = (field.anyOf ?? []).flatMap((one) => resolve(one, schemas).description ?? []);
  return first ?? '';
}

function resolve(field: Schema, schemas: Record<string, Schema>): Schema {
  const name = field.$ref?.split('/').at(-1);
  return name === undefined ? field : (schemas[name] ?? field);
}

function mcpPage(tools: readonly McpTool[]): string {
  const scopes = MCP_SCOPES.flatMap((scope) => {
    const its = tools.filter((tool) => tool.scope === scope);
    const rows = its.map(({ name, description = '' }) => [`\`${name}\``, description]);
    return [`### Scope \`${scope}\``, table(['tool', 'does'], rows)];
  });
  const details = tools.flatMap(({ name, inputSchema }) => [
    `### \`${name}\``,
    argumentTable(inputSchema as Schema),
  ]);
  return pageOf([
    '# AI clients',
    GENERATED,
    '`runwatch mcp` serves the Model Context Protocol over stdio. An AI client starts it, such as `claude mcp add runwatch -- runwatch mcp`; `RUNWATCH_URL` says where the daemon answers, and `RUNWATCH_API_TOKEN_FILE` names the file of its token. The token decides which tools there are: without one, those of the scope `read` alone, and nothing can be changed.',
    'The text of each answer is enough to act on: a line for each thing, with its id, its names and a link, and a last line that says how many there are and how to see more. Structured content is the answer of the API, up to 64 KiB. Names are taken as the command line takes them: a run by its id, the beginning or last part of it, or its URL; a workflow by its name; an alert, a delivery or a silence by the beginning of its id. A tool that changes something wants eight characters of an id, or the whole last part. What there is not, and an argument that a tool does not have, is an error that says what was expected.',
    'A tool that changes something says what it would touch, and does nothing, unless it is called with `confirm: true`. No tool registers a webhook, so that a client that is misled has nothing sent to a place of its choice. A silence lasts 24 h at most and never covers every event of every source. What others wrote, such as names and errors, stands in double quotes, on one line and without hidden characters. [`security.md`](security.md) says what that leaves to the client.',
    '## Tools',
    ...scopes,
    '## Resources',
    'A watched run is the resource `run://<source>/<run id>`, as text. Slashes of its id are those of the path, and other characters that a path cannot have are percent-encoded. The 20 runs that changed last are listed; names of sources and ids of runs are completed.',
    '## Arguments',
    ...details,
  ]);
}

function argumentTable(schema: Schema): string {
  const required = new Set(schema.required);
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => [
    `\`${name}\``,
    typeOf(field, {}) + (required.has(name) ? '' : ', optional'),
    field.description ?? '',
  ]);
  return table(['argument', 'type', 'meaning'], rows);
}

async function metricsPage(): Promise<string> {
  const { registry } = createMetrics('1.2.3', () =>
    Promise.reject(new Error('there is no store here')),
  );
  const ours = registry.getMetricsAsArray().filter(({ name }) => name.startsWith('runwatch_'));
  const rows = ours.map((metric) => {
    const { name, type, help, labelNames } = metric as typeof metric & { labelNames: string[] };
    return [
      `\`${name}\``,
      String(type),
      labelNames.map((label) => `\`${label}\``).join(', '),
      help,
    ];
  });
  return pageOf([
    '# Metrics',
    GENERATED,
    '`GET /metrics` gives them in the text format of Prometheus, with the default metrics of the process. Labels are names of sources and endpoints, event types, states and error codes; they hold no run id and no URL. Webhooks given with a watch count together as `per-watch`.',
    table(['metric', 'type', 'labels', 'meaning'], rows),
  ]);
}

function pageOf(paragraphs: string[]): string {
  return `${paragraphs.join('\n\n')}\n`;
}

/** A table whose columns are not aligned, so that a row more is one line of a diff. */
function table(head: string[], rows: string[][]): string {
  const lines = [head, head.map(() => '---'), ...rows];
  return lines.map((cells) => `|${cells.map(cellOf).join('')}`).join('\n');
}

function cellOf(text: string): string {
  return text === '' ? ' |' : ` ${escaped(text)} |`;
}

function escaped(cell: string): string {
  return cell.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of Object.entries(await referencePages())) await writeFile(path, text);
}
