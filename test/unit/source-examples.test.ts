import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/load.ts';
import { formatProblem } from '../../src/config/problems.ts';
import type { Config } from '../../src/config/schema.ts';
import type { KnownStatus } from '../../src/core/run/snapshot.ts';
import {
  fillTemplate,
  parseIdTemplate,
  parseRequestTemplate,
  splitId,
  type IdParts,
} from '../../src/core/source/run-template.ts';
import { ListReader } from '../../src/declared/listing.ts';
import { RunMapping, type MappedRun, type Values } from '../../src/declared/mapping.ts';
import { type PathTree, ScalarReader } from '../../src/declared/scalar-reader.ts';
import { runCli } from '../support/cli-harness.ts';

const ROOT = join(import.meta.dirname, '../..');
const EXAMPLES = join(ROOT, 'config/examples/sources');
const ANSWERS = join(ROOT, 'test/fixtures/sources');

/** An API, as its own documents have it. */
interface Api {
  /** The run of which its sample answers are. */
  run: string;
  /** What the documents say is asked for it, below the base URL. */
  get: string;
  /** Each documented word for a state, by what it means here. The sample answer with it has its name. */
  words: Partial<Record<KnownStatus, readonly string[]>>;
  /** Sample answers of another name. */
  others?: Record<string, KnownStatus>;
  /** Answers to `also`, of a run that seems completed, by what the run then is. */
  second?: Record<string, KnownStatus>;
  /** The list, where the example reads one. */
  list?: {
    /** What the documents say is asked for its second page, or for its only one that can be read. */
    get: string;
    /** The runs in the sample answer `list`, in its order. */
    runs: readonly (readonly [id: string, KnownStatus])[];
  };
  /** The API with whose sample answers it is tested, where that is another example. */
  answersOf?: string;
}

const GITHUB_WORDS: Api['words'] = {
  queued: ['queued', 'requested', 'pending'],
  running: ['in_progress', 'completed'],
  completed: ['success', 'neutral', 'skipped'],
  failed: ['failure', 'timed_out', 'startup_failure'],
  stopped: ['cancelled', 'stale'],
  awaiting_human_feedback: ['waiting', 'action_required'],
};

