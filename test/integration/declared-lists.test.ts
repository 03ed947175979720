import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { PRIVATE_CANARY } from '../../src/simulator/wire-run.ts';
import { Airflow } from '../support/apis/airflow.ts';
import { tempDir } from '../support/daemon-process.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { startInside } from '../support/inside-daemon.ts';
import { testRedis } from '../support/redis.ts';
import { ScriptedApi } from '../support/scripted-api.ts';
import { waitFor } from '../support/wait-for.ts';

let receiver: Receiver;
let daemon: Awaited<ReturnType<typeof startInside>> | null = null;
let dataDir: string;
let closing: { close(): Promise<void> }[];

beforeEach(async () => {
  receiver = await startReceiver({ secrets: [] });
  dataDir = await tempDir();
  closing = [receiver];
});

afterEach(async () => {
  await daemon?.stop();
  daemon = null;
  for (const one of closing) await one.close();
  await rm(dataDir, { recursive: true });
});

async function start(source: Record<string, unknown>, polling: Record<string, unknown> = {}) {
  const { url, prefix } = testRedis();
  daemon = await startInside({
    data_dir: dataDir,
    redis: { url, prefix },
    sources: { ci: { type: 'http', rate_limit: { requests: 200, per: '1s' }, ...source } },
    polling: { min_interval: '50ms', max_interval: '1s', gone_after: '300ms', ...polling },
    endpoints: {
      hooks: { type: 'webhook', url: receiver.url, events: ['run.*', 'discovery.*'] },
    },
  });
}

async function call(method: string, path: string, body?: object): Promise<Response> {
  return fetch(`${daemon?.url}/v1/${path}`, {
    method,
    ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
}

async function watch(runIds: readonly string[]): Promise<void> {
  const watches = runIds.map((run_id) => ({ run_id }));
  expect((await call('POST', 'watches/batch', { watches })).status).toBe(200);
}

async function watchOf(runId: string) {
  const response = await call('GET', `watches/${encodeURIComponent(runId)}`);
  return response.status === 404
    ? null
    : ((await response.json()) as { state: string; run: { status: string } | null });
}

const told = () =>
  receiver.received.map(
    ({ body }) => JSON.parse(body) as { type: string; data: { run_id: string } },
  );
const toldOf = (type: string) => told().filter((event) => event.type === type);
const runsTold = (type: string) => toldOf(type).map(({ data }) => data.run_id);

const logged = (message: string) =>
  (daemon?.lines ?? [])
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ msg }) => msg === message);

const AIRFLOW = {
  id: '{dag}/{run}',
  run: {
    get: '/api/v2/dags/{dag}/dagRuns/{run}',
    id: '$.dag_run_id',
    status: '$.state',
    workflow: '$.dag_id',
    created: '$.queued_at',
    started: '$.start_date',
    finished: '$.end_date',
  },
  states: { queued: ['queued'], running: ['running'], completed: ['success'], failed: ['failed'] },
  list: {
    get: '/api/v2/dags/~/dagRuns?order_by=-id&limit={size}&offset={offset}',
    items: '$.dag_runs',
    id: { dag: '$.dag_id', run: '$.dag_run_id' },
  },
};

async function startAirflow(more: Record<string, unknown> = {}) {
  const airflow = await new Airflow().listen();
  closing.push(airflow);
  const headers = { authorization: `Bearer ${airflow.issueToken()}` };
  await start({ base_url: airflow.url, headers, ...AIRFLOW, ...more });
  const isList = ({ path }: { path: string }) => path.endsWith('/~/dagRuns');
  return {
    airflow,
    pages: () => airflow.requests.filter(isList),
    singles: () => airflow.requests.filter((request) => !isList(request)),
  };
}

const DISCOVER = { discover: { every: '200ms' } };

