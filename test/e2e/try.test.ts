import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { parse, stringify } from 'yaml';
import type { TryView } from '../../src/cli/local/try.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { PRIVATE_CANARY } from '../../src/simulator/wire-run.ts';
import { GithubActions } from '../support/apis/github-actions.ts';
import { LangGraph } from '../support/apis/langgraph.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { tempDir } from '../support/daemon-process.ts';

const EXAMPLES = join(import.meta.dirname, '../../config/examples/sources');
/** A port on which nothing listens. */
const NOWHERE = 'http://127.0.0.1:9';

let folder: string;
let github: GithubActions;
let graph: LangGraph;
let noxus: Simulator;

/** The source of an example, at another address. */
async function example(file: string, changes: Record<string, unknown>) {
  const { sources } = parse(await readFile(join(EXAMPLES, `${file}.yaml`), 'utf8')) as {
    sources: Record<string, object>;
  };
  return { ...Object.values(sources)[0], ...changes };
}

async function write(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

const configFile = (name: string, sources: Record<string, unknown>) =>
  write(`${name}.yaml`, stringify({ sources }));

/** Everything that was printed so far. */
let printed = '';

async function run(args: string[], env: Record<string, string> = {}) {
  const output = await runBuiltCli(['try', ...args], env, { cwd: folder });
  printed += output.stdout + output.stderr;
  return output;
}

let config: string;
const env = () => ({
  GH_TOKEN: github.token,
  LANGGRAPH_URL: graph.url,
  LANGSMITH_API_KEY: graph.key,
});

/** Tries a run of the sources of all. */
const tryRun = (...args: string[]) => run([...args, '--config', config], env());

async function tryJson(...args: string[]): Promise<TryView & { exitCode: number | null }> {
  const { stdout, exitCode } = await tryRun(...args, '--json');
  return { ...(JSON.parse(stdout) as TryView), exitCode };
}

beforeAll(async () => {
  folder = await tempDir();
  github = await new GithubActions().listen();
  graph = await new LangGraph().listen();
  noxus = await startSimulator();
  config = await configFile('all', {
    github: await example('github-actions', { base_url: github.url, timeout: '2s' }),
    langgraph: await example('langgraph', {}),
    noxus: { base_url: noxus.url, api_key: noxus.apiKey },
  });
});

afterEach(() => {
  github.instead = null;
});

afterAll(async () => {
  await Promise.all([github.close(), graph.close(), noxus.close()]);
  await rm(folder, { recursive: true, force: true });
});

/** The text of a file with an answer of GitHub. */
async function answerOf(id: string): Promise<string> {
  const [owner, repo, number] = id.split('/');
  const url = `${github.url}/repos/${owner}/${repo}/actions/runs/${number}`;
  const headers = { authorization: `Bearer ${github.token}`, 'user-agent': 'test' };
  return (await fetch(url, { headers })).text();
}

describe('runwatch try, of an API that answers', () => {
  test('try shows the request, what each path finds, the status with its reason, and what follows', async () => {
    const id = github.add({ name: 'Deploy' });
    github.setStatus(id, { completed: 'failure' });
    const { stdout, stderr, exitCode } = await tryRun(id, '--source', 'github');
    expect(exitCode).toBe(0);
    const number = id.split('/')[2] ?? '';
    expect(stdout).toContain(`GET ${github.url}/repos/acme/shop/actions/runs/${number}?`);
    expect(stdout).toMatch(/answer +status 200 after \d+ms/);
    expect(stdout).toMatch(/run\.status\.0 +\$\.conclusion +failure\n/);
    expect(stdout).toMatch(/run\.status\.1 +\$\.status +completed\n/);
    expect(stdout).toMatch(/run\.workflow_name +\$\.name +Deploy\n/);
    expect(stdout).toMatch(/\nstatus +failed\n/);
    expect(stdout).toMatch(/\nworkflow +Deploy \(161335\)\n/);
    expect(stdout).toMatch(/\nlink +https:\/\/github\.com\/acme\/shop\/actions\/runs\/\d+\n/);
    expect(stdout).toContain('$.conclusion has "failure", which states.failed lists');
    expect(stdout).toMatch(/\nnext +run\.failed is sent, and the watch ends\.\n/);
    // That the fake of this test is asked over plain http is no news on loopback.
    expect(stderr).toBe('');
  });

  test('try --json has the snapshot that a daemon keeps, and one request was sent for it', async () => {
    const id = github.add();
    const asked = github.requests.length;
    const view = await tryJson(id, '--source', 'github');
    expect(view).toMatchObject({
      exitCode: 0,
      run_id: id,
      source: 'github',
      type: 'http',
      result: 'run',
      message: null,
      run: { id, status: 'queued', source_status: 'queued', workflow_id: '161335' },
      next: 'The run is polled on.',
      hints: [],
    });
    expect(view.requests).toMatchObject([
      { of: 'run', method: 'GET', recorded: null, status: 200 },
    ]);
    expect(github.requests).toHaveLength(asked + 1);
  });

  test('try takes the URL of a page for its run', async () => {
    const id = github.add();
    const url = `https://github.com/${id.replace(/\/(?=\d)/, '/actions/runs/')}`;
    expect(await tryJson(url)).toMatchObject({ run_id: id, source: 'github', exitCode: 0 });
  });

  test('a word that stands in no state ends with 1, and its list is named', async () => {
    const id = github.add();
    const text = await answerOf(id);
    github.instead = { status: 200, body: text.replace('"status":"queued"', '"status":"quued"') };
    const view = await tryJson(id, '--source', 'github');
    expect(view).toMatchObject({
      exitCode: 1,
      run: { status: 'quued' },
      reasons: ['$.status has "quued", which no status lists'],
    });
    expect(view.hints).toEqual([expect.stringMatching(/sources\.github\.states.*mean queued\?/)]);
    expect(view.next).toContain('run.status_unknown');
  });

  test('the second read of also is shown where it is asked, and only there', async () => {
    const id = graph.add();
    graph.start(id);
    const before = await tryJson(id, '--source', 'langgraph');
    expect(before.requests.map(({ of }) => of)).toEqual(['run']);
    graph.finish(id, { status: 'success', interruptIn: 'approval' });
    const view = await tryJson(id, '--source', 'langgraph');
    expect(view).toMatchObject({ exitCode: 0, run: { status: 'awaiting_human_feedback' } });
    expect(view.requests.map(({ of, url }) => [of, url])).toEqual([
      ['run', expect.stringMatching(/\/runs\/[^/]+$/)],
      ['also', expect.stringMatching(/\/state$/)],
    ]);
    expect(view.reasons).toEqual([
      '$.status has "success", which states.completed lists',
      expect.stringMatching(/^also: .*'\*' stands in also\.states\.awaiting_human_feedback$/),
    ]);
    graph.resume(id);
    const later = await tryJson(id, '--source', 'langgraph');
    expect(later).toMatchObject({ run: { status: 'completed' } });
    expect(later.reasons[1]).toContain('about another run');
  });

  test('a run of Noxus is read as well', async () => {
    const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'completed' }] });
    const view = await tryJson(id, '--source', 'noxus');
    expect(view).toMatchObject({
      exitCode: 0,
      type: 'noxus',
      run: { id, status: 'completed' },
      requests: [{ status: 200, values: [] }],
    });
    expect(view.requests[0]?.url).toContain(id);
  });
});