const APIS: Record<string, Api> = {
  airflow: {
    run: 'daily.report/manual__2026-11-28T00:00:00+00:00',
    get: 'api/v2/dags/daily.report/dagRuns/manual__2026-11-28T00%3A00%3A00%2B00%3A00',
    words: { queued: ['queued'], running: ['running'], completed: ['success'], failed: ['failed'] },
    list: {
      get: 'api/v2/dags/~/dagRuns?order_by=-id&limit=100&offset=100',
      runs: [
        ['hourly.sync/scheduled__2026-11-28T09:00:00+00:00', 'queued'],
        ['daily.report/manual__2026-11-28T00:00:00+00:00', 'running'],
        ['daily.report/scheduled__2026-11-27T00:00:00+00:00', 'completed'],
      ],
    },
  },
  'anthropic-batches': {
    run: 'msgbatch_013Zva2CMHLNnXjNJJKqJ2EF',
    get: 'v1/messages/batches/msgbatch_013Zva2CMHLNnXjNJJKqJ2EF',
    words: { running: ['in_progress', 'canceling'], completed: ['ended'] },
    list: {
      get: 'v1/messages/batches?limit=100',
      runs: [
        ['msgbatch_013Zva2CMHLNnXjNJJKqJ2EF', 'running'],
        ['msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d', 'completed'],
      ],
    },
  },
  'azure-operation': {
    run: '22f8de2f-6e3b-4d0c-a8a6-8b7b0e6e3a51',
    get: 'operations/22f8de2f-6e3b-4d0c-a8a6-8b7b0e6e3a51?api-version=2025-11-01',
    words: {
      queued: ['NotStarted'],
      running: ['Running'],
      completed: ['Succeeded'],
      failed: ['Failed'],
      stopped: ['Canceled'],
    },
  },
  dify: {
    run: 'fb47b2e6-5e43-4f90-be01-d5c5a088d156',
    get: 'workflows/run/fb47b2e6-5e43-4f90-be01-d5c5a088d156',
    words: {
      queued: ['scheduled'],
      running: ['running'],
      completed: ['succeeded', 'partial-succeeded'],
      failed: ['failed'],
      stopped: ['stopped'],
      awaiting_human_feedback: ['paused'],
    },
    list: {
      get: 'workflows/logs?page=2&limit=100',
      runs: [
        ['fb47b2e6-5e43-4f90-be01-d5c5a088d156', 'running'],
        ['2d9c1b7e-8a44-4b0f-93c6-7f3e5a1d0c28', 'completed'],
      ],
    },
  },
  'github-actions': {
    run: 'acme/shop/16437219845',
    get: 'repos/acme/shop/actions/runs/16437219845?exclude_pull_requests=true',
    words: GITHUB_WORDS,
    others: { 're-run': 'queued' },
  },
  'github-repository': {
    run: '16437219845',
    get: 'actions/runs/16437219845?exclude_pull_requests=true',
    words: GITHUB_WORDS,
    others: { 're-run': 'queued' },
    list: {
      get: 'actions/runs?exclude_pull_requests=true&per_page=100&page=2',
      runs: [
        ['16437301122', 'awaiting_human_feedback'],
        ['16437219845', 'running'],
        ['16437107001', 'completed'],
      ],
    },
    answersOf: 'github-actions',
  },
  'google-operation': {
    run: 'projects/acme/locations/europe-west1/operations/7219830457321',
    get: 'v1/projects/acme/locations/europe-west1/operations/7219830457321',
    words: {
      running: ['false'],
      completed: ['true'],
      stopped: ['1'],
      failed: Array.from({ length: 15 }, (_, index) => `${index + 2}`),
    },
    others: { begun: 'running' },
  },
  kestra: {
    run: '5cYFbcQjUqVf8kJXWhY2cH',
    get: 'api/v1/main/executions/5cYFbcQjUqVf8kJXWhY2cH',
    words: {
      queued: ['CREATED', 'SUBMITTED', 'QUEUED', 'RESTARTED', 'RESUBMITTED'],
      running: ['RUNNING', 'RETRYING', 'KILLING'],
      completed: ['SUCCESS', 'WARNING', 'SKIPPED'],
      failed: ['FAILED', 'RETRIED'],
      stopped: ['KILLED', 'CANCELLED'],
      awaiting_human_feedback: ['PAUSED', 'BREAKPOINT'],
    },
    list: {
      get: 'api/v1/main/executions/search?sort=state.startDate:desc&page=2&size=100',
      runs: [
        ['5cYFbcQjUqVf8kJXWhY2cH', 'running'],
        ['1KgXlwPEXPzXhKQCq2Xv4N', 'completed'],
      ],
    },
  },
  langgraph: {
    run: '8a3c7d0e-91f4-4c2b-b6a5-3d7e0f1c2b4a/1ef5b2c4-0a6d-6f38-9c1e-5b7a2d4f6e80',
    get: 'threads/8a3c7d0e-91f4-4c2b-b6a5-3d7e0f1c2b4a/runs/1ef5b2c4-0a6d-6f38-9c1e-5b7a2d4f6e80',
    words: {
      queued: ['pending'],
      running: ['running'],
      completed: ['success'],
      failed: ['error', 'timeout'],
      stopped: ['interrupted'],
    },
    second: {
      'success.state-done': 'completed',
      'success.state-interrupt': 'awaiting_human_feedback',
      'success.state-breakpoint': 'awaiting_human_feedback',
      'success.state-of-a-later-run': 'completed',
    },
  },
  n8n: {
    run: '1000',
    get: 'api/v1/executions/1000',
    words: {
      queued: ['new'],
      running: ['running', 'unknown'],
      completed: ['success'],
      failed: ['error', 'crashed'],
      stopped: ['canceled'],
      awaiting_human_feedback: ['waiting'],
    },
    list: {
      get: 'api/v1/executions?limit=250',
      runs: [
        ['1001', 'awaiting_human_feedback'],
        ['1000', 'completed'],
        ['999', 'failed'],
      ],
    },
  },
  'openai-batches': {
    run: 'batch_6901d3b0f1c881909d24e3f5c2b7a841',
    get: 'v1/batches/batch_6901d3b0f1c881909d24e3f5c2b7a841',
    words: {
      queued: ['validating'],
      running: ['in_progress', 'finalizing', 'cancelling'],
      completed: ['completed'],
      failed: ['failed', 'expired'],
      stopped: ['cancelled'],
    },
    list: {
      get: 'v1/batches?limit=100',
      runs: [
        ['batch_6901f0aa2f348190a4d2f6b1c0d9e872', 'queued'],
        ['batch_6901d3b0f1c881909d24e3f5c2b7a841', 'running'],
        ['batch_6901c2a10b0c8190b6b1b2d7c3e45f60', 'completed'],
      ],
    },
  },
  'openai-responses': {
    run: 'resp_67cb32528d6881909eb2859a55e18a85',
    get: 'v1/responses/resp_67cb32528d6881909eb2859a55e18a85',
    words: {
      queued: ['queued'],
      running: ['in_progress'],
      completed: ['completed'],
      failed: ['failed', 'incomplete'],
      stopped: ['cancelled'],
    },
  },
  prefect: {
    run: '0193b2c6-5f0e-7c41-9a3d-2f6d1b7c8e90',
    get: 'flow_runs/0193b2c6-5f0e-7c41-9a3d-2f6d1b7c8e90',
    words: {
      queued: ['SCHEDULED', 'PENDING'],
      running: ['RUNNING', 'CANCELLING'],
      completed: ['COMPLETED'],
      failed: ['FAILED', 'CRASHED'],
      stopped: ['CANCELLED'],
      awaiting_human_feedback: ['PAUSED'],
    },
  },
  replicate: {
    run: 'gm3qorzdhgbfurvjtvhg6dckhu',
    get: 'v1/predictions/gm3qorzdhgbfurvjtvhg6dckhu',
    words: {
      queued: ['starting'],
      running: ['processing'],
      completed: ['succeeded'],
      failed: ['failed', 'aborted'],
      stopped: ['canceled'],
    },
    list: {
      get: 'v1/predictions',
      runs: [
        ['gm3qorzdhgbfurvjtvhg6dckhu', 'running'],
        ['q3x5t7w2ndrmc0cn1ryvm1mnrc', 'completed'],
      ],
    },
  },
};

