import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { formatProblem } from '../../src/config/problems.ts';
import { ENDPOINT_TYPES } from '../../src/core/delivery/delivery.ts';
import { CHECKS } from '../../src/core/health-check.ts';
import { PROBLEMS } from '../../src/http/problem.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { runBuiltCli } from '../../test/support/built-cli.ts';
import { runCli } from '../../test/support/cli-harness.ts';
import { configurationKeys } from '../configuration-page.ts';
import { mcpTools } from '../mcp-tools.ts';
import { parseFiles } from '../syntax.ts';
import { shapeOf, textShape } from './shape.ts';
import { errorCodes, logMessages } from './source-texts.ts';
import { playStage, STALLING_NAME, type Stage } from './stage.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Everything that stays equal while the inside is rebuilt. @returns the text of each file by its name */
export async function record(): Promise<Record<string, string>> {
  const files = parseFiles(ROOT);
  const help = await helpTexts();
  const stage = await playStage();
  try {
    return {
      'openapi.json': json(await openApi(stage)),
      'problems.json': json(PROBLEMS),
      'error-codes.txt': lines(errorCodes(files)),
      'log-messages.txt': lines(logMessages(files)),
      'metrics.txt': lines(metricLines()),
      'configuration-keys.txt': lines(await configurationLines()),
      'configuration-problems.txt': lines(await configurationProblems()),
      'help.txt': [...help].map(([verb, text]) => `=== ${verb} --help\n${text}`).join('\n'),
      'mcp-tools.json': json(await mcpTools()),
      'events.json': json(eventBodies(stage)),
      'cloudevents.json': json(cloudEvents(stage)),
      'webhook-headers.txt': lines(webhookHeaders(stage)),
      'readyz.txt': lines(await readyzLines(stage)),
      'exit-codes.txt': lines(await exitCodes(stage)),
      // Last, since it changes what there is.
      'verbs.json': json(await verbAnswers(stage, help)),
    };
  } finally {
    await stage.close();
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function lines(texts: readonly string[]): string {
  return `${texts.join('\n')}\n`;
}

/** The document as the daemon answers it, without its version. */
async function openApi({ daemon }: Stage): Promise<unknown> {
  const { body } = await daemon.api<{ info: object }>('/openapi.json');
  return { ...body, info: { ...body.info, version: '<version>' } };
}

function metricLines(): string[] {
  const { registry } = createMetrics('1.2.3', () => Promise.reject(new Error('no store here')));
  return registry
    .getMetricsAsArray()
    .map((metric) => metric as typeof metric & { labelNames: string[] })
    .map(({ name, type, labelNames, help }) => `${name}{${labelNames.join(',')}} ${type}: ${help}`)
    .sort();
}

async function configurationLines(): Promise<string[]> {
  return (await configurationKeys()).map(({ path, kind, type, preset }) => {
    const of = kind === null ? '' : ` of ${kind}`;
    return `${path}${of}: ${type}, default ${preset}`;
  });
}

/** Values that few keys take. */
const WRONG = [-1.5, 'no such value', {}];

/** What is said about wrong values of each key, and about a key that there is not in each map. */
async function configurationProblems(): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'runwatch-goldens-'));
  try {
    const keys = [...new Set((await configurationKeys()).map(({ path }) => path))];
    const maps = new Set(
      keys.map((key) => key.split('.').slice(0, -1).concat('no_such_key').join('.')),
    );
    const found: string[] = [];
    for (const key of [...keys, ...maps]) {
      for (const value of WRONG) {
        const problems = await problemsOf(folder, key, value);
        found.push(...problems.map((problem) => `${key} = ${JSON.stringify(value)} -> ${problem}`));
      }
    }
    return found;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Of the types of a source or endpoint, the first that has the key. */
async function problemsOf(cwd: string, key: string, value: unknown): Promise<string[]> {
  if (key.startsWith('sources.')) return sourceProblems(cwd, key, value);
  // The log last, which has the fewest keys.
  const kinds = [...ENDPOINT_TYPES.filter((type) => type !== 'log'), 'log'];
  const types = key.startsWith('endpoints.') ? kinds : [null];
  for (const type of types) {
    const said = await problemsOfType(cwd, { key, value, type });
    const isLast = type === types.at(-1);
    if (said.length > 0 && (isLast || !said.some((line) => line.includes('unknown key')))) {
      return said;
    }
  }
  return [];
}

/** Noxus first, for which no type need be named; one of type http needs more keys, which are left out. */
async function sourceProblems(cwd: string, key: string, value: unknown): Promise<string[]> {
  const said = await problemsOfType(cwd, { key, value, type: null });
  const isOfHttp = said.some((line) =>
    /(?<!no_such_key): unknown key|: expected type: http/.test(line),
  );
  if (!isOfHttp) return said;
  const own = key.replace('<name>', 'one').replaceAll('[]', '');
  const ofHttp = await problemsOfType(cwd, { key, value, type: 'http' });
  return ofHttp.filter((line) => line.startsWith(own));
}

async function problemsOfType(
  cwd: string,
  { key, value, type }: { key: string; value: unknown; type: string | null },
): Promise<string[]> {
  await writeFile(join(cwd, 'f.yaml'), stringify(documentOf(key, value, type)));
  const result = loadConfig({ purpose: 'command', env: {}, cwd, configPath: 'f.yaml' });
  if (result.kind !== 'invalid') return [];
  return result.problems.map(formatProblem).map((line) => line.replace(/^f.yaml[\d:]* /, ''));
}

/** A document with one setting. */
function documentOf(key: string, value: unknown, type: string | null): unknown {
  const parts = key.replaceAll('[]', '.[]').split('.');
  return parts.reduceRight<unknown>((inner, part, at) => {
    if (part === '[]') return [inner];
    const name = part === '<name>' ? 'one' : part;
    return { ...(type !== null && at === 2 && name !== 'type' && { type }), [name]: inner };
  }, value);
}

/** The help of every verb by its name. */
async function helpTexts(): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  const add = async (verb: string[]): Promise<void> => {
    const { stdout } = await runCli([...verb, '--help']);
    texts.set(['runwatch', ...verb].join(' '), stdout);
    for (const name of namedVerbs(stdout)) await add([...verb, name]);
  };
  await add([]);
  return texts;
}