describe('a list with offsets', () => {
  test('it stands in for the single polls of many runs, and shows which have changed', async () => {
    const { airflow, pages, singles } = await startAirflow();
    const runIds = Array.from({ length: 120 }, (_, at) => airflow.trigger(`dag-${at % 7}`));
    for (const id of runIds) airflow.setState(id, 'running');
    await watch(runIds);
    // What is left are checks of the list.
    await waitFor(
      async () => {
        const [before, read] = [singles().length, pages().length];
        await waitFor(() => pages().length >= read + 9);
        return singles().length - before < pages().length - read;
      },
      { describe: () => `single polls to come to rest: ${singles().length}` },
    );
    const before = singles().length;
    for (const id of runIds.slice(50, 90)) airflow.setState(id, 'failed');
    await waitFor(() => runsTold('run.failed').length === 40);
    expect(new Set(runsTold('run.failed'))).toEqual(new Set(runIds.slice(50, 90)));
    // One confirming read each, and few checks of the list.
    expect(singles().length - before).toBeGreaterThanOrEqual(40);
    expect(singles().length - before).toBeLessThan(runIds.length);
    expect(logged('list.fallback')).toEqual([]);
  });

  test('runs that nobody registered are discovered over several pages and notified', async () => {
    const { airflow, pages } = await startAirflow(DISCOVER);
    const first = airflow.trigger();
    await waitFor(() => pages().length > 2);
    const later = Array.from({ length: 230 }, () => airflow.trigger());
    await waitFor(async () => (await watchOf(later[0] ?? '')) !== null);
    const all = [first, ...later];
    for (const id of all) airflow.setState(id, 'success');
    await waitFor(() => runsTold('run.completed').length >= all.length, {
      describe: () => `${runsTold('run.completed').length} ends to be told`,
    });
    expect(new Set(runsTold('run.completed'))).toEqual(new Set(all));
    expect(logged('discovery.gap')).toEqual([]);
  });

  test('nothing of an item is kept but what paths lead to', async () => {
    const { airflow, pages } = await startAirflow(DISCOVER);
    await waitFor(() => pages().length > 2);
    const id = airflow.trigger();
    airflow.setState(id, 'success');
    await waitFor(() => runsTold('run.completed').includes(id));
    const { url, prefix } = testRedis();
    const stored = JSON.stringify(await dumpRedis(url, prefix));
    const kept = [stored, daemon?.lines.join('\n'), JSON.stringify(told())].join('\n');
    expect(kept).toContain(id);
    expect(kept).not.toContain(PRIVATE_CANARY);
  });

  test('a 404 of the only run is gone, since the list shows that the source answers', async () => {
    const { airflow } = await startAirflow();
    const id = airflow.trigger();
    await watch([id]);
    await waitFor(async () => (await watchOf(id))?.run !== null);
    airflow.delete(id);
    await waitFor(() => runsTold('run.gone').includes(id));
  });

  test('a list that may not be read is reported, and registered runs are polled singly', async () => {
    const { airflow, pages } = await startAirflow({ ...DISCOVER, ...noList() });
    const runIds = Array.from({ length: 20 }, () => airflow.trigger());
    await watch(runIds);
    await waitFor(() => toldOf('discovery.unavailable').length === 1);
    for (const id of runIds) airflow.setState(id, 'success');
    await waitFor(() => runsTold('run.completed').length === runIds.length);
    expect(pages().length).toBe(0);
    expect(toldOf('discovery.unavailable')[0]?.data).toMatchObject({
      source: 'ci',
      message: 'status 404: is list.get right?',
    });
  });

  /** A list that is nowhere. */
  function noList() {
    return { list: { ...AIRFLOW.list, get: '/api/v2/runs?limit={size}&offset={offset}' } };
  }
});

interface CursorRun {
  id: string;
  status: string;
  at: string;
  /** Its attempt. */
  n: number;
  /** An attempt that it never had. */
  wrong?: number;
  next?: string;
}

/** An API with cursors, of which runwatch reads the newest page. */
class CursorApi extends ScriptedApi {
  readonly runs: CursorRun[] = [];
  #created = 0;

  constructor() {
    super();
    this.reply = ({ path, query }) => {
      if (path === '/runs') {
        const limit = Number(query.get('limit'));
        return { status: 200, body: { data: this.runs.slice(0, limit), next: 'c3VyZQ' } };
      }
      const [, kind, id] = path.split('/');
      const run = this.runs.find((one) => one.id === id);
      if (run === undefined) return { status: 404, body: {} };
      return { status: 200, body: kind === 'state' ? { run: id, next: run.next } : run };
    };
  }

  begin(status = 'busy'): string {
    const id = `run-${(this.#created += 1)}`;
    this.runs.unshift({ id, status, at: new Date().toISOString(), n: 1 });
    return id;
  }

  change(id: string, changes: Partial<CursorRun>): void {
    Object.assign(this.runs.find((run) => run.id === id) ?? {}, changes);
  }

  readsOf = (id: string) => this.requests.filter(({ path }) => path === `/run/${id}`).length;
}

const CURSORS = {
  run: { get: '/run/{run}', id: '$.id', status: '$.status', created: '$.at' },
  states: { running: ['busy'], completed: ['done'] },
  list: { get: '/runs?limit={size}', items: '$.data', size: 20 },
};

async function startCursors(more: Record<string, unknown> = {}) {
  const api = new CursorApi();
  await api.listen();
  closing.push(api);
  await start({ base_url: api.url, ...CURSORS, ...more });
  return api;
}

