import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { batchResults, watchPage, watchSchema } from '../../src/http/schemas/watch.ts';
import { NO_POLLS, recordPoll } from '../../src/core/watch/poll-history.ts';
import { timelineSchema } from '../../src/http/schemas/timeline.ts';
import { aWatch, SECRET } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});

beforeEach(() => {
  server.services.store.clear();
  server.services.calls.registered.length = 0;
  server.services.calls.watchQueries.length = 0;
  server.lines.length = 0;
});

afterAll(() => server.close());

describe('registering a run', () => {
  it('a registration answers 201 with the location, and 200 for a watched run', async () => {
    const created = await server.post('/v1/watches', { run_id: 'r-1', metadata: { a: 'b' } });
    expect(created.status).toBe(201);
    expect(created.headers.get('location')).toBe('/v1/watches/r-1?source=default');
    const watch = watchSchema.strict().parse(await created.json());
    expect(watch).toMatchObject({ run_id: 'r-1', state: 'active', metadata: { a: 'b' } });

    const again = await server.post('/v1/watches', { run_id: 'r-1' });
    expect(again.status).toBe(200);
    expect(again.headers.get('location')).toBeNull();
  });

  it('a registration passes all fields of the request to the service', async () => {
    await server.post('/v1/watches', {
      run_id: 'r-1',
      source: 'default',
      webhook: { url: 'https://example.com/', headers: { authorization: 'Bearer x' } },
      timeout: '90m',
      max_delay: '5s',
      profile: 'frugal',
    });
    expect(server.services.calls.registered).toEqual([
      {
        runId: 'r-1',
        source: 'default',
        webhook: { url: 'https://example.com/', headers: { authorization: 'Bearer x' } },
        timeoutMs: 5_400_000,
        maxDelayMs: 5_000,
        profile: 'frugal',
      },
    ]);
  });

  it('a registration shows the secret of a webhook without one, alone and in a batch', async () => {
    const webhook = { url: 'https://example.com/' };
    const watches = [
      { run_id: 'r-1', webhook },
      { run_id: 'r-2', webhook: { ...webhook, secret: SECRET } },
      { run_id: 'r-3' },
    ];
    const shown = await Promise.all(
      watches.map(async (watch) => (await server.post('/v1/watches', watch)).json()),
    );
    const batch = batchResults.parse(
      await (await server.post('/v1/watches/batch', { watches })).json(),
    );
    const all = [...shown, ...batch.results.map(({ watch }) => watch)];
    expect(all.map((one) => (one as { webhook_secret?: string }).webhook_secret)).toEqual([
      SECRET,
      undefined,
      undefined,
      SECRET,
      undefined,
      undefined,
    ]);
    expect(await (await server.fetch('/v1/watches/r-1')).text()).not.toContain(SECRET);
  });

  it('a registration takes a body of exactly 1 MiB', async () => {
    const body = JSON.stringify({ run_id: 'r-1' }).padEnd(1_048_576, ' ');
    const headers = { 'content-type': 'application/json' };
    const response = await server.fetch('/v1/watches', { method: 'POST', body, headers });
    expect(response.status).toBe(201);
  });

  it('a registration leaves one log line at debug, without the body', async () => {
    await server.post('/v1/watches', { run_id: 'r-1', metadata: { canary: 'private' } });
    expect(server.lines).toEqual([
      {
        level: 'debug',
        message: 'http request',
        fields: {
          method: 'POST',
          route: '/v1/watches',
          status: 201,
          duration_ms: expect.any(Number),
          token: null,
        },
      },
    ]);
  });
});

describe('registering a batch', () => {
  it('a batch answers for each item in order, and a bad one spoils no other', async () => {
    server.services.store.set('known', aWatch({ runId: 'known' }));
    const response = await server.post('/v1/watches/batch', {
      watches: [
        { run_id: 'new-1' },
        { run_id: 'new-2', timeout: 'soon' },
        'not an object',
        { run_id: 'nope-by-the-service' },
        { run_id: 'known' },
        { run_id: 7 },
        null,
        { run_id: 'new-3' },
      ],
    });
    expect(response.status).toBe(200);
    const { results } = batchResults.strict().parse(await response.json());
    expect(results.map(({ run_id: runId, status }) => [runId, status])).toEqual([
      ['new-1', 201],
      ['new-2', 422],
      [null, 422],
      ['nope-by-the-service', 422],
      ['known', 200],
      [null, 422],
      [null, 422],
      ['new-3', 201],
    ]);
    expect(results[0]?.watch).toMatchObject({ run_id: 'new-1' });
    expect(results[1]?.error).toEqual({
      code: 'invalid_request',
      detail: expect.stringContaining('watches.1.timeout'),
      errors: [{ path: 'watches.1.timeout', message: expect.stringContaining('a duration') }],
    });
    expect(results[3]?.error?.errors[0]?.path).toBe('watches.3.source');
    expect(results[7]?.watch).toMatchObject({ run_id: 'new-3' });
    expect([...server.services.store.keys()]).toEqual(['known', 'new-1', 'new-3']);
  });

  it('a batch takes 1,000 watches', async () => {
    const watches = Array.from({ length: 1_000 }, (_, i) => ({ run_id: `r-${i}` }));
    const response = await server.post('/v1/watches/batch', { watches });
    const { results } = batchResults.parse(await response.json());
    expect(results.filter(({ status }) => status === 201)).toHaveLength(1_000);
  });

  it('a run with the id batch is readable', async () => {
    server.services.store.set('batch', aWatch({ runId: 'batch' }));
    expect((await server.fetch('/v1/watches/batch')).status).toBe(200);
  });
});

