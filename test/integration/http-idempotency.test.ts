import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RunwatchError } from '../../src/core/errors.ts';
import { anEndpoint, aWatch } from '../support/fake-services.ts';
import { createTokens } from '../../src/http/tokens.ts';
import { startServer, type TestServer } from '../support/http-server.ts';
import { waitFor } from '../support/wait-for.ts';

const tokens = ['one', 'two'].map((name) => ({
  name,
  token: `${name}-token-1`,
  scopes: ['read' as const, 'write' as const, 'admin' as const],
}));

let server: TestServer;

beforeEach(async () => {
  server = await startServer({ tokens });
  server.services.endpointViews.push(anEndpoint());
});
afterEach(() => server.close());

interface Sent {
  key?: string;
  token?: string;
}

function post(path: string, body: object | undefined, { key = 'k', token = 'one' }: Sent = {}) {
  return server.fetch(path, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}-token-1`,
      'idempotency-key': key,
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
}

/** A poll that is answered only after `answer`. */
function holdPoll() {
  let answer: () => void = () => undefined;
  const asked = new Promise<void>((resolve) => {
    server.services.watches.pollNow = async () => {
      resolve();
      await new Promise<void>((settle) => (answer = settle));
      return { closed: null };
    };
  });
  return { asked, answer: () => answer() };
}

describe('a POST with an Idempotency-Key', () => {
  it('a token of the same name with another secret or other rights gets no answer of the former one', async () => {
    const [former] = tokens;
    const inForce = createTokens([{ ...former!, sources: ['*'] }]);
    const limited = await startServer({ tokens: inForce });
    const send = async (token: string) => {
      const answer = await limited.fetch('/v1/watches', {
        method: 'POST',
        headers: {
          authorization: `Bearer ${token}`,
          'idempotency-key': 'k',
          'content-type': 'application/json',
        },
        body: JSON.stringify({ run_id: 'r' }),
      });
      return [answer.status, answer.headers.get('idempotent-replayed'), await answer.json()];
    };
    expect(await send('one-token-1')).toMatchObject([201, null, {}]);
    expect(await send('one-token-1')).toMatchObject([201, 'true', {}]);
    inForce.replace([{ ...former!, sources: ['*'], scopes: ['write'] }]);
    expect(await send('one-token-1')).toEqual([200, null, { run_id: 'r', source: 'default' }]);
    inForce.replace([{ ...former!, sources: ['*'], token: 'another-secret' }]);
    expect(await send('another-secret')).toMatchObject([200, null, {}]);
    await limited.close();
  });

  it('a repeated Idempotency-Key gives the first answer again, and does nothing', async () => {
    const answers = [];
    for (let sent = 0; sent < 3; sent += 1) {
      const response = await post('/v1/watches', { run_id: 'r' });
      const { status, headers } = response;
      answers.push([
        status,
        headers.get('location'),
        headers.get('content-type'),
        await response.text(),
      ]);
      expect(headers.get('idempotent-replayed')).toBe(sent === 0 ? null : 'true');
    }
    expect(answers[0]?.[0]).toBe(201);
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
    expect(server.services.calls.registered).toHaveLength(1);
  });

  it.each([
    ['/v1/watches/r/poll', undefined, 202],
    ['/v1/watches/batch', { watches: [{ run_id: 'r' }] }, 200],
    ['/v1/endpoints/ops/rotate', {}, 200],
    ['/v1/endpoints/nobody/pause', undefined, 404],
  ])('a repeated POST to %s gets the first answer', async (path, body, status) => {
    server.services.store.set('r', aWatch({ runId: 'r' }));
    const [first, second] = [await post(path, body), await post(path, body)];
    expect([first.status, second.status]).toEqual([status, status]);
    expect(await second.text()).toBe(await first.text());
    expect(server.services.calls.rotations.length).toBeLessThan(2);
  });

  it.each([
    ['another body', '/v1/watches', { run_id: 'other' }],
    ['another order of what it names', '/v1/watches', { run_id: 'r', metadata: {} }],
  ])('a repeated Idempotency-Key is a conflict with %s', async (_what, path, body) => {
    await post('/v1/watches', { run_id: 'r' });
    const response = await post(path, body);
    expect(response.status).toBe(409);
    expect(await response.json()).toMatchObject({ code: 'idempotency_key_reused' });
    expect(server.services.calls.registered).toHaveLength(1);
  });

  it('a repeated Idempotency-Key for another target of its route is a conflict', async () => {
    await post('/v1/endpoints/ops/pause', undefined);
    expect((await post('/v1/endpoints/audit/pause', undefined)).status).toBe(409);
  });

  it('an Idempotency-Key is one per token and route', async () => {
    await post('/v1/watches', { run_id: 'r' });
    await post('/v1/watches', { run_id: 'r' }, { token: 'two' });
    await post('/v1/watches', { run_id: 'r' }, { key: 'k2' });
    await post('/v1/watches/batch', { watches: [{ run_id: 'r' }] });
    expect(server.services.calls.registered).toHaveLength(4);
  });

  it('a repeat during the first request gets its answer', async () => {
    const { answer, asked } = holdPoll();
    let met = 0;
    const { repeats } = server.services;
    const begin = repeats.begin.bind(repeats);
    repeats.begin = async (request) => {
      const begun = await begin(request);
      if (begun.kind === 'in_progress') met += 1;
      return begun;
    };
    const first = post('/v1/watches/r/poll', undefined);
    await asked;
    const second = post('/v1/watches/r/poll', undefined);
    await waitFor(() => met > 0);
    answer();
    expect([(await first).status, (await second).status]).toEqual([202, 202]);
    expect((await second).headers.get('idempotent-replayed')).toBe('true');
  });

  it('a repeat that waits long for the first answer is a conflict that says to wait', async () => {
    const { answer, asked } = holdPoll();
    const first = post('/v1/watches/r/poll', undefined);
    await asked;
    const second = await post('/v1/watches/r/poll', undefined);
    expect([second.status, second.headers.get('retry-after')]).toEqual([409, '1']);
    expect(await second.json()).toMatchObject({ code: 'idempotency_in_progress' });
    answer();
    expect((await first).status).toBe(202);
    expect((await post('/v1/watches/r/poll', undefined)).headers.get('idempotent-replayed')).toBe(
      'true',
    );
  });

  it('a repeat after an internal error is done again', async () => {
    const { rotate } = server.services.endpoints;
    server.services.endpoints.rotate = () =>
      Promise.reject(new RunwatchError('away', { code: 'redis_unavailable' }));
    expect((await post('/v1/endpoints/ops/rotate', {})).status).toBe(503);
    server.services.endpoints.rotate = rotate;
    expect((await post('/v1/endpoints/ops/rotate', {})).status).toBe(200);
  });

  it.each(['', 'two words', 'x'.repeat(256)])(
    'the Idempotency-Key "%s" is refused',
    async (key) => {
      expect((await post('/v1/watches', { run_id: 'r' }, { key })).status).toBe(422);
    },
  );
});

describe('a change while Redis is away', () => {
  const fail = () => Promise.reject(new RunwatchError('away', { code: 'redis_unavailable' }));
  const detailOf = async (response: Response) => {
    expect(response.status).toBe(503);
    return ((await response.json()) as { detail: string }).detail;
  };

  it('a change that is refused while Redis is away has changed nothing', async () => {
    await server.close();
    server = await startServer({ isStoreReady: () => false });
    server.services.watches.unwatch = () => Promise.reject(new Error('called'));
    const response = await server.fetch('/v1/watches/r', { method: 'DELETE' });
    expect(await detailOf(response)).toBe(
      'Redis cannot be reached; nothing was changed; try again',
    );
  });

  it('a change that Redis interrupts may have been made, and the answer says so', async () => {
    server.services.endpoints.rotate = fail;
    const detail = await detailOf(await post('/v1/endpoints/ops/rotate', {}));
    expect(detail).toMatch(/whether this was done is not known; sending it again is safe$/);
  });
});
