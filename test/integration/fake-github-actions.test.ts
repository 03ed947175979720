import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { NOON } from '../support/builders.ts';
import { GithubActions } from '../support/apis/github-actions.ts';
import { waitFor } from '../support/wait-for.ts';

let clock: number;
let github: GithubActions;
let id: string;

beforeEach(async () => {
  clock = NOON;
  github = await new GithubActions({ now: () => clock }).listen();
  id = github.add({ name: 'Deploy' });
});

afterEach(() => github.close());

async function get(path: string, headers: Record<string, string> = {}) {
  const authorization = `Bearer ${github.token}`;
  const response = await fetch(`${github.url}${path}`, { headers: { authorization, ...headers } });
  const text = await response.text();
  return {
    status: response.status,
    header: (name: string) => response.headers.get(name),
    body: text === '' ? null : JSON.parse(text),
  };
}

const pathOf = (run: string, query = '') =>
  `/repos/${run.replace(/\/(?=\d)/, '/actions/runs/')}${query}`;
const read = (headers?: Record<string, string>) => get(pathOf(id), headers);

describe('fake GitHub Actions: runs', () => {
  test('a run of the fake GitHub has the documented fields, with times in whole seconds', async () => {
    clock += 1_999;
    github.setStatus(id, 'in_progress');
    const { status, body } = await get(pathOf(id, '?exclude_pull_requests=true'));
    expect(status).toBe(200);
    expect(body).toMatchObject({
      id: Number(id.split('/')[2]),
      name: 'Deploy',
      status: 'in_progress',
      conclusion: null,
      workflow_id: expect.any(Number),
      created_at: '2026-01-01T00:00:00Z',
      run_started_at: '2026-01-01T00:00:00Z',
      updated_at: '2026-01-01T00:00:01Z',
      run_attempt: 1,
      previous_attempt_url: null,
      html_url: `https://github.com/${id.replace(/\/(?=\d)/, '/actions/runs/')}`,
    });
    expect(github.requests.at(-1)?.query.get('exclude_pull_requests')).toBe('true');
  });

  test('a completed run of the fake GitHub has a conclusion', async () => {
    github.setStatus(id, { completed: 'timed_out' });
    const { body } = await read();
    expect(body).toMatchObject({ status: 'completed', conclusion: 'timed_out' });
  });

  test('a deployment of the fake GitHub waits until a reviewer approves', async () => {
    github.setStatus(id, 'waiting');
    expect((await read()).body).toMatchObject({ status: 'waiting', conclusion: null });
    github.approve(id);
    expect((await read()).body).toMatchObject({ status: 'in_progress', run_attempt: 1 });
  });

  test('a run of a first contributor at the fake GitHub is completed until a maintainer approves', async () => {
    github.setStatus(id, { completed: 'action_required' });
    const { body } = await read();
    expect(body).toMatchObject({ status: 'completed', conclusion: 'action_required' });
    github.approve(id);
    expect((await read()).body).toMatchObject({ status: 'queued', conclusion: null });
  });

  test('a run of the fake GitHub that runs again has a higher attempt and a later start', async () => {
    github.setStatus(id, { completed: 'failure' });
    clock += 60_000;
    github.rerun(id);
    expect((await read()).body).toMatchObject({
      status: 'queued',
      conclusion: null,
      run_attempt: 2,
      created_at: '2026-01-01T00:00:00Z',
      run_started_at: '2026-01-01T00:01:00Z',
      previous_attempt_url: expect.stringMatching(/\/attempts\/1$/),
    });
  });

  test('the fake GitHub ignores the case of owner and repository', async () => {
    expect((await get(pathOf(id.toUpperCase()))).status).toBe(200);
  });
});

describe('fake GitHub Actions: refusals', () => {
  test('the fake GitHub answers 404 as JSON for a run that it lacks, and without a token', async () => {
    const anonymous = await fetch(`${github.url}${pathOf(id)}`);
    expect(anonymous.status).toBe(404);
    github.delete(id);
    const { status, body, header } = await read();
    expect(status).toBe(404);
    expect(header('content-type')).toBe('application/json');
    expect(body).toMatchObject({ message: 'Not Found', status: '404' });
  });

  test('the fake GitHub answers 401 to a wrong token', async () => {
    const { status, body } = await read({ authorization: 'Bearer wrong' });
    expect({ status, body }).toMatchObject({ status: 401, body: { message: 'Bad credentials' } });
  });

  test('the fake GitHub answers 403 with the time of the reset once its limit is used up', async () => {
    github.exhaust(30_000);
    const { status, header, body } = await read();
    expect(status).toBe(403);
    expect(header('x-ratelimit-remaining')).toBe('0');
    expect(header('x-ratelimit-reset')).toBe(String(NOON / 1_000 + 30));
    expect(header('retry-after')).toBeNull();
    expect(body.message).toMatch(/rate limit exceeded/);
    const page = await get('/rate_limit');
    expect(page.status).toBe(200);
    expect(page.body.resources.core).toMatchObject({ limit: 5_000, remaining: 0, used: 5_000 });
    clock += 30_000;
    expect((await read()).header('x-ratelimit-remaining')).toBe('4999');
  });

  test('the fake GitHub answers 403 with Retry-After for its secondary limit', async () => {
    github.limitSecondarily(60);
    const { status, header, body } = await read();
    expect(status).toBe(403);
    expect(header('retry-after')).toBe('60');
    expect(header('x-ratelimit-remaining')).toBe('5000');
    expect(body.message).toMatch(/secondary rate limit/);
    clock += 60_000;
    expect((await read()).status).toBe(200);
  });
});

describe('fake GitHub Actions: conditional requests', () => {
  test('the fake GitHub answers 304 while a run is the same, which does not count', async () => {
    const first = await read();
    const etag = first.header('etag') ?? '';
    expect(first.header('x-ratelimit-used')).toBe('1');
    const second = await read({ 'if-none-match': etag });
    expect(second).toMatchObject({ status: 304, body: null });
    expect(second.header('etag')).toBe(etag);
    expect(second.header('x-ratelimit-used')).toBe('1');
    github.setStatus(id, 'in_progress');
    const third = await read({ 'if-none-match': etag });
    expect(third).toMatchObject({ status: 200, body: { status: 'in_progress' } });
    expect(third.header('etag')).not.toBe(etag);
  });
});

describe('fake GitHub Actions: gateway', () => {
  test('the answer of a gateway takes the place of all answers of the fake GitHub', async () => {
    const headers = { 'content-type': 'text/html' };
    github.instead = { status: 502, headers, body: '<h1>Unicorn!</h1>' };
    const response = await fetch(`${github.url}${pathOf(id)}`);
    expect(response.status).toBe(502);
    expect(await response.text()).toBe('<h1>Unicorn!</h1>');
  });

  test('the fake GitHub that stalls takes a request and does not answer', async () => {
    github.instead = 'stall';
    const abort = new AbortController();
    const asked = fetch(`${github.url}${pathOf(id)}`, { signal: abort.signal });
    const reason = asked.catch((error: unknown) => error);
    await waitFor(() => github.requests.length === 1);
    abort.abort();
    expect(await reason).toMatchObject({ name: 'AbortError' });
  });
});