type HttpSource = Extract<Config['sources'][string], { type: 'http' }>;

const textOf = (api: string) => readFileSync(join(EXAMPLES, `${api}.yaml`), 'utf8');

/** The only source of a configuration, which is of type `http`. */
function load(configPath: string, env: NodeJS.ProcessEnv): HttpSource {
  const loaded = loadConfig({ purpose: 'serve', env, configPath, strict: true });
  if (loaded.kind !== 'loaded') throw new Error(loaded.problems.map(formatProblem).join('\n'));
  const [source, ...others] = Object.values(loaded.config.sources);
  if (source?.type === 'http' && others.length === 0) return source;
  throw new Error(`${configPath}: expected one source of type http`);
}

/** The folder with the sample answers of an API. */
const answersOf = (api: string) => join(ANSWERS, APIS[api]?.answersOf ?? api);

/** The source of an example, with a value for each variable that the file refers to. */
function sourceOf(api: string): HttpSource {
  const referred = [...textOf(api).matchAll(/\$\{([A-Z0-9_]+)/g)].map(([, name = '']) => name);
  const env = Object.fromEntries(
    referred.map((name) => [name, /URL|ENDPOINT/.test(name) ? 'https://api.example.com' : 'a-key']),
  );
  return load(join(EXAMPLES, `${api}.yaml`), env);
}

/** The parts of an id, by the template of a source. */
function partsOf(source: HttpSource, runId: string): IdParts {
  const parts = splitId(parseIdTemplate(source.id) ?? [], runId);
  if (parts === null) throw new Error(`${source.id} does not take ${runId}`);
  return parts;
}

function valuesOf(tree: PathTree, answer: Buffer): Values {
  const reader = new ScalarReader(tree);
  reader.push(answer);
  const scalars = reader.end();
  if (scalars.is !== 'json') throw new Error(`the answer is ${scalars.is}`);
  return scalars.values;
}

/**
 * The run that answers show.
 * @param second the answer to the request of `also`
 */
function map(source: HttpSource, runId: string, answer: Buffer, second?: Buffer): MappedRun {
  const mapping = new RunMapping(source);
  const ownId = Object.values(partsOf(source, runId)).at(-1) ?? '';
  const asked = { runId, ownId, before: null, now: 0 };
  const first = mapping.readFirst(valuesOf(mapping.tree, answer), asked);
  if ('problem' in first) throw new Error(first.problem);
  const seen =
    second === undefined
      ? first
      : mapping.withSecond(first, valuesOf(mapping.secondTree, second), asked);
  return mapping.runOf(seen, asked);
}

/** The run that sample answers show, by the mapping of the example. */
function read(api: string, answer: string, second?: string): MappedRun {
  const bytesOf = (name: string) => readFileSync(join(answersOf(api), `${name}.json`));
  const again = second === undefined ? undefined : bytesOf(second);
  return map(sourceOf(api), APIS[api]?.run ?? '', bytesOf(answer), again);
}

/** The words of an API for states, with what each means. */
const wordsOf = (api: string) =>
  Object.entries(APIS[api]?.words ?? {}).flatMap(([status, words]) =>
    words.map((word) => ({ api, word, status })),
  );

const NAMES = Object.keys(APIS);

const namesIn = (folder: string) =>
  readdirSync(folder).map((file) => file.replace(/\.(yaml|json)$/, ''));

test('the documented states of each API with an example are known here', () => {
  expect(namesIn(EXAMPLES).toSorted()).toEqual(NAMES.toSorted());
  const own = NAMES.filter((api) => APIS[api]?.answersOf === undefined);
  expect(namesIn(ANSWERS).toSorted()).toEqual(own.toSorted());
});

test('docs/sources.md has a row for each example of a source', () => {
  const page = readFileSync(join(ROOT, 'docs/sources.md'), 'utf8');
  const links = page.matchAll(/^\| \[.+?\]\(\.\.\/config\/examples\/sources\/(.+?)\.yaml\) \|/gm);
  const rows = [...links].map(([, api = '']) => api);
  expect(rows.toSorted()).toEqual(NAMES.toSorted());
});

test.each(NAMES)(
  'the example of %s passes config --check --strict, names its documents and has a rate limit',
  (api) => {
    expect(sourceOf(api).type).toBe('http');
    expect(textOf(api)).toMatch(/^# https:\/\/\S+$/m);
    expect(textOf(api)).toMatch(/^ {4}rate_limit: \{ requests: \d+, per: \w+ \}$/m);
  },
);

test.each(NAMES)('%s: a run is asked for as the documents say', (api) => {
  const source = sourceOf(api);
  const parts = partsOf(source, APIS[api]?.run ?? '');
  const parsed = parseRequestTemplate(source.run.get, Object.keys(parts));
  expect('template' in parsed && fillTemplate(parsed.template, parts)).toBe(APIS[api]?.get);
});

test.each(NAMES)('%s: there is a sample answer for each documented state', (api) => {
  const { others = {}, second = {} } = APIS[api] ?? {};
  const words = wordsOf(api).map(({ word }) => word);
  const expected = [...words, ...Object.keys(others), ...Object.keys(second)];
  const given = namesIn(answersOf(api)).filter((name) => name !== 'list');
  expect(given.toSorted()).toEqual(expected.toSorted());
});

test.each(NAMES.flatMap(wordsOf))('$api: $word is read as $status', ({ api, word, status }) => {
  const { run } = read(api, word);
  expect(run).toMatchObject({ id: APIS[api]?.run, status });
  const isNamed = Object.values(sourceOf(api).states).flat().includes(word);
  expect(run.source_status).toBe(isNamed ? word : undefined);
});

test.each(
  Object.entries(APIS).flatMap(([api, { others = {} }]) =>
    Object.entries(others).map(([answer, status]) => ({ api, answer, status })),
  ),
)('$api: the answer "$answer" is read as $status', ({ api, answer, status }) => {
  expect(read(api, answer).run.status).toBe(status);
});

test.each(
  Object.entries(APIS).flatMap(
    ([
      api,
      {
        words: { completed = [] },
        second = {},
      },
    ]) =>
      Object.entries(second).map(([answer, status]) => ({
        api,
        answer,
        status,
        word: completed[0],
      })),
  ),
)(
  '$api: with the second answer "$answer" a run is $status',
  ({ api, answer, status, word = '' }) => {
    expect(read(api, word, answer).run.status).toBe(status);
  },
);

/** The statuses that `try` shows of sample answers, with its exit code. */
async function tried(api: string, answers: readonly string[][]) {
  const folder = mkdtempSync(join(tmpdir(), 'runwatch-source-'));
  try {
    const config = join(folder, 'example.yaml');
    // No variable of a header is set: nothing is asked.
    const text = textOf(api)
      .replaceAll(/\$\{\w*(URL|ENDPOINT)\w*\}/g, 'https://api.example.com')
      .replaceAll(/\$\{\w*REPOSITORY\}/g, 'acme/shop');
    writeFileSync(config, text);
    const fileOf = (name: string) => join(answersOf(api), `${name}.json`);
    return await Promise.all(
      answers.map(async ([first = '', second]) => {
        const files = ['--answer', fileOf(first)];
        if (second !== undefined) files.push('--also-answer', fileOf(second));
        const args = ['try', APIS[api]?.run ?? '', '--config', config, ...files, '--json'];
        const { stdout, exitCode } = await runCli(args);
        const { run } = JSON.parse(stdout) as { run: { status: string } | null };
        return [first, second ?? null, run?.status, exitCode];
      }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test.each(NAMES)('%s: try --answer shows what each sample answer is read as', async (api) => {
  const { words, others = {}, second = {} } = APIS[api] ?? { words: {} };
  const [ended] = words.completed ?? [];
  const seconds = Object.entries(second);
  const expected = [
    ...wordsOf(api)
      .filter(({ word }) => seconds.length === 0 || word !== ended)
      .map(({ word, status }) => [word, null, status, 0]),
    ...Object.entries(others).map(([answer, status]) => [answer, null, status, 0]),
    ...seconds.map(([answer, status]) => [ended, answer, status, 0]),
  ];
  const answers = expected.map(([one, other]) => [
    `${one}`,
    ...(other === null ? [] : [`${other}`]),
  ]);
  expect(await tried(api, answers)).toEqual(expected);
});

/** What a page of the list of an example comes to by its sample answer, and what was asked for it. */
async function listed(api: string, page: number) {
  const source = sourceOf(api);
  const { list } = source;
  if (list === undefined) throw new Error(`the example of ${api} has no list`);
  const unread: string[] = [];
  const redact = (text: string) => text;
  const onUnreadField = (key: string) => void unread.push(key);
  let asked = '';
  const outcome = await new ListReader(source, list, { redact, onUnreadField }).readPage(
    async (request) => {
      asked = request.path;
      const intake = request.openAnswer();
      intake.take(readFileSync(join(answersOf(api), 'list.json')), 200);
      const reply = { kind: 'answer', status: 200, headers: {}, isCut: false } as const;
      return intake.read(reply, { redact, now: 0, onUnread: () => undefined });
    },
    { workflowId: null, page, size: list.size },
  );
  if (outcome.kind !== 'page') throw new Error(outcome.kind);
  return { asked, unread, runs: outcome.page.runs };
}

const LISTED = NAMES.filter((api) => APIS[api]?.list !== undefined);

test('the examples with a list are those with a sample answer of one', () => {
  expect(NAMES.filter((api) => sourceOf(api).list !== undefined)).toEqual(LISTED);
  const answered = NAMES.filter((api) => namesIn(answersOf(api)).includes('list'));
  expect(answered.filter((api) => api !== 'github-actions')).toEqual(LISTED);
});

test.each(LISTED)(
  '%s: its list is asked for as the documents say, and shows runs with their times, newest first',
  async (api) => {
    const { asked, unread, runs } = await listed(api, 2);
    const { get, runs: expected } = APIS[api]?.list ?? {};
    expect(asked).toBe(get);
    expect(runs.map(({ id, status }) => [id, status])).toEqual(expected);
    expect(unread).toEqual([]);
    const times = runs.map(({ created_at }) => Date.parse(created_at ?? ''));
    expect(times).toEqual(times.toSorted((a, b) => b - a));
  },
);

test.each(NAMES)('%s: each word of the example is a documented one', (api) => {
  const documented = new Set(wordsOf(api).map(({ word }) => word));
  const named = Object.values(sourceOf(api).states).flat();
  expect(named.filter((word) => word !== '*' && !documented.has(word))).toEqual([]);
});

test.each(NAMES)('%s: each path of the example finds a value in a sample answer', (api) => {
  const { run: declared } = sourceOf(api);
  const shown = wordsOf(api).map(({ word }) => read(api, word));
  const runs = shown.map(({ run }) => run);
  const found = {
    workflow: runs.some((run) => run.workflow_id !== null),
    workflow_name: shown.some(({ workflowName }) => workflowName !== null),
    created: runs.every((run) => run.created_at !== null),
    started: runs.some((run) => run.started_at !== null),
    finished: runs.some((run) => run.finished_at !== null),
    progress: runs.some((run) => run.progress !== null),
  };
  const empty = Object.entries(found).filter(([key, isFound]) => key in declared && !isFound);
  expect(empty).toEqual([]);
});

test('the source that docs/sources.md writes passes config --check --strict, and try shows what the page says', async () => {
  const page = readFileSync(join(ROOT, 'docs/sources.md'), 'utf8');
  const [, answer = ''] = /```json\n(.+?)```/s.exec(page) ?? [];
  const [, config = ''] = /```yaml\n(.+?)```/s.exec(page) ?? [];
  const [, shown = ''] = /```text\n(.+?)```/s.exec(page) ?? [];
  const folder = mkdtempSync(join(tmpdir(), 'runwatch-source-'));
  try {
    const configPath = join(folder, 'jobs.yaml');
    writeFileSync(configPath, config);
    expect(load(configPath, { TOKEN: 'a-key' }).type).toBe('http');
    const args = ['try', '4711', '--config', configPath, '--answer', '-'];
    const now = () => Date.parse('2026-11-30T09:14:03Z');
    const { stdout, exitCode } = await runCli(args, { stdin: answer, now });
    expect(exitCode).toBe(0);
    expect(shown.length).toBeGreaterThan(100);
    expect(stdout).toContain(shown);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
