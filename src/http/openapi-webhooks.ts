import {
  ALERT_EVENT_TYPES,
  EVENT_TYPES,
  SYSTEM_EVENT_TYPES,
  TEST_EVENT_TYPE,
  type SentEventType,
} from '../core/event/event.ts';
import { schemaNameOf } from './schemas/webhook.ts';

const SENT_TYPES: readonly SentEventType[] = [
  ...EVENT_TYPES,
  ...SYSTEM_EVENT_TYPES,
  ...ALERT_EVENT_TYPES,
  TEST_EVENT_TYPE,
];

/** When each is sent, in a few words. */
const OCCASIONS: Record<SentEventType, string> = {
  'run.started': 'the run goes from queued to running',
  'run.progress': 'the progress of the run changes',
  'run.resumed': 'the run goes on after it waited for a human',
  'run.stalled': 'the run stays in one state for too long',
  'run.recovered': 'a stalled run moves on',
  'run.awaiting_human_feedback':
    'the run begins to wait for a human; again as a reminder, with `data.reminder`',
  'run.completed': 'the run completes',
  'run.failed': 'the run fails',
  'run.stopped': 'the run is stopped',
  'run.gone': 'Noxus itself confirms that the run does not exist, or rejects its id',
  'run.status_unknown':
    'Noxus reports a status that it does not document, once per status, three an hour at most',
  'watch.expired': 'the run has not ended by the timeout of its watch',
  'watch.unreachable':
    'Noxus gives no valid answer for the run for `unreachable_after`, and does so for other runs',
  'watch.recovered': 'Noxus gives a valid answer for an unreachable or gone run again',
  'endpoint.failing': 'the circuit breaker of an endpoint opens',
  'endpoint.recovered': 'the circuit breaker of an endpoint closes',
  'endpoint.disabled': 'an endpoint answers 410 and gets no more deliveries',
  'delivery.exhausted': 'a delivery has made its last attempt in vain',
  'source.unauthorized': 'a source refuses its API key',
  'source.throttled': 'a source asks for a pause of more than a minute',
  'source.unreachable': 'a source gives no valid answer to anything for `unreachable_after`',
  'source.recovered': 'a source gives a valid answer again',
  'source.inconsistent':
    'polls of runs contradict one another again and again, as where a replica or cache of a source lags',
  'source.consistent': 'no poll has contradicted another for ten minutes',
  'workflow.stalled': 'more than five runs of a workflow are stalled',
  'workflow.recovered': 'at most five runs of such a workflow are left that are stalled',
  'polling.overdue': 'polls of a source are behind their schedule',
  'polling.caught_up': 'polls of a source are in time again',
  'discovery.unavailable': 'a list of runs cannot be read, so that new runs are not found',
  'discovery.recovered': 'the list can be read again',
  'store.data_lost': 'Redis has lost data that it had acknowledged',
  'alert.firing':
    'a rule has made an alert of events; once, and once more to each endpoint of its escalation',
  'alert.updated': 'more has happened to an alert that fires; a reminder has `data.repeat`',
  'alert.acknowledged': 'a user has taken an alert in hand',
  'alert.resolved': 'an alert that has fired is over',
  'runwatch.test': 'a user tests an endpoint',
};

/** `webhooks` of the document: what runwatch sends, by the type of the event. */
export function webhookOperations(): Record<string, { post: object }> {
  return Object.fromEntries(
    SENT_TYPES.map((type) => {
      const name = schemaNameOf(type);
      const post = {
        ...sendingOf(name),
        operationId: `on${name}`,
        summary: `When ${OCCASIONS[type]}`,
      };
      return [type, { post }];
    }),
  );
}

/**
 * `callbacks` of an operation: what is sent because of it. Some generators keep only the schemas
 * that paths refer to.
 */
export function callbacksOf(operationId = ''): object | null {
  switch (operationId) {
    case 'registerWatch':
      return callback('{$request.body#/webhook/url}', {
        ...sendingOf('Event'),
        operationId: 'onWatchWebhook',
        summary: 'Sent to the webhook of a watch',
      });
    case 'testEndpoint':
      return callback('{$request.path.name}', {
        ...sendingOf('SystemEvent'),
        operationId: 'onEndpointWebhook',
        summary: 'Sent to the URL of an endpoint, besides the events of watches',
      });
    case 'acknowledgeAlert':
      return callback('{$request.path.id}', {
        ...sendingOf('AlertEvent'),
        operationId: 'onAlertWebhook',
        summary: 'Sent to the endpoints that the rule of an alert names',
      });
    default:
      return null;
  }
}

function callback(url: string, post: object): object {
  return { webhook: { [url]: { post } } };
}

function sendingOf(schema: string): object {
  return {
    tags: ['Webhooks'],
    description:
      'Delivered at least once; receivers drop repeats by `webhook-id`. Any 2xx within the timeout takes it.',
    security: [],
    parameters: SIGNATURE_HEADERS,
    requestBody: {
      required: true,
      content: {
        'application/json': { schema: ref(schema) },
        'application/cloudevents+json': { schema: ref('CloudEvent') },
      },
    },
    responses: {
      '2XX': { description: 'It was taken.' },
      410: { description: 'The receiver wants no more: it is disabled.' },
      default: { description: 'It was not taken, and is tried again by the retry schedule.' },
    },
  };
}

function ref(name: string): object {
  return { $ref: `#/components/schemas/${name}` };
}

/** Source: Standard Webhooks 1.0, "Webhook headers". */
const SIGNATURE_HEADERS = [
  header('webhook-id', 'The id of the event; the same in every attempt.', { type: 'string' }),
  header('webhook-timestamp', 'When this attempt was made, in seconds since the epoch.', {
    type: 'integer',
    format: 'int64',
  }),
  header(
    'webhook-signature',
    'One or more signatures, each `v1,` and the base64 of HMAC-SHA256 over id, timestamp and body joined by dots; several while a secret is rotated.',
    { type: 'string', pattern: '^v1,[A-Za-z0-9+/=]+( v1,[A-Za-z0-9+/=]+)*$' },
  ),
];

function header(name: string, description: string, schema: object): object {
  return { name, in: 'header', required: true, description, schema };
}