describe('reading and ending watches', () => {
  beforeEach(() => {
    server.services.store.set('r-1', aWatch({ runId: 'r-1' }));
  });

  it('watches are listed by the filters of the query', async () => {
    const query =
      'state=active&status=running&source=default&workflow_id=w&limit=7&cursor=c1' +
      '&metadata.team=ml&metadata.a.b=%C3%BC&since=1h&until=2025-05-04T10:00:00Z&order=changed';
    const response = await server.fetch(`/v1/watches?${query}`);
    const page = watchPage.strict().parse(await response.json());
    expect(page).toMatchObject({ data: [{ run_id: 'r-1' }], next_cursor: null });
    expect(page).toMatchObject({ total: 1, total_capped: false });
    expect(server.services.calls.watchQueries).toEqual([
      {
        metadata: { team: 'ml', 'a.b': 'ü' },
        since: { agoMs: 3_600_000 },
        until: { at: Date.parse('2025-05-04T10:00:00Z') },
        order: 'changed',
        state: ['active'],
        status: ['running'],
        sources: ['default'],
        workflowId: ['w'],
        limit: 7,
        cursor: 'c1',
      },
    ]);
  });

  it.each([
    'state=active,gone&status=queued,hibernating&workflow_id=v,w',
    'state=active&state=gone&status=queued,hibernating&workflow_id=v&workflow_id=w',
  ])('a watch filter takes several values by %s', async (query) => {
    expect((await server.fetch(`/v1/watches?${query}`)).status).toBe(200);
    expect(server.services.calls.watchQueries).toEqual([
      {
        state: ['active', 'gone'],
        status: ['queued', 'hibernating'],
        workflowId: ['v', 'w'],
        limit: 50,
      },
    ]);
  });

  it.each([
    ['state=active,done', /^query\.state\.1: expected one of active, finished, expired/],
    ['status=Failed', /^query\.status: .* any of queued, running, failed, completed, stopped/],
    ['status=failed,', /^query\.status\.1: expected a value/],
    ['workflow_id=w,slip', /^query\.workflow_id\.1: no run of this .*; known are wf-1, wf-2$/],
    ['source=slip', /^query\.source: no source is named "slip"; expected one of: default, eu$/],
    ['since=yesterday', /^query\.since: expected a time such as .* or a duration such as .* ago$/],
    ['order=newest', /^query\.order: expected one of registered, changed$/],
    ['metadata.team=a&metadata.team=b', /^query\.metadata\.team: /],
    ['metadata=a', /^query\.metadata: /],
    ['metadata.=a', /^query\.metadata\.: the name of the field: expected a value$/],
  ])('a watch filter refuses %s and names the known values', async (query, detail) => {
    const response = await server.fetch(`/v1/watches?${query}`);
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ detail: expect.stringMatching(detail) });
    expect(server.services.calls.watchQueries).toEqual([]);
  });

  it('watches are listed 50 a page by default', async () => {
    await server.fetch('/v1/watches');
    expect(server.services.calls.watchQueries).toEqual([{ limit: 50 }]);
  });

  it('one watch is shown with no-store', async () => {
    const response = await server.fetch('/v1/watches/r-1?source=default');
    expect(watchSchema.strict().parse(await response.json())).toMatchObject({ run_id: 'r-1' });
    expect(response.headers.get('cache-control')).toBe('no-store');
  });

  it('a watch is ended with 204, and then is unknown', async () => {
    const ended = await server.fetch('/v1/watches/r-1', { method: 'DELETE' });
    expect([ended.status, await ended.text()]).toEqual([204, '']);
    expect((await server.fetch('/v1/watches/r-1', { method: 'DELETE' })).status).toBe(404);
  });

  it('a subscription is ended with 204, an unknown one is 404', async () => {
    const end = (query: string) => server.fetch(`/v1/watches/r-1?${query}`, { method: 'DELETE' });
    const unknown = await end('endpoint=audit');
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({ code: 'subscription_not_found' });
    expect((await end('endpoint=ops')).status).toBe(204);
  });

  it.each([{}, { 'content-type': 'application/json' }])(
    'polls one now with 202, with headers %p',
    async (headers) => {
      const response = await server.fetch('/v1/watches/r-1/poll', { method: 'POST', headers });
      const answer = { paused_until: null, message: null };
      expect([response.status, await response.json()]).toEqual([202, answer]);
    },
  );
});