/** Verbs that a help lists: below `Commands:`, and in the overview below the head of each group. */
function namedVerbs(help: string): string[] {
  const [before = ''] = help.split(/^(?:Environment|Examples|Exit codes):$/m);
  const blocks = before.split('\n\n').filter((block) => /^[A-Z][\w ]+:\n/.test(block));
  return blocks
    .filter((block) => !/^(?:Options|Arguments):/.test(block))
    .flatMap((block) => [...block.matchAll(/^ {2}([a-z]+)(?= |$)/gm)].map(([, name = '']) => name));
}

/** Which part of the stage an event of a type is of; of others it is the run that completes. */
const PARTS: Readonly<Record<string, string>> = {
  'run.awaiting_human_feedback': 'waiting',
  'run.failed': 'failed',
  'run.gone': 'gone',
  'run.recovered': 'stalled',
  'run.restarted': 'again',
  'run.resumed': 'waiting',
  'run.stalled': 'stalled',
  'run.stopped': 'stopped',
  'watch.expired': 'expired',
  'watch.recovered': 'lost',
  'watch.unreachable': 'lost',
};

interface EventBody {
  type: string;
  data: { watch?: { metadata: { part: string } }; workflow_name?: string | null };
}

/** One body of each type of event, as an endpoint with `body: standard` gets it. */
function eventBodies({ all }: Stage): Record<string, unknown> {
  const bodies = all.received.map(({ body }) => JSON.parse(body) as EventBody);
  const types = [...new Set(bodies.map(({ type }) => type))].sort();
  const first = (wanted: string) => {
    const part = PARTS[wanted] ?? 'completed';
    return bodies.find(({ type, data }) => {
      if (type !== wanted) return false;
      if (type.startsWith('workflow.')) return data.workflow_name === STALLING_NAME;
      return data.watch === undefined || data.watch.metadata.part === part;
    });
  };
  return Object.fromEntries(types.map((type) => [type, shapeOf(first(type))]));
}

