import { fastifySwagger } from '@fastify/swagger';
import { fastifySwaggerUi } from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import {
  ALERT_EVENT_TYPES,
  BATCH_EVENT_TYPES,
  EVENT_TYPES,
  SYSTEM_EVENT_TYPES,
  TEST_EVENT_TYPE,
  type SentEventType,
} from '../core/event/event.ts';
import { problemReference } from './schemas/common.ts';
import { schemaNameOf } from './schemas/webhook.ts';

const DESCRIPTION = `Watches runs of APIs, and notifies people and systems when one completes, fails, stops or waits for a human.

Times are ISO 8601 UTC with milliseconds. Durations are strings such as \`250ms\`, \`10s\`, \`5m\`,
\`2h\`, \`7d\`. Cursors are opaque. In paths, ids are percent-encoded, slashes as \`%2F\`; in lists by
comma, a comma within an id is \`%2C\`. Errors are problem documents (RFC 9457) with a stable \`code\`.`;

interface OpenapiOptions {
  version: string;
  /** Where users reach the server; absent where the address of the document is as good. */
  publicUrl?: string | undefined;
}

/** Collects the routes that are registered after it, and shows them at `/openapi.json` and `/docs`. */
export const openapi = fastifyPlugin<OpenapiOptions>(async (app, { version, publicUrl }) => {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'runwatch',
        description: DESCRIPTION,
        version,
        license: { name: 'MIT', identifier: 'MIT' } as { name: string },
      },
      servers: [{ url: publicUrl?.replace(/\/$/, '') ?? '/' }],
      security: [{ token: [] }],
      tags: [
        { name: 'Watches', description: 'The interest in runs.' },
        { name: 'Batches', description: 'Runs that are waited for together.' },
        { name: 'Events', description: 'Changes that were observed.' },
        { name: 'Deliveries', description: 'One event each to one subscription.' },
        { name: 'Endpoints', description: 'Configured receivers.' },
        { name: 'Alerts', description: 'What rules make of events.' },
        { name: 'Silences', description: 'What is not notified of for a while.' },
        { name: 'Attention', description: 'What needs a person.' },
        { name: 'Audit', description: 'What users did.' },
        { name: 'Processes', description: 'The daemons that share the work.' },
        { name: 'Polling', description: 'How long runs take, and how well they are polled.' },
        { name: 'Sources', description: 'Where runs come from, and whether it answers.' },
        { name: 'Webhooks', description: 'What runwatch sends to receivers.' },
        { name: 'Health', description: 'What machines ask about this process.' },
      ],
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description:
              'A configured token. Each operation names the scope that it needs: `read`, `write` or `admin`, of which none implies another. A server without tokens needs none.',
          },
        },
      },
    },
    transform: jsonSchemaTransform,
    transformObject,
  });
  await app.register(fastifySwaggerUi, {
    routePrefix: '/docs',
    theme: { title: 'runwatch API' },
    staticCSP: {
      'default-src': "'self'",
      'base-uri': "'none'",
      'frame-ancestors': "'none'",
      'img-src': ["'self'", 'data:'],
      'object-src': "'none'",
      'style-src': ["'self'", "'unsafe-inline'"],
    },
  });
  serveDocument(app);
});

/** It never changes, so its text is made once. */
function serveDocument(app: FastifyInstance): void {
  let text: string | null = null;
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    text ??= JSON.stringify(app.swagger());
    return reply.type('application/json; charset=utf-8').send(text);
  });
}

const transformObject: typeof jsonSchemaTransformObject = (source) => {
  const transformed = jsonSchemaTransformObject(source);
  finishDocument(transformed as unknown as ApiDocument);
  return transformed;
};

/** A JSON schema, or any other part of an OpenAPI document. */
interface Node {
  [key: string]: unknown;
}

interface Answer {
  description?: string;
  headers?: Record<string, object>;
  content?: object;
}

interface Parameter {
  in: string;
  schema?: Node;
  style?: string;
  explode?: boolean;
}

interface Operation {
  operationId?: string;
  callbacks?: object;
  parameters?: Parameter[];
  requestBody?: { required: boolean; content: Record<string, { schema?: Node }> };
  responses?: Record<string, Answer>;
}

/** The part of an OpenAPI document that is finished here. */
interface ApiDocument {
  paths: Record<string, Record<string, Operation>>;
  webhooks?: Record<string, { post: object }>;
  components: { schemas: Record<string, Node> };
}

const REFERENCE = '#/components/schemas/';