describe('acknowledging a run', () => {
  it('an acknowledgement is answered with the watch, and taken back by DELETE', async () => {
    server.services.store.set('r-1', aWatch({ runId: 'r-1', state: 'gone' }));
    const path = '/v1/watches/r-1/acknowledge';
    const body = { by: 'ana', comment: 'I ask them', until: '2h' };
    const response = await server.post(path, body);
    expect(response.status).toBe(200);
    const acknowledged = {
      by: 'ana',
      comment: 'I ask them',
      at: '2025-05-04T10:00:00.000Z',
      until: '2025-05-04T12:00:00.000Z',
    };
    expect(watchSchema.strict().parse(await response.json())).toMatchObject({ acknowledged });
    expect((await server.fetch(path, { method: 'DELETE' })).status).toBe(204);
    expect((await server.fetch(path, { method: 'DELETE' })).status).toBe(204);
    const shown = await (await server.fetch('/v1/watches/r-1')).json();
    expect(shown).toMatchObject({ acknowledged: null });
  });

  it.each([
    [{}, 'by'],
    [{ by: '' }, 'by'],
    [{ by: 'ana', until: 'soon' }, 'until'],
    [{ by: 'ana', until: '2025-05-04T09:00:00Z' }, 'until'],
    [{ by: 'ana', forever: true }, 'forever'],
  ])('the acknowledgement %j is refused', async (body, path) => {
    server.services.store.set('r-1', aWatch({ runId: 'r-1' }));
    const response = await server.post('/v1/watches/r-1/acknowledge', body);
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ errors: [{ path }] });
  });

  it('acknowledging a run that is not watched is 404', async () => {
    const response = await server.post('/v1/watches/none/acknowledge', { by: 'ana' });
    expect(response.status).toBe(404);
    const withdrawn = await server.fetch('/v1/watches/none/acknowledge', { method: 'DELETE' });
    expect(withdrawn.status).toBe(404);
  });
});

describe('the timeline of a run', () => {
  it('a timeline has states, polls, events and deliveries with their times', async () => {
    const registeredAt = Date.parse('2025-05-04T10:00:00.000Z');
    const poll = { mode: 'single', outcome: 'run', durationMs: 40, lagMs: 3 } as const;
    const pollHistory = recordPoll(NO_POLLS, { ...poll, at: registeredAt + 960 }, registeredAt);
    server.services.store.set('r-1', aWatch({ runId: 'r-1', registeredAt, pollHistory }));
    const response = await server.fetch('/v1/watches/r-1/timeline');
    expect(timelineSchema.strict().parse(await response.json())).toEqual({
      states: [],
      polls: [
        {
          at: '2025-05-04T10:00:00.960Z',
          kind: 'single',
          outcome: 'run',
          duration_ms: 40,
          lag_ms: 3,
        },
      ],
      events: [],
      deliveries: [],
      alerts: [],
      truncated: false,
    });
    expect((await server.fetch('/v1/watches/none/timeline')).status).toBe(404);
    const elsewhere = await server.fetch('/v1/watches/none/timeline?source=default');
    expect(await elsewhere.json()).toMatchObject({
      detail: 'the run none of source default is not watched',
    });
  });
});

describe('purging a run', () => {
  it('a purge answers 204, and 404 once nothing is left', async () => {
    server.services.store.set('r-1', aWatch({ runId: 'r-1' }));
    const purge = () => server.fetch('/v1/watches/r-1?purge=true', { method: 'DELETE' });
    expect((await purge()).status).toBe(204);
    expect(server.services.calls.purged).toEqual(['r-1']);
    expect((await purge()).status).toBe(404);
  });

  it.each(['purge=yes', 'purge=true&endpoint=ops'])('a purge by %s is refused', async (query) => {
    server.services.store.set('r-1', aWatch({ runId: 'r-1' }));
    const response = await server.fetch(`/v1/watches/r-1?${query}`, { method: 'DELETE' });
    expect(response.status).toBe(422);
    expect(server.services.store.has('r-1')).toBe(true);
  });
});
