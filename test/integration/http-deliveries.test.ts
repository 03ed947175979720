import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { maskedUrl } from '../../src/core/delivery/receiver.ts';
import { deliveryPage, deliveryWithAttempts } from '../../src/http/schemas/delivery.ts';
import { aDelivery, anEndpoint } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
  server.services.storedDeliveries.push(aDelivery());
  server.services.endpointViews.push(anEndpoint());
});

afterAll(() => server.close());

describe('deliveries', () => {
  it('deliveries are listed by the filters of the query', async () => {
    const endpoint = encodeURIComponent('https://example.com/hook?a=b');
    const fields = `state=dead,parked&endpoint=${endpoint}&run_id=r-1&source=default&event_id=evt_1`;
    const query = `${fields}&since=1h&until=2025-05-04T10:00:00Z&limit=200&cursor=c1`;
    const response = await server.fetch(`/v1/deliveries?${query}`);
    const page = deliveryPage.strict().parse(await response.json());
    expect(page).toMatchObject({
      data: [{ id: 'dlv_1', alert_id: null, workflow_name: 'Invoices' }],
      next_cursor: null,
      total: 1,
    });
    expect(server.services.calls.deliveryQueries).toEqual([
      {
        state: ['dead', 'parked'],
        since: { agoMs: 3_600_000 },
        until: { at: Date.parse('2025-05-04T10:00:00Z') },
        endpoint: expect.stringMatching(/^https:\/\/example\.com\/…#[0-9a-f]{6}$/),
        runId: 'r-1',
        sources: ['default'],
        eventId: 'evt_1',
        limit: 200,
        cursor: 'c1',
      },
    ]);
  });

  it('one delivery is shown with its attempts', async () => {
    const response = await server.fetch('/v1/deliveries/dlv_1');
    const delivery = deliveryWithAttempts.strict().parse(await response.json());
    expect(delivery).toMatchObject({
      id: 'dlv_1',
      workflow_name: 'Invoices',
      attempts: [{ response: 'thanks' }],
    });
  });
});

describe('delivering again', () => {
  it('redelivery answers with the id, event id and state of the delivery', async () => {
    const response = await server.post('/v1/deliveries/dlv_1/redeliver', undefined);
    expect(response.status).toBe(202);
    expect(await response.json()).toEqual({ id: 'dlv_1', event_id: 'evt_1', state: 'pending' });
  });

  it.each([
    ['everything that is dead or was skipped', {}, {}],
    [
      'a range to one endpoint',
      { endpoint: 'ops', state: 'dead', since: '2025-05-04T12:00:00+02:00' },
      { endpoint: 'ops', state: ['dead'], since: { at: Date.parse('2025-05-04T10:00:00Z') } },
    ],
    [
      'a range to a webhook that came with a watch',
      { endpoint: 'https://example.com/hook?a=b', until: '2025-05-04T10:00:00.5Z' },
      {
        endpoint: maskedUrl('https://example.com/hook?a=b'),
        until: { at: Date.parse('2025-05-04T10:00:00.500Z') },
      },
    ],
    [
      'several states of the last hours',
      { state: ['dead', 'skipped'], since: '6h' },
      { state: ['dead', 'skipped'], since: { agoMs: 21_600_000 } },
    ],
  ])('redelivery of a range takes %s, and counts', async (_what, body, range) => {
    const { calls } = server.services;
    calls.redeliverRanges.length = 0;
    const response = await server.post('/v1/deliveries/redeliver', body);
    expect(response.status).toBe(202);
    expect(await response.json()).toEqual({ count: 1 });
    expect(calls.redeliverRanges).toEqual([range]);
  });

  it('redelivery to a misspelt endpoint changes nothing and names the known ones', async () => {
    server.services.calls.redeliverRanges.length = 0;
    const response = await server.post('/v1/deliveries/redeliver', { endpoint: 'opss' });
    expect(await response.json()).toMatchObject({
      errors: [{ path: 'endpoint', message: 'no endpoint is named "opss"; expected one of: ops' }],
    });
    expect(server.services.calls.redeliverRanges).toEqual([]);
  });

  it('redelivery of one delivery or a range takes another endpoint', async () => {
    const { calls } = server.services;
    calls.redelivered.length = 0;
    calls.redeliverRanges.length = 0;
    const one = await server.post('/v1/deliveries/dlv_1/redeliver', { endpoint: 'ops' });
    const range = await server.post('/v1/deliveries/redeliver', { endpoint: 'ops', to: 'ops' });
    expect([one.status, range.status]).toEqual([202, 202]);
    expect(calls.redelivered).toEqual([{ id: 'dlv_1', to: 'ops' }]);
    expect(calls.redeliverRanges).toEqual([{ endpoint: 'ops', to: 'ops' }]);
  });

  it.each([
    ['/v1/deliveries/dlv_1/redeliver', { endpoint: 'opss' }, 'endpoint'],
    ['/v1/deliveries/redeliver', { to: 'opss' }, 'to'],
  ])(
    'redelivery by %s to an endpoint that is not configured is refused',
    async (path, body, field) => {
      server.services.calls.redelivered.length = 0;
      const response = await server.post(path, body);
      expect(await response.json()).toMatchObject({
        errors: [{ path: field, message: expect.stringContaining('expected one of: ops') }],
      });
      expect(server.services.calls.redelivered).toEqual([]);
    },
  );

  it('redelivery of an empty range names the time that is wrong', async () => {
    const since = '2025-05-04T10:00:00Z';
    const response = await server.post('/v1/deliveries/redeliver', { since, until: since });
    expect(await response.json()).toMatchObject({
      errors: [{ path: 'until', message: 'expected a time after since' }],
    });
  });
});
