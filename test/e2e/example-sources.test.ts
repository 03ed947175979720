import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import type { EventType, RunwatchEvent } from '../../src/core/event/event.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { PRIVATE_CANARY } from '../../src/simulator/wire-run.ts';
import { Airflow } from '../support/apis/airflow.ts';
import type { ApiServer } from '../support/apis/api-server.ts';
import { GithubActions } from '../support/apis/github-actions.ts';
import { LangGraph } from '../support/apis/langgraph.ts';
import { OpenaiResponses } from '../support/apis/openai-responses.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { readAll } from '../support/daemon-listings.ts';
import {
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';
import { watchReader } from '../support/watch-reader.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const EXAMPLES = join(import.meta.dirname, '../../config/examples/sources');
const TEN_MINUTES = 600_000;
/** The daemon and its store know one another's clock to within this time. */
const CLOCK_ERROR_MS = 1_000;

let github: GithubActions;
/** Another GitHub, with its limits used up. */
let busy: GithubActions;
let graph: LangGraph;
let openai: OpenaiResponses;
/** Another OpenAI, which is down. */
let down: OpenaiResponses;
let airflow: Airflow;
let receiver: Receiver;
let daemon: DaemonProcess;
/** The file with the token of Airflow. */
let tokenFile: string;
let folder: string;

const reader = watchReader(() => daemon);

/** The source of an example, at a local address and with an ample limit. */
async function example(file: string, changes: Record<string, unknown> = {}) {
  const { sources } = parse(await readFile(join(EXAMPLES, `${file}.yaml`), 'utf8')) as {
    sources: Record<string, object>;
  };
  const rate_limit = { requests: 1_000, per: '1s' };
  return { ...Object.values(sources)[0], rate_limit, timeout: '60s', ...changes };
}

/** All that was started so far. */
const services: { close(): Promise<void> }[] = [];
const daemons: DaemonProcess[] = [];

async function listening<Service extends ApiServer>(service: Service): Promise<Service> {
  await service.listen();
  services.push(service);
  return service;
}

beforeAll(async () => {
  folder = await tempDir();
  tokenFile = join(folder, 'token');
  github = await listening(new GithubActions());
  busy = await listening(new GithubActions());
  graph = await listening(new LangGraph());
  openai = await listening(new OpenaiResponses());
  down = await listening(new OpenaiResponses());
  airflow = await listening(new Airflow());
  receiver = await startReceiver({ secrets: [SECRET] });
  services.push(receiver);
  await writeFile(tokenFile, airflow.issueToken());
  daemon = await startDaemonProcess({
    env: {
      GH_TOKEN: github.token,
      LANGGRAPH_URL: graph.url,
      LANGSMITH_API_KEY: graph.key,
      OPENAI_API_KEY: openai.key,
      AIRFLOW_URL: airflow.url,
      AIRFLOW_TOKEN_FILE: tokenFile,
    },
    config: {
      sources: {
        github: await example('github-actions', { base_url: github.url }),
        busy: await example('github-actions', { base_url: busy.url }),
        langgraph: await example('langgraph'),
        openai: await example('openai-responses', { base_url: openai.url }),
        down: await example('openai-responses', { base_url: down.url }),
        airflow: await example('airflow'),
      },
      polling: {
        min_interval: '50ms',
        max_interval: '100ms',
        gone_after: '500ms',
        unreachable_after: '1s',
        unauthorized_probe: '1s',
      },
      endpoints: {
        hooks: { type: 'webhook', url: receiver.url, secret: SECRET, events: ['*', 'system.*'] },
      },
    },
  });
  daemons.push(daemon);
});

afterAll(async () => {
  await stopAll(daemons);
  await Promise.all(services.map((one) => one.close()));
  await rm(folder, { recursive: true, force: true });
});

async function register(run_id: string, source: string): Promise<void> {
  const { status } = await daemon.api('/v1/watches', { run_id, source });
  expect(status).toBe(201);
  await reader.until(run_id, ({ polls }) => polls > 0, source);
}

const untilStatus = (id: string, source: string, status: string) =>
  reader.until(id, ({ run }) => run?.status === status, source);

const untilFinished = (id: string, source: string) =>
  reader.until(id, ({ state }) => state === 'finished', source);

/** What the receiver has about a run, oldest first, once each is signed. */
function eventsOf(runId: string): RunwatchEvent[] {
  const events = receiver.received.map(({ body, problem }) => {
    expect(problem).toBeNull();
    return JSON.parse(body) as RunwatchEvent;
  });
  return events.filter(({ data }) => data.run_id === runId);
}

const typesOf = (runId: string) => eventsOf(runId).map(({ type }) => type);

/** Waits until the receiver has an event of a run: a notice of a wait that is over is not sent. */
const untilReceived = (runId: string, type: EventType) =>
  waitFor(() => typesOf(runId).includes(type), {
    describe: () => `${type}: ${typesOf(runId).join(' ')}`,
  });

interface SourceJson {
  name: string;
  state: string;
  paused_until: string | null;
}

async function sourceJson(name: string): Promise<SourceJson> {
  const { body } = await daemon.api<{ data: SourceJson[] }>('/v1/sources');
  return body.data.find((one) => one.name === name) as SourceJson;
}

/** Waits until a source is paused. @returns until when, milliseconds since the epoch */
async function pauseOf(name: string): Promise<number> {
  const paused = await waitFor(async () => {
    const source = await sourceJson(name);
    return source.state === 'paused' && source;
  });
  return Date.parse(paused.paused_until ?? '');
}

/** Waits by the command line. */
const wait = (id: string, source: string, ...flags: string[]) =>
  runBuiltCli(['wait', id, '--source', source, ...flags], { RUNWATCH_URL: daemon.url });

describe('source of GitHub Actions', () => {
  test('a workflow run that waits for an approval is notified of by signed webhooks until it ends', async () => {
    const id = github.add({ name: 'Deploy' });
    await register(id, 'github');
    const waiting = wait(id, 'github', '--through-feedback');
    github.setStatus(id, 'in_progress');
    await untilReceived(id, 'run.started');
    github.setStatus(id, 'waiting');
    await untilReceived(id, 'run.awaiting_human_feedback');
    github.approve(id);
    await untilStatus(id, 'github', 'running');
    github.setStatus(id, { completed: 'success' });
    await untilReceived(id, 'run.completed');
    expect(await waiting).toMatchObject({ exitCode: 0 });
    expect(typesOf(id)).toEqual([
      'run.started',
      'run.awaiting_human_feedback',
      'run.resumed',
      'run.completed',
    ]);
    const end = eventsOf(id).at(-1);
    expect(end?.data).toMatchObject({
      workflow_name: 'Deploy',
      run_url: `https://github.com/${id.replace(/\/(?=\d)/, '/actions/runs/')}`,
      run: { id, workflow_id: '161335', status: 'completed', source_status: 'success' },
      watch: { source: 'github' },
    });
    expect(end?.timestamp).toBe(end?.data.run?.finished_at);
  });

  test('a re-run is notified of once it is registered again, and `wait` waits for its end', async () => {
    const id = github.add({ name: 'Deploy' });
    await register(id, 'github');
    github.setStatus(id, { completed: 'failure' });
    await untilReceived(id, 'run.failed');
    await untilFinished(id, 'github');
    github.rerun(id);
    const { status } = await daemon.api('/v1/watches', { run_id: id, source: 'github' });
    expect(status).toBe(200);
    const waiting = wait(id, 'github');
    await untilReceived(id, 'run.restarted');
    github.setStatus(id, { completed: 'success' });
    await untilReceived(id, 'run.completed');
    expect(await waiting).toMatchObject({ exitCode: 0 });
    expect(typesOf(id)).toEqual(['run.failed', 'run.restarted', 'run.completed']);
    const { stdout } = await runBuiltCli(['show', id], { RUNWATCH_URL: daemon.url });
    expect(stdout).toMatch(/attempt\s+2/);
  });

  test('a run of a fork that has concluded with action_required awaits people, and goes on', async () => {
    const id = github.add();
    github.setStatus(id, { completed: 'action_required' });
    await register(id, 'github');
    await untilReceived(id, 'run.awaiting_human_feedback');
    expect(await wait(id, 'github')).toMatchObject({ exitCode: 4 });
    github.approve(id);
    await untilStatus(id, 'github', 'queued');
    github.setStatus(id, { completed: 'failure' });
    await untilReceived(id, 'run.failed');
    expect(await wait(id, 'github')).toMatchObject({ exitCode: 1 });
  });

  test('polls of an unchanged workflow run are answered by 304, which costs nothing', async () => {
    const id = github.add();
    await register(id, 'github');
    const { polls } = await reader.get(id, 'github');
    await reader.until(id, (watch) => watch.polls > polls + 3, 'github');
    const asked = github.requests.filter(({ path }) => path.endsWith(id.split('/')[2] ?? ''));
    expect(asked.filter(({ headers }) => headers['if-none-match'] === undefined)).toHaveLength(1);
    github.setStatus(id, { completed: 'cancelled' });
    await untilReceived(id, 'run.stopped');
  });

  test('a limit that is used up pauses its source until the reset, and loses nothing', async () => {
    const id = busy.add();
    await register(id, 'busy');
    const resetAt = busy.exhaust(TEN_MINUTES);
    expect(await pauseOf('busy')).toBeGreaterThanOrEqual(resetAt - CLOCK_ERROR_MS);
    busy.setStatus(id, { completed: 'success' });
    busy.beginHour();
    await daemon.api('/v1/sources/busy/resume', {});
    await untilReceived(id, 'run.completed');
  });

  test('a secondary limit with Retry-After pauses its source as 429 does', async () => {
    const id = busy.add();
    await register(id, 'busy');
    const endsAt = Date.now() + TEN_MINUTES;
    busy.limitSecondarily(TEN_MINUTES / 1_000);
    expect(await pauseOf('busy')).toBeGreaterThanOrEqual(endsAt - CLOCK_ERROR_MS);
    busy.setStatus(id, { completed: 'success' });
    busy.limitSecondarily(0);
    await daemon.api('/v1/sources/busy/resume', {});
    await untilReceived(id, 'run.completed');
  });
});

describe('source of LangGraph', () => {
  test('a run that stops at an interrupt awaits people until a later run answers', async () => {
    const id = graph.add();
    graph.start(id);
    await register(id, 'langgraph');
    await untilStatus(id, 'langgraph', 'running');
    graph.finish(id, { status: 'success', interruptIn: 'approval' });
    await untilReceived(id, 'run.awaiting_human_feedback');
    const { run } = await reader.get(id, 'langgraph');
    expect(run).toMatchObject({ status: 'awaiting_human_feedback', finished_at: null });
    expect(await wait(id, 'langgraph')).toMatchObject({ exitCode: 4 });
    const { body } = await daemon.api('/v1/attention');
    const entry = { kind: 'awaiting', source: 'langgraph', run_id: id };
    expect(body.data).toContainEqual(expect.objectContaining(entry));
    const next = graph.resume(id);
    await untilReceived(id, 'run.completed');
    expect(typesOf(id)).toEqual(['run.awaiting_human_feedback', 'run.resumed', 'run.completed']);
    expect(eventsOf(id).at(-1)?.data.run).toMatchObject({ finished_at: null });
    await register(next, 'langgraph');
    graph.finish(next, { status: 'success' });
    await untilReceived(next, 'run.completed');
    expect(eventsOf(next).at(-1)?.data.run?.finished_at).not.toBeNull();
  });

  test('a run that stops before a node awaits people, too', async () => {
    const id = graph.add();
    graph.start(id);
    graph.finish(id, { status: 'success', pauseBefore: 'approval' });
    await register(id, 'langgraph');
    await untilReceived(id, 'run.awaiting_human_feedback');
  });

  test.each([
    ['timeout', 'run.failed'],
    ['interrupted', 'run.stopped'],
  ] as const)('a run that ends with %s is notified of as %s', async (status, type) => {
    const id = graph.add();
    graph.finish(id, { status });
    await register(id, 'langgraph');
    await untilReceived(id, type);
    expect(eventsOf(id).at(-1)?.data.run).toMatchObject({ source_status: status });
  });
});

describe('source of OpenAI responses', () => {
  test('a background response is notified of once it is incomplete, which is a failure', async () => {
    const id = openai.add();
    await register(id, 'openai');
    openai.setStatus(id, 'in_progress');
    await untilReceived(id, 'run.started');
    openai.setStatus(id, 'incomplete');
    await untilReceived(id, 'run.failed');
    expect(eventsOf(id).at(-1)?.data.run).toMatchObject({
      workflow_id: 'gpt-5.2',
      source_status: 'incomplete',
    });
  });

  test('a response that OpenAI has forgotten is gone, since the list of models shows that it answers', async () => {
    const id = openai.add();
    await register(id, 'openai');
    openai.forget(id);
    await untilReceived(id, 'run.gone');
    expect(openai.requests.some(({ path }) => path === '/v1/models')).toBe(true);
    expect(await wait(id, 'openai')).toMatchObject({ exitCode: 5 });
  });

  test('no response is gone while a gateway answers 404 in the place of OpenAI', async () => {
    const id = down.add();
    await register(id, 'down');
    const headers = { 'content-type': 'text/html' };
    down.instead = { status: 404, headers, body: '<h1>Not here</h1>' };
    await waitFor(async () => (await sourceJson('down')).state === 'unreachable');
    down.instead = null;
    down.setStatus(id, 'completed');
    await untilReceived(id, 'run.completed');
    expect(typesOf(id)).toEqual(['run.completed']);
  });
});

describe('source of Airflow', () => {
  test('a DAG run with colons and a plus in its id is polled to its end', async () => {
    const id = airflow.trigger('daily.report');
    await register(id, 'airflow');
    airflow.setState(id, 'running');
    await untilReceived(id, 'run.started');
    airflow.setState(id, 'success');
    await untilReceived(id, 'run.completed');
    expect(eventsOf(id).at(-1)?.data).toMatchObject({
      workflow_name: 'daily.report',
      run: { id, workflow_id: 'daily.report', status: 'completed', source_status: 'success' },
    });
    const { body } = await daemon.api(`/v1/watches/${encodeURIComponent(id)}`);
    expect(body).toMatchObject({ run_id: id, source: 'airflow', state: 'finished' });
  });

  test('a token that has expired is replaced by that of its file, without a restart', async () => {
    const id = airflow.trigger('nightly');
    await register(id, 'airflow');
    airflow.expireTokens();
    await waitFor(async () => (await sourceJson('airflow')).state === 'unauthorized');
    await writeFile(tokenFile, airflow.issueToken());
    airflow.setState(id, 'failed');
    await untilReceived(id, 'run.failed');
    expect(await sourceJson('airflow')).toMatchObject({ state: 'answering' });
  });
});

describe('daemon with declared sources', () => {
  test('the API finds a run by the URL of its page', async () => {
    const id = github.add();
    await register(id, 'github');
    const page = `https://github.com/${id.replace(/\/(?=\d)/, '/actions/runs/')}`;
    const { body } = await daemon.api(`/v1/lookup?q=${encodeURIComponent(page)}`);
    expect(body.data).toMatchObject([{ kind: 'run', id, source: 'github' }]);
  });

  test('a declared source gives nothing away that no path of it reads', async () => {
    const id = github.add();
    github.setStatus(id, { completed: 'success' });
    await register(id, 'github');
    await untilFinished(id, 'github');
    const events = await readAll(daemon, '/v1/events');
    const watches = await readAll(daemon, '/v1/watches');
    const given = JSON.stringify([events, watches, receiver.received, daemon.log()]);
    const secrets = [PRIVATE_CANARY, github.token, graph.key, openai.key, 'eyJhbGciOi'];
    for (const secret of secrets) expect(given).not.toContain(secret);
  });
});
