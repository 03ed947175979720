import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RunwatchError } from '../../src/core/errors.ts';
import { endpointList, endpointSchema, endpointTest } from '../../src/http/schemas/endpoint.ts';
import { anAttempt, anEndpoint, SECRET } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';

let server: TestServer;

beforeEach(async () => {
  server = await startServer();
  server.services.endpointViews.push(anEndpoint(), anEndpoint({ name: 'audit', type: 'log' }));
});
afterEach(() => server.close());

const act = (action: string, name = 'ops') =>
  server.fetch(`/v1/endpoints/${name}/${action}`, { method: 'POST' });

describe('endpoints', () => {
  it('endpoints are listed with their counts and health', async () => {
    const response = await server.fetch('/v1/endpoints');
    const { data } = endpointList.strict().parse(await response.json());
    expect(data).toMatchObject([
      {
        name: 'ops',
        events: ['run.failed'],
        counts: { pending: 1, delivered: 2 },
        health: { state: 'active', failing_since: null },
      },
      { name: 'audit' },
    ]);
  });

  it.each([
    ['pause', 'paused'],
    ['resume', 'active'],
  ])('an endpoint answers %s with its new state', async (action, state) => {
    const response = await act(action);
    expect(response.status).toBe(200);
    const endpoint = endpointSchema.strict().parse(await response.json());
    expect(endpoint).toMatchObject({ name: 'ops', health: { state } });
  });

  it.each(['test', 'pause', 'resume', 'retry', 'rotate'])(
    'that are unknown to %s are refused with the names there are',
    async (action) => {
      const response = await act(action, 'opss');
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({
        code: 'endpoint_not_found',
        detail: 'no endpoint is named "opss"; expected one of: ops, audit',
      });
    },
  );

  it('a refusal names at most 20 endpoints', async () => {
    const { endpointViews } = server.services;
    for (let at = 0; at < 40; at += 1) endpointViews.push(anEndpoint({ name: `e-${at}` }));
    const { detail } = (await (await act('pause', 'opss')).json()) as { detail: string };
    expect(detail).toMatch(/e-17 and 22 more$/);
  });
});

describe('a test of an endpoint', () => {
  it('a test of an endpoint shows the answer of the receiver', async () => {
    const response = await act('test');
    expect(response.status).toBe(200);
    expect(endpointTest.strict().parse(await response.json())).toEqual({
      delivered: true,
      attempt: {
        at: '2025-05-04T10:00:00.000Z',
        status: 200,
        error: null,
        duration_ms: 12,
        phases: { connect_ms: null, wait_ms: 11, receive_ms: 1 },
        response: 'thanks',
      },
    });
  });

  it('a test that fails at the receiver is no error of the API', async () => {
    const error = { code: 'http_500', message: 'answered 500' };
    server.services.endpointTest = {
      delivered: false,
      attempt: anAttempt({ status: 500, error, response: 'oh no' }),
    };
    const response = await act('test');
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ delivered: false, attempt: { error } });
  });

  it('a test is a conflict where the daemon cannot decrypt the signing secret', async () => {
    const [code, message] = ['sealed_by_unknown_key', 'sealed with a key that is not configured'];
    server.services.endpointFailure = new RunwatchError(message, { code });
    const response = await act('test');
    expect(response.status).toBe(409);
    expect(await response.json()).toMatchObject({ code, detail: message });
  });
});

describe('rotating a secret', () => {
  const rotate = (body: unknown) => server.post('/v1/endpoints/ops/rotate', body);

  it('rotation answers with the new secret, which is in no cache and no log', async () => {
    const response = await rotate({ overlap: '2h' });
    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await response.json()).toEqual({ secret: SECRET, previous_expires_at: null });
    expect(server.services.calls.rotations).toEqual([{ overlap: 7_200_000 }]);
    await server.fetch('/v1/endpoints');
    expect(JSON.stringify(server.lines)).not.toContain(SECRET);
  });

  it('a rotation may come without a body', async () => {
    expect((await act('rotate')).status).toBe(200);
    expect((await rotate(undefined)).status).toBe(200);
    expect((await rotate({})).status).toBe(200);
    expect(server.services.calls.rotations).toEqual([{}, {}, {}]);
  });

  it('rotation takes an overlap from 0 s to seven days', async () => {
    expect((await rotate({ overlap: '0s' })).status).toBe(200);
    expect((await rotate({ overlap: '7d' })).status).toBe(200);
    const refused = await rotate({ overlap: '169h' });
    expect(await refused.json()).toMatchObject({
      errors: [{ path: 'overlap', message: 'expected a duration from 0s to 7d' }],
    });
    expect(server.services.calls.rotations).toEqual([{ overlap: 0 }, { overlap: 604_800_000 }]);
  });

  it('rotation with now ends all old secrets, whatever overlap says', async () => {
    for (const body of [{ now: true }, { now: true, overlap: '2h' }]) {
      expect((await rotate(body)).status).toBe(200);
    }
    expect(server.services.calls.rotations).toMatchObject([{ now: true }, { now: true }]);
  });

  it.each([
    ['not_signed', 'a log endpoint signs nothing'],
    ['too_many_secrets', 'three secrets sign already; the next can be made at 12:00'],
  ])('rotation that is not possible is a conflict: %s', async (code, message) => {
    server.services.endpointFailure = new RunwatchError(message, { code });
    const response = await rotate({});
    expect(response.status).toBe(409);
    expect(await response.json()).toMatchObject({ code, detail: message });
  });
});

describe('the secret of an endpoint without one of its own', () => {
  it('the derived secret is shown to admins, and refusals keep their codes', async () => {
    const shown = await server.fetch('/v1/endpoints/ops/secret');
    expect(await shown.json()).toEqual({ secret: expect.stringMatching(/^whsec_/) });
    expect((await server.fetch('/v1/endpoints/nobody/secret')).status).toBe(404);
    server.services.endpointFailure = new RunwatchError('it was configured', {
      code: 'secret_not_derived',
    });
    expect((await server.fetch('/v1/endpoints/ops/secret')).status).toBe(409);
    server.services.endpointFailure = null;
  });
});