function cloudEvents({ cloud }: Stage): Record<string, unknown> {
  const bodies = cloud.received.map(({ body }) => JSON.parse(body) as EventBody);
  const types = [...new Set(bodies.map(({ type }) => type))].sort();
  return Object.fromEntries(
    types.map((type) => [type, shapeOf(bodies.find((body) => body.type === type))]),
  );
}

function webhookHeaders({ all, cloud }: Stage): string[] {
  return [...headersOf('standard', all.received), ...headersOf('cloudevents', cloud.received)];
}

function headersOf(body: string, [first]: Stage['all']['received']): string[] {
  return Object.entries(first?.headers ?? {})
    .filter(([name]) => name !== 'content-length')
    .map(([name, value]) => `${body} ${name}: ${headerShape(name, value)}`)
    .sort();
}

function headerShape(name: string, value: string): string {
  if (name === 'webhook-signature') return value.replace(/,.+/, ',<signature>');
  return name === 'webhook-timestamp' ? '<seconds>' : textShape(value);
}

/** The names of all checks, and the lines of a daemon some of whose sources and endpoints are not well. */
async function readyzLines({ daemon }: Stage): Promise<string[]> {
  const { body } = await daemon.api<string>('/readyz');
  const said = body
    .trim()
    .split('\n')
    .filter((line) => !line.startsWith('ok memory'));
  return [...CHECKS.map((name) => `check ${name}`), ...said.map(textShape)];
}

const given =
  (...args: string[]) =>
  async () =>
    args;

/**
 * The arguments of each verb that takes --json. Verbs that change something come last, each before those
 * that take it back.
 */
function jsonVerbs({ daemon, runs }: Stage): Record<string, () => Promise<string[]>> {
  const idFrom = async (path: string) => {
    const { body } = await daemon.api<{ data: { id: string }[] }>(path);
    return [body.data[0]?.id ?? 'nothing'];
  };
  const alert = () => idFrom('/v1/alerts');
  return {
    wait: given(runs.completed, runs.failed),
    attention: given(),
    list: given('--status', 'failed', '--limit', '1'),
    show: given(runs.failed),
    events: given('--run', runs.failed, '--type', 'run.failed'),
    alerts: given(),
    batches: given(),
    'alerts show': alert,
    workflows: given('--source', 'default'),
    polling: given('invoices'),
    sources: given(),
    deliveries: given('--run', runs.failed, '--endpoint', 'cloud'),
    endpoints: given(),
    webhooks: given(),
    'rules test': given('--since', '1h'),
    config: given(),
    doctor: given(),
    try: given(
      'gm3qorzdhgbfurvjtvhg6dckhu',
      '--config',
      'config/examples/sources/replicate.yaml',
      '--answer',
      'test/fixtures/sources/replicate/succeeded.json',
    ),
    watch: given(runs.failed, '--endpoint', 'all'),
    ack: given(runs.waiting, '--by', 'ana'),
    // Whole, while it is short: two acts may have the same time.
    audit: given(),
    'silence add': given(
      '--rule',
      'failed-runs',
      '--until',
      '2h',
      '--by',
      'ana',
      '--comment',
      'up',
    ),
    'silence list': given(),
    'silence preview': given('--rule', 'failed-runs'),
    'alerts resolve': alert,
    'sources resume': given('away'),
    redeliver: () => idFrom(`/v1/deliveries?run_id=${runs.failed}&endpoint=cloud`),
    'endpoints test': given('cloud'),
    'endpoints pause': given('cloud'),
    'endpoints resume': given('cloud'),
    'endpoints retry': given('cloud'),
    'endpoints secret': given('derived'),
    'endpoints rotate': given('cloud'),
    'webhooks end': given('--source', 'default', '--yes'),
    stop: given(runs.waiting, runs.failed, '--yes'),
    unwatch: given(runs.waiting, 'no-such-run'),
  };
}

type Help = ReadonlyMap<string, string>;

/** Verbs that need no daemon, one of which does not end; tests of the built process run them. */
const WITHOUT_DAEMON = new Set([
  'reencrypt',
  'listen',
  'store',
  'store verify',
  'store backup',
  'store restore',
]);