describe('a list of which only the newest page is read', () => {
  test('it stands in for the polls of the newest runs, and older ones are polled singly', async () => {
    const api = await startCursors();
    const runIds = Array.from({ length: 45 }, () => api.begin());
    const [old = '', newest = ''] = [runIds[0], runIds.at(-1)];
    await watch(runIds);
    const pages = () => api.requests.filter(({ path }) => path === '/runs').length;
    await waitFor(
      async () => {
        const [before, read] = [api.readsOf(newest), api.readsOf(old)];
        await waitFor(() => api.readsOf(old) > read + 2);
        return pages() > 0 && api.readsOf(newest) === before;
      },
      { describe: () => `polls of the newest to come to rest: ${api.readsOf(newest)}` },
    );
    for (const id of runIds) api.change(id, { status: 'done' });
    await waitFor(() => runsTold('run.completed').length === runIds.length);
    const lists = api.requests.filter(({ path }) => path === '/runs');
    // The first request shows whether the source answers.
    expect(new Set(lists.slice(1).map(({ query }) => query.toString()))).toEqual(
      new Set(['limit=20']),
    );
    expect(logged('list.fallback')).toEqual([]);
  });

  test('runs are discovered in it, and more at once than it shows are said to be a gap', async () => {
    const api = await startCursors(DISCOVER);
    api.begin();
    await waitFor(() => api.requests.length > 2);
    const later = Array.from({ length: 15 }, () => api.begin('done'));
    await waitFor(() => runsTold('run.completed').length === later.length);
    expect(logged('discovery.gap')).toEqual([]);
    for (let more = 0; more < 30; more += 1) api.begin('done');
    await waitFor(() => logged('discovery.gap').length > 0);
    expect(logged('discovery.gap')[0]).toMatchObject({
      source: 'ci',
      help: expect.stringContaining('discover.every'),
    });
    await waitFor(() => runsTold('run.completed').length === later.length + 20);
  });

  test('a run that it shows begun again is polled once more, and its second end has an event of its own', async () => {
    const api = await startCursors({
      ...DISCOVER,
      run: { ...CURSORS.run, attempt: '$.n' },
    });
    await waitFor(() => api.requests.length > 2);
    const id = api.begin('done');
    await waitFor(() => runsTold('run.completed').length === 1);
    api.change(id, { status: 'busy', n: 2 });
    await waitFor(() => runsTold('run.restarted').length === 1);
    api.change(id, { status: 'done' });
    await waitFor(() => runsTold('run.completed').length === 2);
    const ids = receiver.received
      .filter(({ body }) => body.includes('run.completed'))
      .map((request) => request.id);
    expect(new Set(ids).size).toBe(2);
    expect(runsTold('run.restarted')).toEqual([id]);
  });

  test('a list that errs about attempts costs few reads, and makes no event', async () => {
    const api = await startCursors({
      ...DISCOVER,
      run: { ...CURSORS.run, attempt: '$.n' },
      list: { ...CURSORS.list, attempt: '$.wrong' },
    });
    await waitFor(() => api.requests.length > 2);
    const ids = Array.from({ length: 12 }, () => api.begin('done'));
    for (const id of ids) api.change(id, { wrong: 7 });
    await waitFor(() => runsTold('run.completed').length === ids.length);
    const reads = () => ids.reduce((sum, id) => sum + api.readsOf(id), 0);
    const [before, startedAt] = [reads(), Date.now()];
    await waitFor(() => reads() >= before + ids.length);
    // Each is read again after ten seconds at the earliest.
    const most = () => ids.length * (1 + Math.floor((Date.now() - startedAt) / 10_000));
    expect(reads() - before).toBeLessThanOrEqual(most());
    expect(toldOf('run.restarted')).toEqual([]);
    expect(toldOf('run.completed')).toHaveLength(ids.length);
  });

  test('beside a second read it serves discovery alone, since it shows less', async () => {
    const api = await startCursors({
      ...DISCOVER,
      also: {
        when: ['completed'],
        get: '/state/{run}',
        id: '$.run',
        status: '$.next',
        states: { awaiting_human_feedback: ['*'] },
      },
    });
    api.begin();
    await waitFor(() => api.requests.length > 2);
    const waiting = Array.from({ length: 12 }, () => api.begin('done'));
    for (const id of waiting) api.change(id, { next: 'approval' });
    await waitFor(() => runsTold('run.awaiting_human_feedback').length === waiting.length);
    // The list has each of them done all the time.
    const reads = api.readsOf(waiting[0] ?? '');
    await waitFor(() => api.readsOf(waiting[0] ?? '') > reads + 4);
    expect(toldOf('run.completed')).toEqual([]);
    expect([...logged('list.page'), ...logged('list.fallback')]).toEqual([]);
  });
});
