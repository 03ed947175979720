import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startServer, type TestServer } from '../support/http-server.ts';

const ID = 'alr_0123456789abcdef0123_0123456789';
const WRITER = { name: 'writer', token: 'a-token-that-writes', scopes: ['write' as const] };

let server: TestServer;
let guarded: TestServer;
beforeAll(async () => {
  server = await startServer();
  guarded = await startServer({ tokens: [WRITER] });
});
afterAll(() => Promise.all([server.close(), guarded.close()]));

async function asWriter(path: string, body: unknown) {
  const headers = {
    authorization: `Bearer ${WRITER.token}`,
    'content-type': 'application/json',
  };
  const answer = await guarded.fetch(path, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

describe('alerts over HTTP', () => {
  test('alerts are listed and shown, and an unknown one is 404', async () => {
    const page = await server.fetch('/v1/alerts?state=firing,pending&rule=failed-runs');
    expect(await page.json()).toMatchObject({
      data: [{ id: ID, count: 3 }],
      next_cursor: null,
      counts: { firing: 1, resolved: 0 },
    });
    expect((await server.fetch(`/v1/alerts/${ID}`)).status).toBe(200);
    expect((await server.fetch('/v1/alerts/alr_unknown')).status).toBe(404);
    expect((await server.fetch('/v1/alerts?state=on-fire')).status).toBe(422);
  });

  test('an alert is acknowledged and that is taken back', async () => {
    const answer = await server.post(`/v1/alerts/${ID}/acknowledge`, { by: 'ana', until: '2h' });
    expect(await answer.json()).toMatchObject({
      state: 'acknowledged',
      acknowledged: { by: 'ana', comment: null },
    });
    const path = `/v1/alerts/${ID}/acknowledge`;
    expect((await server.fetch(path, { method: 'DELETE' })).status).toBe(204);
    expect((await server.post('/v1/alerts/alr_unknown/acknowledge', { by: 'ana' })).status).toBe(
      404,
    );
    expect((await server.post(path, {})).status).toBe(422);
  });

  test('an alert is ended by hand, and again the answer is the same; an unknown one is 404', async () => {
    const own = await startServer();
    try {
      const path = `/v1/alerts/${ID}/resolve`;
      const ended = { state: 'resolved', resolved_by: { by: 'ana', comment: 'up again' } };
      const answer = await own.post(path, { by: 'ana', comment: 'up again' });
      expect([answer.status, await answer.json()]).toMatchObject([200, ended]);
      expect(await (await own.post(path, { by: 'bob' })).json()).toMatchObject(ended);
      expect((await own.post('/v1/alerts/alr_unknown/resolve', { by: 'ana' })).status).toBe(404);
      for (const body of [{}, { by: '' }, { by: 'ana', until: '2h' }]) {
        expect((await own.post(path, body)).status).toBe(422);
      }
    } finally {
      await own.close();
    }
  });

  test('a token that may only write gets receipts and no previews', async () => {
    const silence = { matchers: { rule: 'failed-runs' }, until: '1h', by: 'ana', comment: 'x' };
    expect(await asWriter('/v1/silences', silence)).toEqual({
      status: 201,
      body: { id: 'sil_1', state: 'active' },
    });
    const receipt = await asWriter(`/v1/alerts/${ID}/acknowledge`, { by: 'ana' });
    expect(receipt.body).toEqual({ id: ID, state: 'acknowledged' });
    const ended = await asWriter(`/v1/alerts/${ID}/resolve`, { by: 'ana' });
    expect(ended.body).toEqual({ id: ID, state: 'resolved' });
    expect((await asWriter('/v1/silences/preview', silence)).status).toBe(403);
    expect((await asWriter('/v1/rules/test', { since: '24h' })).status).toBe(403);
  });

  test('silences are added with 201, or 200 by the same key, and end with 204', async () => {
    const silence = { matchers: { workflow_id: ['a', 'b'] }, until: '1h', by: 'ana', comment: 'x' };
    const added = await server.post('/v1/silences', silence);
    expect(added.status).toBe(201);
    expect(await added.json()).toMatchObject({ matchers: { workflow_id: ['a', 'b'] } });
    expect((await server.post('/v1/silences', { ...silence, key: 'k' })).status).toBe(200);
    for (const matchers of [{}, { event: 'run.fialed' }]) {
      expect((await server.post('/v1/silences', { ...silence, matchers })).status).toBe(422);
    }
    const families = { event: ['run.*', 'run.late', 'source.unreachable'] };
    const other = await server.post('/v1/silences', { ...silence, matchers: families });
    expect(other.status).toBe(201);
    expect((await server.fetch('/v1/silences/sil_1', { method: 'DELETE' })).status).toBe(204);
    expect((await server.fetch('/v1/silences/sil_2', { method: 'DELETE' })).status).toBe(404);
  });

  test.each([
    ['/v1/silences', { until: '99999999d' }],
    ['/v1/silences', { until: '366d' }],
    ['/v1/rules/test', { since: '9999999999999d' }],
  ])('times beyond what is kept are refused: %s %j', async (path, given) => {
    const silence = { matchers: { rule: ['r'] }, by: 'ana', comment: 'x' };
    const body = path === '/v1/silences' ? { ...silence, ...given } : given;
    const response = await server.post(path, body);
    expect(response.status).toBe(422);
    expect(JSON.stringify(await response.json())).toContain('at the most');
  });

  test('a silence with an end that no date can tell is listed among the others', async () => {
    const silence = { matchers: {}, by: 'ana', comment: 'x', key: null };
    const times = { startsAt: 0, createdAt: 0 };
    server.services.alerting.silences.list = async () => [
      { ...silence, ...times, id: 'sil_far', until: 8_641_795_817_760_864 },
      { ...silence, ...times, id: 'sil_near', until: 1_000 },
    ];
    const listed = await server.fetch('/v1/silences');
    expect(await listed.json()).toMatchObject({
      data: [
        { id: 'sil_far', until: '+275760-09-13T00:00:00.000Z' },
        { id: 'sil_near', until: '1970-01-01T00:00:01.000Z' },
      ],
    });
  });

  test('rules of a trial that are not valid, or do not go together, are refused with their places', async () => {
    const rule = { name: 'failed-runs', events: ['run.failed'], notify: ['chat'] };
    for (const [rules, path] of [
      [[{ ...rule, events: ['run.fialed'] }], 'rules.0.events.0'],
      [[{ ...rule, threshold: { count: 5 } }], 'rules.0.threshold.within'],
      [[{ ...rule, nonsense: 1 }], 'rules.0.nonsense'],
    ] as const) {
      const refused = await server.post('/v1/rules/test', { rules });
      expect([refused.status, await refused.json()]).toMatchObject([422, { errors: [{ path }] }]);
    }
    const problems = [{ path: ['rules', 1, 'name'], message: 'twice' }];
    const own = await startServer();
    own.services.alerting.rules.tried = () => ({ problems });
    try {
      const refused = await own.post('/v1/rules/test', { rules: [rule, rule] });
      const errors = [{ path: 'rules.1.name', message: 'twice' }];
      expect([refused.status, await refused.json()]).toMatchObject([422, { errors }]);
    } finally {
      await own.close();
    }
  });

  test('a preview of a silence and a trial of rules say what they found', async () => {
    const preview = await server.post('/v1/silences/preview', {
      matchers: { rule: 'failed-runs' },
    });
    expect(await preview.json()).toMatchObject({
      now: { alerts: [{ id: ID }] },
      last_24h: { events: 0 },
    });
    const trial = await server.post('/v1/rules/test', { since: '24h' });
    expect(await trial.json()).toMatchObject({ events: 0, rules: [], truncated: false });
  });
});