describe('runwatch try, of an API that shows no run', () => {
  test.each<[string, () => void, { result: string; message: string; next: string; hint: RegExp }]>([
    [
      'a 404 as JSON',
      () => (github.instead = { status: 404, body: { message: 'Not Found' } }),
      {
        result: 'not_found',
        message: 'it has no such run',
        next: 'run.gone is sent once',
        hint: /the id is right/,
      },
    ],
    [
      'a 404 of a proxy',
      () =>
        (github.instead = {
          status: 404,
          headers: { 'content-type': 'text/html' },
          body: `<h1>${PRIVATE_CANARY}</h1>`,
        }),
      {
        result: 'unavailable',
        message: "status 404 without JSON: a proxy's answer?",
        next: 'neither failed nor gone',
        hint: /sources\.github\.base_url is right/,
      },
    ],
    [
      'a 401',
      () => (github.instead = { status: 401, body: { message: PRIVATE_CANARY } }),
      {
        result: 'unauthorized',
        message: 'status 401: the headers are not accepted',
        next: 'source.unauthorized is sent',
        hint: /sources\.github\.headers/,
      },
    ],
    [
      'a 403',
      () => (github.instead = { status: 403, body: { message: PRIVATE_CANARY } }),
      {
        result: 'forbidden',
        message: 'status 403: the headers lack the right to read this',
        next: 'neither failed nor gone',
        hint: /sources\.github\.headers/,
      },
    ],
    [
      'a 429 with Retry-After',
      () => (github.instead = { status: 429, headers: { 'retry-after': '90' }, body: '' }),
      {
        result: 'rate_limited',
        message: 'status 429, asks for 90 s',
        next: 'The source is paused for 90s',
        hint: /^$/,
      },
    ],
    [
      'a redirect',
      () => (github.instead = { status: 302, headers: { location: `${NOWHERE}/login` }, body: '' }),
      {
        result: 'unavailable',
        message: 'status 302: redirects are not followed, is the base URL right?',
        next: 'neither failed nor gone',
        hint: /sources\.github\.base_url is right/,
      },
    ],
    [
      'a page in the place of JSON',
      () =>
        (github.instead = {
          status: 200,
          headers: { 'content-type': 'text/html' },
          body: `<html>${PRIVATE_CANARY}</html>`,
        }),
      {
        result: 'invalid_response',
        message: 'the body is HTML, not JSON',
        next: 'neither failed nor gone',
        hint: /base_url and sources\.github\.run\.get are those of the API/,
      },
    ],
    [
      'JSON that is of no run',
      () => (github.instead = { status: 200, body: { other: PRIVATE_CANARY } }),
      {
        result: 'invalid_response',
        message: '$.id (id): nothing stands there',
        next: 'neither failed nor gone',
        hint: /correct sources\.github\.run\.id/,
      },
    ],
    [
      'no answer in time',
      () => (github.instead = 'stall'),
      {
        result: 'unavailable',
        message: 'timed out after 2s',
        next: 'neither failed nor gone',
        hint: /sources\.github\.base_url/,
      },
    ],
  ])('try says what %s means, what follows, and what to do', async (_, arrange, expected) => {
    const id = github.add();
    arrange();
    const view = await tryJson(id, '--source', 'github');
    expect(view).toMatchObject({ exitCode: 1, result: expected.result, run: null, reasons: [] });
    expect(view.message).toContain(expected.message);
    expect(view.next).toContain(expected.next);
    expect(view.hints.join('\n')).toMatch(expected.hint);
  });

  test('a host that refuses connections is named', async () => {
    const file = await configFile('nowhere', {
      api: await example('github-actions', { base_url: NOWHERE }),
    });
    const { stdout, exitCode } = await run(['a/b/1', '--config', file], env());
    expect(exitCode).toBe(1);
    expect(stdout).toContain('127.0.0.1:9 refuses connections');
    expect(stdout).toMatch(/answer +none after/);
  });

  test('a run that a source without a probe does not have shows what a probe is for', async () => {
    const file = await configFile('blind', {
      api: await example('github-actions', { base_url: github.url, probe: undefined }),
    });
    const { stdout } = await run(['acme/shop/1', '--config', file], env());
    expect(stdout).toContain('set sources.api.probe');
  });

  test('a run that Noxus does not have is told from one that it has', async () => {
    const view = await tryJson('3f0d1f6e-6d1b-4f39-9f7c-2b1a6d5e4c3b', '--source', 'noxus');
    expect(view).toMatchObject({ exitCode: 1, type: 'noxus', result: 'not_found', run: null });
  });
});