/** What each verb prints with --json, by kind. */
async function verbAnswers(stage: Stage, help: Help): Promise<Record<string, unknown>> {
  const verbs = jsonVerbs(stage);
  const takes = [...help]
    .filter(([, text]) => /^ +--json /m.test(text))
    .map(([verb]) => verb.slice('runwatch '.length))
    .filter((verb) => !WITHOUT_DAEMON.has(verb));
  const missing = takes.filter((verb) => verbs[verb] === undefined);
  if (missing.length > 0) throw new Error(`give the arguments of ${missing.join(', ')}`);
  const answers: Record<string, unknown> = {};
  for (const [verb, argumentsOf] of Object.entries(verbs)) {
    const line = [...verb.split(' '), ...(await argumentsOf()), '--json'];
    const { exitCode, stdout, stderr } = await answerOf(line, stage);
    const printed = jsonOf(stdout);
    answers[verb] = {
      exit_code: exitCode,
      // Of a configuration the values count, too.
      stdout: verb === 'config' ? printed : shapeOf(steady(verb, printed)),
      stderr: steadyText(verb, textShape(stderr)),
    };
  }
  return answers;
}

/** What `wait` says of runs that are over already comes as their answers do. */
function steadyText(verb: string, stderr: string): string {
  const said = stderr.split(/(?<=\n)/);
  return (verb === 'wait' ? said.toSorted() : said).join('');
}

/** Verbs that look at the machine or its files: as the built process, others within this one, which starts faster. */
const LOCAL_VERBS = new Set(['config', 'doctor']);

function answerOf(args: string[], stage: Stage) {
  const env = environmentOf(stage);
  return LOCAL_VERBS.has(args[0] ?? '')
    ? runBuiltCli(args, env)
    : runCli(args, { env, now: Date.now });
}

function environmentOf({ daemon }: Stage): Record<string, string> {
  return { RUNWATCH_URL: daemon.url, RUNWATCH_DATA_DIR: '/var/lib/runwatch', NOXUS_API_KEY: 'key' };
}

/** The document that a verb printed; where that is none, the text. */
function jsonOf(stdout: string): unknown {
  try {
    return JSON.parse(stdout);
  } catch {
    return textShape(stdout);
  }
}

/** Without what depends on the machine, or on whether a name was read in time. */
function steady(verb: string, printed: unknown): unknown {
  if (verb === 'doctor') {
    const { checks, ...others } = printed as { checks: { name: string }[] };
    return {
      ...others,
      checks: checks.map(({ name }) => ({ name, status: '', detail: '', cure: '' })),
    };
  }
  if (verb === 'workflows') {
    const { data, ...others } = printed as { data: { name: string | null }[] };
    return { ...others, data: data.filter(({ name }) => name === 'invoices') };
  }
  return printed;
}

/** The exit codes of command lines. */
async function exitCodes(stage: Stage): Promise<string[]> {
  const { runs } = stage;
  const cases: [string, string[]][] = [
    ['the version', ['--version']],
    ['help', ['--help']],
    ['no verb', []],
    ['an unknown verb', ['no-such-verb']],
    ['an unknown flag', ['list', '--no-such-flag']],
    ['a bad value of a flag', ['list', '--limit', 'many']],
    ['a run that is not watched', ['show', 'no-such-run']],
    ['an endpoint that there is not', ['endpoints', 'pause', 'no-such-endpoint']],
    ['a configuration that there is not', ['config', '--config', '/no/such/file.yaml']],
    ['wait: completed', ['wait', runs.completed]],
    ['wait: failed', ['wait', runs.failed]],
    ['wait: stopped', ['wait', runs.stopped]],
    ['wait: awaiting human feedback', ['wait', runs.waiting]],
    ['wait: timed out', ['wait', runs.waiting, '--through-feedback', '--timeout', '1s']],
    ['wait: gone', ['wait', runs.gone]],
    ['wait: the worst of several', ['wait', runs.completed, runs.failed]],
  ];
  const codes: string[] = [];
  for (const [name, args] of cases) {
    const { exitCode } = await answerOf(args, stage);
    codes.push(`${name}: ${exitCode}`);
  }
  const away = { RUNWATCH_URL: 'http://127.0.0.1:9' };
  const { exitCode } = await runCli(['list'], { env: away });
  return [...codes, `no daemon: ${exitCode}`];
}