/** Makes of what the routes say a document that strangers' generators understand. */
function finishDocument(document: ApiDocument): void {
  document.webhooks = webhookOperations();
  for (const [method, operation] of operationsOf(document)) {
    relaxBody(operation);
    joinLists(operation);
    addRefusals(method, operation);
    addHeaders(operation);
    const callbacks = callbacksOf(operation.operationId);
    if (callbacks !== null) operation.callbacks = callbacks;
  }
  nameOnce(document);
  refine(document as unknown as Node);
  dropUnused(document);
}

function operationsOf({ paths }: ApiDocument): [string, Operation][] {
  return Object.values(paths).flatMap((methods) => Object.entries(methods));
}

/** A body with a default may be left out; the plugin marks every body as required. */
function relaxBody({ requestBody }: Operation): void {
  const schema = requestBody?.content['application/json']?.schema;
  if (requestBody !== undefined && schema?.['default'] !== undefined) requestBody.required = false;
}

/** Several values of a query come as one, by commas. */
function joinLists({ parameters = [] }: Operation): void {
  for (const parameter of parameters) {
    if (parameter.in !== 'query' || parameter.schema?.['type'] !== 'array') continue;
    Object.assign(parameter, { style: 'form', explode: false });
  }
}

const EVERYWHERE = {
  400: 'What was sent is not HTTP, or its URL cannot be read.',
  408: 'The request was not complete in time.',
  431: 'The request headers have more than 16 KiB.',
};

const WITH_BODY = {
  ...EVERYWHERE,
  400: 'The body is missing where one is needed, is not JSON, or what was sent is not HTTP.',
  413: 'The body has more than 1 MiB.',
  415: 'The body is not sent as JSON.',
};

/** What the server answers before any route does. */
function addRefusals(method: string, operation: Operation): void {
  const refusals = method === 'get' ? EVERYWHERE : WITH_BODY;
  const added = Object.entries(refusals).map(([status, description]) => [
    status,
    { description, content: problemReference },
  ]);
  operation.responses = { ...(Object.fromEntries(added) as object), ...operation.responses };
}

const HEADERS: Record<string, Record<string, object>> = {
  401: {
    'WWW-Authenticate': {
      description: 'Asks for a bearer token (RFC 6750).',
      schema: { type: 'string' },
    },
  },
  503: {
    'Retry-After': {
      description: 'Seconds after which it is worth trying again.',
      schema: { type: 'integer', format: 'int64', minimum: 0 },
    },
  },
};

/** Headers of single operations, by their id and status. */
const OWN_HEADERS: Record<string, Record<string, object>> = {
  'registerWatch 201': {
    Location: { description: 'Where the watch is shown.', schema: { type: 'string' } },
  },
  'streamEvents 200': {
    'Runwatch-Cursor': { description: 'Where the stream begins.', schema: { type: 'string' } },
  },
};

function addHeaders({ operationId, responses = {} }: Operation): void {
  for (const [status, answer] of Object.entries(responses)) {
    const isProblem = Object.keys(answer.content ?? {}).includes('application/problem+json');
    const headers = {
      ...(isProblem && HEADERS[status]),
      ...OWN_HEADERS[`${operationId} ${status}`],
    };
    if (Object.keys(headers).length > 0) answer.headers = { ...headers, ...answer.headers };
  }
}

/**
 * Each named schema comes as what is sent and, with `Input` at its end, as what is taken. One name is
 * enough where only one of them is referred to, or both are alike.
 */
function nameOnce(document: ApiDocument): void {
  const { schemas } = document.components;
  const used = usedNames(document);
  for (const [name, schema] of Object.entries(schemas)) {
    const plain = name.replace(/Input$/, '');
    if (plain === name) continue;
    const isAlone = !used.has(plain);
    if (isAlone) schemas[plain] = { ...schema, ...examplesOf(schemas[plain]) };
    delete schemas[name];
  }
  visit(document, (node) => {
    const { $ref } = node;
    if (typeof $ref === 'string') node['$ref'] = $ref.replace(/Input$/, '');
  });
}

/** Zod leaves the examples out of inputs that are transformed; those of the output form are the same. */
function examplesOf(schema: Node | undefined): Node {
  return schema?.['examples'] === undefined ? {} : { examples: schema['examples'] };
}

