import { describe, expect, it } from '@jest/globals';
import { NEW_STATE } from '../../src/core/delivery/endpoint-state.ts';
import { DEFAULT_EVENTS } from '../../src/core/event/event.ts';
import { presentDelivery } from '../../src/http/present.ts';
import { presentDeliveryWithAttempts } from '../../src/http/deliveries.ts';
import { presentWatch } from '../../src/http/watches.ts';
import { presentHealth } from '../../src/http/endpoints.ts';
import { deliverySchema, deliveryWithAttempts } from '../../src/http/schemas/delivery.ts';
import { endpointSchema } from '../../src/http/schemas/endpoint.ts';
import { watchSchema } from '../../src/http/schemas/watch.ts';
import { aDelivery, anAttempt, anEndpoint, aWatch } from '../support/fake-services.ts';
import { webhookTo } from '../support/builders.ts';

const SINCE = Date.parse('2025-05-04T09:00:00.000Z');
const trouble = { kind: 'unavailable' as const, message: 'connection refused', since: SINCE };

describe('a watch as the API shows it', () => {
  it('the API shows a watch with the fields of the contract and no other', () => {
    const watch = presentWatch(aWatch());
    expect(watchSchema.strict().parse(watch)).toEqual(watch);
    expect(Object.keys(watch)).toEqual([
      'run_id',
      'source',
      'registered_by',
      'state',
      'run',
      'workflow_name',
      'run_url',
      'changed_at',
      'acknowledged',
      'metadata',
      'subscriptions',
      'sequence',
      'polls',
      'registered_at',
      'last_polled_at',
      'next_poll_at',
      'timeout_at',
      'error',
    ]);
  });

  it('the API shows a per-watch webhook by its masked URL and the patterns in force', () => {
    const { subscriptions } = presentWatch(
      aWatch({
        subscriptions: [
          { kind: 'endpoint', endpoint: 'ops' },
          webhookTo('https://a.test/secret'),
          webhookTo('https://b.test/?token=1', ['run.*']),
        ],
      }),
    );
    expect(subscriptions).toEqual([
      { endpoint: 'ops' },
      {
        url: expect.stringMatching(/^https:\/\/a\.test\/…#[0-9a-f]{6}$/),
        events: [...DEFAULT_EVENTS],
      },
      {
        url: expect.stringMatching(/^https:\/\/b\.test\/…#[0-9a-f]{6}$/),
        events: ['run.*'],
      },
    ]);
  });

  it.each([
    ['nothing where all is well', aWatch(), null],
    [
      'the trouble with reading the run',
      aWatch({ trouble }),
      { code: 'unavailable', message: 'connection refused', since: '2025-05-04T09:00:00.000Z' },
    ],
    [
      'a run that is not found before any other trouble',
      aWatch({
        trouble,
        missing: { count: 1, code: 'not_found', message: 'Not there (404)', since: SINCE },
      }),
      expect.objectContaining({ code: 'not_found', since: '2025-05-04T09:00:00.000Z' }),
    ],
    [
      'why a run is gone',
      aWatch({
        state: 'gone',
        gone: { code: 'not_found', message: 'Noxus does not know this run (404)', since: SINCE },
      }),
      expect.objectContaining({ code: 'not_found', since: '2025-05-04T09:00:00.000Z' }),
    ],
    [
      'that Noxus rejected the id of a run',
      aWatch({ state: 'gone', gone: { code: 'rejected', message: 'bad id', since: SINCE } }),
      expect.objectContaining({ code: 'rejected', since: '2025-05-04T09:00:00.000Z' }),
    ],
  ])("the API shows %s as a watch's error", (_what, watch, error) => {
    expect(presentWatch(watch).error).toEqual(error);
  });
});

describe('a delivery as the API shows it', () => {
  it('the API shows a delivery with the fields of the contract and no other', () => {
    const delivery = presentDelivery(aDelivery());
    expect(deliverySchema.strict().parse(delivery)).toEqual(delivery);
    expect(delivery.last).toEqual({ status: 200, error: null, duration_ms: 12 });
  });

  it('the API shows a single delivery with its attempts and their responses', () => {
    const { last } = aDelivery();
    const attempts = last === null ? [] : [last];
    const found = {
      delivery: aDelivery(),
      attempts: [...attempts, anAttempt({ phases: [15_000] })],
    };
    const delivery = presentDeliveryWithAttempts(found, () => ({ 'webhook-id': 'evt_1' }));
    const own = deliveryWithAttempts.omit({ workflow_name: true, alert_rule: true, batch: true });
    expect(own.strict().parse(delivery)).toEqual(delivery);
    expect(delivery.attempts).toEqual([
      {
        at: '2025-05-04T10:00:00.000Z',
        status: 200,
        error: null,
        duration_ms: 12,
        phases: { connect_ms: null, wait_ms: 11, receive_ms: 1 },
        response: 'thanks',
        request_headers: { 'webhook-id': 'evt_1' },
      },
      // Nothing was sent before there was a connection.
      expect.objectContaining({
        phases: { connect_ms: 15_000, wait_ms: null, receive_ms: null },
        request_headers: null,
      }),
    ]);
  });
});

describe('an endpoint as the API shows it', () => {
  it("the API shows an endpoint's health in the contract's terms", () => {
    const health = presentHealth({
      ...NEW_STATE,
      breaker: 'open',
      failingSince: SINCE,
      probeAt: SINCE + 60_000,
      throttledUntil: SINCE + 90_000,
    });
    const endpoint = anEndpoint({ health });
    expect(endpointSchema.strict().parse(endpoint)).toEqual(endpoint);
    expect(endpoint.health).toEqual({
      state: 'failing',
      reason: null,
      failing_since: '2025-05-04T09:00:00.000Z',
      next_probe_at: '2025-05-04T09:01:00.000Z',
      throttled_until: '2025-05-04T09:01:30.000Z',
    });
  });
});