describe('runwatch try --answer', () => {
  test('a recorded answer is read without a request and without a secret', async () => {
    const id = github.add();
    github.setStatus(id, 'in_progress');
    await write('answer.json', await answerOf(id));
    const file = await configFile('recorded', {
      github: await example('github-actions', { base_url: github.url }),
    });
    const asked = github.requests.length;
    const { stdout, exitCode } = await run([id, '--config', file, '--answer', 'answer.json']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/answer +recorded in answer\.json\n/);
    expect(stdout).toMatch(/\nstatus +running\n/);
    expect(github.requests).toHaveLength(asked);
  });
});

describe('runwatch try, called wrongly', () => {
  test('a configuration with an error is refused with its line, as serve refuses it', async () => {
    const file = await configFile('wrong', { api: { type: 'http', base_url: github.url } });
    const { stderr, exitCode } = await run(['1', '--config', file]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/wrong\.yaml:\d+:\d+ sources\.api\.run/);
  });

  test('a variable of a header that is not set is an error where the source is asked', async () => {
    const file = await configFile('unset', { github: await example('github-actions', {}) });
    const { stderr, exitCode } = await run(['acme/shop/1', '--config', file]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('GH_TOKEN is not set');
  });

  test('without any source it says how to name a configuration', async () => {
    await mkdir(join(folder, 'empty'), { recursive: true });
    const { stderr, exitCode } = await runBuiltCli(
      ['try', 'r1'],
      {},
      { cwd: join(folder, 'empty') },
    );
    expect(exitCode).toBe(2);
    expect(stderr).toContain('expected at least one source');
  });
});

test('nothing that try prints has a value outside the paths, or of a header', async () => {
  // An API that repeats the token where a path leads to.
  const id = github.add();
  const text = JSON.parse(await answerOf(id)) as object;
  github.instead = {
    status: 200,
    headers: { 'x-echo': github.token },
    body: { ...text, name: `echo ${github.token}`, workflow_id: `Bearer ${github.token}` },
  };
  const view = await tryRun(id, '--source', 'github');
  await tryRun(id, '--source', 'github', '--json');
  expect(view.exitCode).toBe(0);
  expect(view.stdout).toContain('echo [redacted]');
  expect(printed.length).toBeGreaterThan(4_000);
  for (const canary of [github.token, graph.key, noxus.apiKey, PRIVATE_CANARY]) {
    expect(printed).not.toContain(canary);
  }
});
