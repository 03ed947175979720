import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { watchEventId } from '../../src/core/event/ids.ts';
import { lookupAnswer } from '../../src/http/schemas/lookup.ts';
import { startServer, type TestServer } from '../support/http-server.ts';

let server: TestServer;
const asked: unknown[] = [];

beforeAll(async () => {
  server = await startServer();
  server.services.lookupStore.find = async (request) => {
    asked.push(request);
    return {
      found: [{ kind: 'run', id: '5b0f', source: 'default' }],
      more: true,
      sources: ['default', 'eu'],
    };
  };
});
afterAll(() => server.close());

test('lookup answers what was found, and takes the beginning of a UUID in any case', async () => {
  const response = await server.fetch('/v1/lookup?kind=run&prefix=5B0F2F5E-8C&limit=3');
  expect(lookupAnswer.strict().parse(await response.json())).toEqual({
    data: [{ kind: 'run', id: '5b0f', source: 'default' }],
    more: true,
    tried: ['default', 'eu'],
  });
  expect(asked).toEqual([{ kind: 'run', prefix: '5b0f2f5e-8c', limit: 3 }]);
});

test.each([
  'kind=run',
  'kind=watch&prefix=a',
  'kind=run&prefix=',
  'kind=run&prefix=a&limit=51',
  'kind=run&prefix=a&q=a',
  'q=',
])('lookup refuses %s by 422', async (query) => {
  expect((await server.fetch(`/v1/lookup?${query}`)).status).toBe(422);
});

test('lookup takes a whole id of an event as prefix, however long the id of its run makes it', async () => {
  const runId = '~'.repeat(255);
  const change = {
    source: 's'.repeat(63),
    runId,
    type: 'run.failed',
    registeredAt: 0,
    attempt: null,
    pastEnds: [],
  } as const;
  const id = watchEventId(change, () => 'mark');
  expect(id.length).toBeGreaterThan(800);
  expect((await server.fetch(`/v1/lookup?kind=event&prefix=${id}`)).status).toBe(200);
});

test('lookup takes a UUID as it is typed where no source has it in lower case', async () => {
  const { find } = server.services.lookupStore;
  server.services.lookupStore.find = async ({ prefix }) => ({
    found: prefix === '5B0F2F5E' ? [{ kind: 'run', id: '5B0F2F5E-8C', source: 'eu' }] : [],
    more: false,
    sources: ['eu'],
  });
  const response = await server.fetch('/v1/lookup?q=5B0F2F5E');
  server.services.lookupStore.find = find;
  expect(await response.json()).toMatchObject({ data: [{ id: '5B0F2F5E-8C', source: 'eu' }] });
});