/** Adds the format of whole numbers, and the discriminators of unions; lists several types as alternatives. */
function refine(document: Node): void {
  visit(document, (node) => {
    separateTypes(node);
    if ([node['type']].flat().includes('integer')) {
      node['format'] = 'int64';
      // What JavaScript can count to is no limit of the API.
      if (node['minimum'] === Number.MIN_SAFE_INTEGER) delete node['minimum'];
      if (node['maximum'] === Number.MAX_SAFE_INTEGER) delete node['maximum'];
    }
  });
  const { schemas } = (document as unknown as ApiDocument).components;
  for (const schema of Object.values(schemas)) addDiscriminator(schema, schemas);
}

/** Some generators know a list of types only as one type or null. */
function separateTypes(node: Node): void {
  const { type: types } = node;
  if (!Array.isArray(types) || types.length < 2 || types.includes('null')) return;
  delete node['type'];
  node['anyOf'] = types.map((type: unknown) => ({ type }));
}

function addDiscriminator(schema: Node, schemas: Record<string, Node>): void {
  const members = schema['oneOf'];
  if (!Array.isArray(members)) return;
  const references = members.map(({ $ref }: { $ref?: string }) => $ref ?? '');
  for (const propertyName of ['type', 'kind']) {
    const entries = references.map((reference) => {
      const properties = schemas[reference.slice(REFERENCE.length)]?.['properties'] as Node;
      return [(properties?.[propertyName] as Node | undefined)?.['const'], reference];
    });
    if (entries.every(([value]) => typeof value === 'string')) {
      schema['discriminator'] = { propertyName, mapping: Object.fromEntries(entries) as object };
      return;
    }
  }
}

function dropUnused(document: ApiDocument): void {
  const { schemas } = document.components;
  const used = usedNames(document);
  document.components.schemas = Object.fromEntries(
    Object.entries(schemas).filter(([name]) => used.has(name)),
  );
}

/** The names of the schemas that paths and webhooks refer to, by others too. */
function usedNames({ paths, webhooks, components }: ApiDocument): Set<string> {
  const used = new Set<string>();
  const follow = (value: unknown): void => {
    for (const [, name = ''] of JSON.stringify(value).matchAll(/#\/components\/schemas\/(\w+)/g)) {
      if (used.has(name)) continue;
      used.add(name);
      follow(components.schemas[name] ?? {});
    }
  };
  follow([paths, webhooks]);
  return used;
}

function visit(value: unknown, see: (node: Node) => void): void {
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) visit(item, see);
    return;
  }
  see(value as Node);
  for (const item of Object.values(value)) visit(item, see);
}

const SENT_TYPES: readonly SentEventType[] = [
  ...EVENT_TYPES,
  ...BATCH_EVENT_TYPES,
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
  'batch.completed':
    'all runs of a batch have ended, after it was closed, as many as expected have joined, or none was active for an hour',
  'batch.failed': 'more runs of a batch have failed than its `max_failed`',
  'run.restarted':
    'a run that had ended lives again, with a higher `attempt`, which its source has to declare',
  'run.gone': 'the source itself confirms that the run does not exist, or rejects its id',
  'run.status_unknown':
    'the source reports a status that runwatch does not know, once per status, three an hour at most',
  'watch.expired': 'the run has not ended by the timeout of its watch',
  'watch.unreachable':
    'the source gives no valid answer for the run for `unreachable_after`, and does so for other runs',
  'watch.recovered': 'the source gives a valid answer for an unreachable or gone run again',
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
  'discovery.waiting':
    'runs that discovery finds at its start have waited for a human since before: one notice of a list, in place of an event of each to configured endpoints',
  'store.data_lost': 'Redis has lost data that it had acknowledged',
  'alert.firing':
    'a rule has made an alert of events; once, and once more to each endpoint of its escalation',
  'alert.updated': 'more has happened to an alert that fires; a reminder has `data.repeat`',
  'alert.acknowledged': 'a user has taken an alert in hand',
  'alert.resolved': 'an alert that has fired is over',
  'runwatch.test': 'a user tests an endpoint',
};

/** `webhooks` of the document: what runwatch sends, by the type of the event. */
function webhookOperations(): Record<string, { post: object }> {
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
function callbacksOf(operationId = ''): object | null {
  switch (operationId) {
    case 'registerWatch':
      return callback('{$request.body#/webhook/url}', {
        ...sendingOf('Event'),
        operationId: 'onWatchWebhook',
        summary: 'Sent to the webhook of a watch',
      });
    case 'setBatch':
      return callback('{$request.body#/webhook/url}', {
        ...sendingOf('BatchEvent'),
        operationId: 'onBatchWebhook',
        summary: 'Sent to the webhook of a batch',
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
