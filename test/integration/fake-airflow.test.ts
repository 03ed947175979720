import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Airflow } from '../support/apis/airflow.ts';
import { NOON } from '../support/builders.ts';

let clock: number;
let airflow: Airflow;
let token: string;

beforeEach(async () => {
  clock = NOON;
  airflow = await new Airflow({ now: () => clock }).listen();
  token = airflow.issueToken();
});

afterEach(() => airflow.close());

async function get(path: string, by: string | null = token) {
  const headers = by === null ? {} : { authorization: `Bearer ${by}` };
  const response = await fetch(`${airflow.url}/api/v2/dags/${path}`, { headers });
  return { status: response.status, body: JSON.parse(await response.text()) };
}

const pathOf = (id: string) => id.split('/').map(encodeURIComponent).join('/dagRuns/');
const read = async (id: string) => (await get(pathOf(id))).body;

async function list(query: string, dag = '~'): Promise<{ ids: string[]; total: number }> {
  const { body } = await get(`${dag}/dagRuns?${query}`);
  const runs = body.dag_runs as { dag_id: string; dag_run_id: string }[];
  return { ids: runs.map((one) => `${one.dag_id}/${one.dag_run_id}`), total: body.total_entries };
}

describe('fake Airflow: runs', () => {
  test('a run of the fake Airflow has the documented fields, and an id with colons and a plus', async () => {
    const id = airflow.trigger('daily.report');
    expect(id).toBe('daily.report/manual__2026-01-01T00:00:00.000000+00:00_1');
    expect(await read(id)).toMatchObject({
      dag_id: 'daily.report',
      dag_run_id: 'manual__2026-01-01T00:00:00.000000+00:00_1',
      state: 'queued',
      queued_at: '2026-01-01T00:00:00.000000Z',
      start_date: null,
      end_date: null,
      logical_date: null,
      run_type: 'manual',
    });
    // A plus in a path is a plus, also where a client does not escape it.
    expect((await get(id.replace('/', '/dagRuns/'))).status).toBe(200);
  });

  test.each(['success', 'failed'] as const)(
    'a run of the fake Airflow ends as %s',
    async (state) => {
      const id = airflow.trigger();
      clock += 1_000;
      airflow.setState(id, 'running');
      const start_date = '2026-01-01T00:00:01.000000Z';
      expect(await read(id)).toMatchObject({ state: 'running', start_date, end_date: null });
      clock += 5_000;
      airflow.setState(id, state);
      const end_date = '2026-01-01T00:00:06.000000Z';
      expect(await read(id)).toMatchObject({ state, start_date, end_date, duration: 5 });
    },
  );

  test('a run of the fake Airflow that is cleared is queued again', async () => {
    const id = airflow.trigger();
    airflow.setState(id, 'failed');
    clock += 1_000;
    airflow.clear(id);
    const queued_at = '2026-01-01T00:00:01.000000Z';
    expect(await read(id)).toMatchObject({ state: 'queued', queued_at, end_date: null });
  });
});

describe('fake Airflow: lists', () => {
  test('the fake Airflow lists the runs of all DAGs by offset, newest first on request', async () => {
    const ids = ['a', 'b', 'a'].map((dag) => airflow.trigger(dag));
    expect(await list('order_by=-id&limit=2&offset=0')).toEqual({
      ids: [ids[2], ids[1]],
      total: 3,
    });
    expect((await list('order_by=-id&limit=2&offset=2')).ids).toEqual([ids[0]]);
    expect((await list('order_by=-id&limit=2&offset=4')).ids).toEqual([]);
    expect((await list('', 'a')).ids).toEqual([ids[0], ids[2]]);
  });

  test('the fake Airflow lists 50 runs unless a limit is given, and at most 100', async () => {
    for (let at = 0; at < 120; at += 1) airflow.trigger();
    expect((await list('')).ids).toHaveLength(50);
    expect((await list('limit=1000')).ids).toHaveLength(100);
  });

  test('the fake Airflow rejects an order and an offset that it does not know', async () => {
    expect(await get('~/dagRuns?order_by=-color')).toMatchObject({
      status: 400,
      body: { detail: expect.stringMatching(/^Ordering with 'color' is disallowed/) },
    });
    expect(await get('~/dagRuns?offset=-1')).toMatchObject({
      status: 422,
      body: { detail: [{ loc: ['query', 'offset'] }] },
    });
  });
});

describe('fake Airflow: refusals', () => {
  test('the fake Airflow answers 404 as JSON for a run that it lacks', async () => {
    const id = airflow.trigger('a');
    airflow.delete(id);
    const run = id.slice('a/'.length);
    expect(await get(pathOf(id))).toEqual({
      status: 404,
      body: { detail: `The DagRun with dag_id: \`a\` and run_id: \`${run}\` was not found` },
    });
  });

  test('a token of the fake Airflow expires, and another one is good', async () => {
    const id = airflow.trigger();
    const short = airflow.issueToken(1_000);
    expect((await get(pathOf(id), short)).status).toBe(200);
    clock += 1_000;
    const expired = { status: 401, body: { detail: 'Token Expired' } };
    expect(await get(pathOf(id), short)).toEqual(expired);
    expect((await get(pathOf(id))).status).toBe(200);
    airflow.expireTokens();
    expect(await get(pathOf(id))).toEqual(expired);
    expect((await get(pathOf(id), airflow.issueToken())).status).toBe(200);
  });

  test('the fake Airflow gives no more than its version without a token that it issued', async () => {
    const version = await fetch(`${airflow.url}/api/v2/version`);
    expect(await version.json()).toMatchObject({ version: expect.any(String) });
    expect(await get('~/dagRuns', null)).toMatchObject({ status: 401 });
    expect(await get('~/dagRuns', 'wrong')).toMatchObject({ status: 403 });
  });
});
