import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { deliveryPage, deliveryWithAttempts } from '../../src/http/schemas/delivery.ts';
import { endpointList } from '../../src/http/schemas/endpoint.ts';
import { aDelivery } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
  server.services.storedDeliveries.push(aDelivery());
  server.services.endpointViews.push({
    name: 'ops',
    type: 'webhook',
    url: 'https://example.com/hooks',
    events: ['run.failed'],
    default: true,
    counts: { pending: 1, delivered: 2, dead: 0, parked: 0, skipped: 0, superseded: 0 },
  });
});

afterAll(() => server.close());

describe('deliveries', () => {
  it('are listed by the filters that were given', async () => {
    const endpoint = encodeURIComponent('https://example.com/hook?a=b');
    const query = `state=dead&endpoint=${endpoint}&run_id=r-1&event_id=evt_1&limit=200&cursor=c1`;
    const response = await server.fetch(`/v1/deliveries?${query}`);
    const page = deliveryPage.strict().parse(await response.json());
    expect(page).toMatchObject({ data: [{ id: 'dlv_1' }], next_cursor: null });
    expect(server.services.calls.deliveryQueries).toEqual([
      {
        state: 'dead',
        endpoint: 'https://example.com/hook?a=b',
        runId: 'r-1',
        eventId: 'evt_1',
        limit: 200,
        cursor: 'c1',
      },
    ]);
  });

  it('are shown one by one with their attempts', async () => {
    const response = await server.fetch('/v1/deliveries/dlv_1');
    const delivery = deliveryWithAttempts.strict().parse(await response.json());
    expect(delivery).toMatchObject({ id: 'dlv_1', attempts: [{ response: 'thanks' }] });
  });
});

describe('endpoints', () => {
  it('are listed with their counts', async () => {
    const response = await server.fetch('/v1/endpoints');
    const { data } = endpointList.strict().parse(await response.json());
    expect(data).toMatchObject([
      { name: 'ops', events: ['run.failed'], counts: { pending: 1, delivered: 2 } },
    ]);
  });
});
