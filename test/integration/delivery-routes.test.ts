import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { z } from 'zod';
import { endpoint as endpointSchema } from '../../src/config/endpoint-schema.ts';
import { presentationOf, unwrap } from '../../src/config/schema-walk.ts';
import { configSchema } from '../../src/config/schema.ts';
import {
  ENDPOINT_TYPES,
  planDeliveries,
  type Delivery,
  type EndpointType,
} from '../../src/core/delivery/delivery.ts';
import { noLinks } from '../../src/core/run/links.ts';
import { watchId } from '../../src/core/watch/watch.ts';
import type { Deliverer } from '../../src/deliver/deliverer.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import {
  deriveEndpointSecret,
  deriveWebhookSecret,
  generateSecret,
} from '../../src/deliver/secrets/sign.ts';
import { AlertMessageStore } from '../../src/redis/stores/alert-store.ts';
import { SecretStore } from '../../src/redis/stores/secret-store.ts';
import { Names } from '../../src/names.ts';
import { newWatch, NOON, webhookTo } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { delivererOf } from '../support/deliverer.ts';
import { CONFIGURED } from '../support/endpoint-models.ts';
import { eventLogTo } from '../support/event-log.ts';
import { messageOf } from '../support/messages.ts';
import { sampleEvent, sampleSystemEvent } from '../support/sample-events.ts';
import type { Credentials } from '../support/services/service.ts';
import { startSmtpServer } from '../support/services/smtp.ts';
import { openStores } from '../support/stores.ts';
import { A_MESSAGE } from '../support/webhooks.ts';

const { redis, keys, watches, nodeNames, close } = openStores();
const deliverers: Deliverer[] = [];
const sealer = createSealer([randomBytes(32)]);
const signingSecret = generateSecret();
/** Names of workflows, by id. */
const names = new Map<string, string>();
/** Whether the server refuses requests by an answer that repeats them. */
let isEcho = false;
let received: { path: string; headers: IncomingHttpHeaders; body: string }[] = [];
const server = createServer((request, response) => void receive(request, response));

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { url: path = '', headers } = request;
  const body = await text(request);
  received.push({ path, headers, body });
  if (isEcho) response.statusCode = 500;
  response.end(isEcho ? [path, body.slice(0, 200), ...Object.values(headers)].join('\n') : '');
}

let origin = '';
let mailServer: Awaited<ReturnType<typeof startSmtpServer>>;

beforeAll(async () => {
  mailServer = await startSmtpServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(() => {
  received = [];
  isEcho = false;
  mailServer.reset();
});

afterAll(async () => {
  await mailServer.close();
  for (const { agents } of deliverers) agents.close();
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  await close();
});

/** The routes of one process to the endpoints of a configuration. */
function processWith(endpoints: object, sources: object = {}) {
  const egress = { allow: ['127.0.0.0/8'], require_https: true };
  const config = configSchema.parse({ data_dir: '/d', endpoints, egress, sources });
  const logged: unknown[] = [];
  const clock = { now: Date.now() };
  const process = testProcess({
    config,
    stores: {
      watches,
      nodeNames,
      endpointSecrets: new SecretStore(redis, keys),
      alertMessages: new AlertMessageStore(redis, keys),
    },
    secrets: { sealer, signingSecret },
    version: '1.2.3',
    names: new Names(),
    linksOf: (about) => ({
      ...noLinks(about),
      workflowName: names.get(about.run?.workflow_id ?? '') ?? null,
    }),
    eventLog: eventLogTo((_level, _fields, message) => logged.push(message)),
    now: () => clock.now,
    clock: { timeOfDay: () => clock.now },
  });
  const deliverer = delivererOf(process);
  deliverers.push(deliverer);
  const { routes, secrets } = deliverer;
  /** The endpoints that a reload with other endpoints reaches in another way. */
  const changedBy = (next: object) =>
    routes.prepare(configSchema.parse({ data_dir: '/d', endpoints: next }).endpoints)();
  return { routeOf: routes.routeOf, changedBy, secrets, clock, logged };
}

function deliveryTo(endpoint: string): Delivery {
  const [delivery] = planDeliveries(
    newWatch(),
    [{ id: 'evt_1', type: 'run.failed' }],
    [{ kind: 'endpoint', endpoint }],
    { wants: () => true, now: NOON },
  );
  return delivery!;
}

/** Sends to an endpoint, and says which of the secrets verify what arrived. */
async function signersOf(
  { routeOf }: ReturnType<typeof processWith>,
  to: string | Delivery,
  secrets: string[],
): Promise<string[]> {
  const route = await routeOf(typeof to === 'string' ? deliveryTo(to) : to);
  await route?.channel.send(A_MESSAGE);
  const { headers, body } = received.at(-1)!;
  return secrets.filter((secret) => {
    try {
      new Webhook(secret).verify(body, headers as Record<string, string>);
      return true;
    } catch {
      return false;
    }
  });
}

test('a rotation made by one process signs in the others within seconds, and the old secret expires', async () => {
  const own = generateSecret();
  const endpoints = { ops: { type: 'webhook', url: origin, secret: own } };
  const [one, other] = [processWith(endpoints), processWith(endpoints)];
  expect(await signersOf(other, 'ops', [own, signingSecret])).toEqual([own]);
  const rotation = await one.secrets.rotate('ops', { overlapMs: 60_000, now: false });
  const both = [rotation!.secret, own];
  expect(await signersOf(one, 'ops', both)).toEqual(both);
  other.clock.now += 2_000;
  expect(await signersOf(other, 'ops', both)).toEqual(both);
  other.clock.now += 60_000;
  expect(await signersOf(other, 'ops', both)).toEqual([rotation!.secret]);
});

test('the same channel serves while the same secrets sign', async () => {
  const { routeOf, secrets } = processWith({
    same: { type: 'webhook', url: origin, retry: ['7s'] },
  });
  const first = await routeOf(deliveryTo('same'));
  expect(first?.retry).toEqual([7_000]);
  expect((await routeOf(deliveryTo('same')))?.channel).toBe(first?.channel);
  await secrets.rotate('same', { overlapMs: 0, now: false });
  expect((await routeOf(deliveryTo('same')))?.channel).not.toBe(first?.channel);
});

test('an endpoint without a secret is signed by one of its name, never by that of the instance', async () => {
  const process = processWith({ plain: { type: 'webhook', url: origin } });
  const derived = deriveEndpointSecret(signingSecret, 'plain');
  expect(await signersOf(process, 'plain', [signingSecret, derived])).toEqual([derived]);
});

test('auth, headers and body of a configured webhook reach the receiver', async () => {
  const { routeOf } = processWith({
    chat: {
      type: 'webhook',
      url: origin,
      body: 'cloudevents',
      auth: { basic: { username: 'u', password: 'p' } },
      headers: { 'X-Team': 'a' },
    },
  });
  const route = await routeOf(deliveryTo('chat'));
  const body = JSON.stringify({ id: 'evt_1', type: 'run.failed', timestamp: 't', data: {} });
  await route?.channel.send({ ...A_MESSAGE, body });
  expect(received[0]?.headers).toMatchObject({
    authorization: 'Basic dTpw',
    'content-type': 'application/cloudevents+json',
    'x-team': 'a',
  });
  expect(JSON.parse(received[0]?.body ?? '')).toMatchObject({ type: 'runwatch.run.failed' });
});

test('a message names the workflow as it is known when it is sent, in each of its events', async () => {
  const { routeOf } = processWith({ chat: { type: 'slack', url: origin } });
  const route = await routeOf(deliveryTo('chat'));
  const event = sampleEvent('run.failed');
  const body = JSON.stringify({ ...event, data: { ...event.data, workflow_name: null } });
  const others = [1, 2, 3].map((at) => ({ eventId: `evt_${at}`, body }));
  const message = { eventId: 'evt_0', eventType: 'run.failed' as const, body };
  await route?.channel.send(message);
  names.set(event.data.run?.workflow_id ?? '', 'nightly books');
  await route?.channel.send(message);
  await route?.channel.send({ ...message, others });
  const says = received.map((one) => one.body.includes('nightly books'));
  expect(says).toEqual([false, true, true]);
});

test('a message names nodes as they are known when it is sent; a webhook gets the event unchanged', async () => {
  const { routeOf } = processWith({
    chat: { type: 'slack', url: origin },
    hook: { type: 'webhook', url: origin },
  });
  const nodes = { executed: 1, remaining: 1, running: [], failed: ['node-4'] };
  const event = sampleEvent('run.failed', { data: { nodes } });
  const message = messageOf(event);
  await nodeNames.put('default', event.data.run?.workflow_id ?? '', new Map([['node-4', 'Books']]));
  await (await routeOf(deliveryTo('chat')))?.channel.send(message);
  await (await routeOf(deliveryTo('hook')))?.channel.send(message);
  expect(received[0]?.body).toContain('Failed at Books');
  expect(received[1]?.body).toBe(message.body);
});

test('a message says the label of a source that is configured, and the name of another', async () => {
  const { routeOf } = processWith(
    { chat: { type: 'slack', url: origin } },
    { eu: { api_key: 'key' } },
  );
  const route = await routeOf(deliveryTo('chat'));
  for (const source of ['eu', 'us']) {
    await route?.channel.send(messageOf(sampleSystemEvent('source.unreachable', { source })));
  }
  const texts = received.map((one) => JSON.parse(one.body).text);
  expect(texts).toEqual(['Noxus does not answer for source eu', 'us does not answer']);
});

test('a log endpoint writes a line, and has no retries', async () => {
  const { routeOf, logged } = processWith({ audit: { type: 'log' } });
  const route = await routeOf(deliveryTo('audit'));
  await route?.channel.send(A_MESSAGE);
  expect([logged, route?.retry]).toEqual([['run.completed'], []]);
});

test('a webhook that came with a watch signs by its own secret, and is unknown without one', async () => {
  const secret = generateSecret();
  const url = `${origin}/mine`;
  const subscription = webhookTo(url, undefined, sealer.seal({ url, secret }, watchId(newWatch())));
  const watch = newWatch({}, [subscription]);
  await watches.commit({ before: null, after: watch, events: [], deliveries: [] });
  const process = processWith({});
  expect(await signersOf(process, subscription.receiver, [secret, signingSecret])).toEqual([
    secret,
  ]);
  expect(await process.routeOf(deliveryTo('nobody'))).toBeNull();
});

test('webhooks of watches without a secret are signed by one of their own, whatever their query', async () => {
  const urls = [`${origin}/a?x=1`, `${origin}/b`];
  const watch = newWatch({ runId: 'derived' });
  const subscriptions = urls.map((url) =>
    webhookTo(url, undefined, sealer.seal({ url }, watchId(watch))),
  );
  await watches.commit({
    before: null,
    after: { ...watch, subscriptions },
    events: [],
    deliveries: [],
  });
  const process = processWith({});
  const derived = [`${origin}/a?y=2`, `${origin}/b`].map((url) =>
    deriveWebhookSecret(signingSecret, { source: 'default', url }),
  );
  const signers: string[][] = [];
  for (const { receiver } of subscriptions) {
    const delivery = { ...deliveryTo(receiver), runId: 'derived' };
    signers.push(await signersOf(process, delivery, [signingSecret, ...derived]));
  }
  expect(signers).toEqual(derived.map((secret) => [secret]));
});

test('missing TLS files of an endpoint keep the daemon from starting', () => {
  const tls = { ca_file: '/nowhere/ca.pem' };
  expect(() => processWith({ ops: { type: 'webhook', url: 'https://a.example', tls } })).toThrow(
    expect.objectContaining({ code: 'tls_files_unusable' }),
  );
});

const SECRET = generateSecret();

/** Ways to configure each kind of endpoint, by name. */
const CREDENTIALS: Record<string, Credentials & { type: EndpointType }> = {
  'a webhook with a bearer token': {
    type: 'webhook',
    settings: ({ http }) => ({
      url: `${http}/hook?key=canary-query`,
      secret: SECRET,
      headers: { 'X-Key': 'canary-header' },
      auth: { bearer: 'canary-bearer' },
    }),
    arrives: {
      url: ['/hook?key=canary-query', 'path'],
      secret: [SECRET, 'signature'],
      headers: ['canary-header', 'x-key'],
      'auth.bearer': ['Bearer canary-bearer', 'authorization'],
    },
  },
  'a webhook with a password': {
    type: 'webhook',
    settings: ({ http }) => ({
      url: `${http}/hook`,
      auth: { basic: { username: 'canary-user', password: 'canary-password' } },
    }),
    arrives: {
      'auth.basic.username': ['Basic canary-user:', 'authorization'],
      'auth.basic.password': [':canary-password', 'authorization'],
    },
  },
  'the log': { type: 'log', settings: () => ({}), arrives: {} },
  ...Object.fromEntries(CONFIGURED.map((one) => [one.name, one])),
};

function arrivedBy({ path, headers, body }: (typeof received)[number]): [string, string][] {
  const sent = Object.entries(headers).map(([name, value]): [string, string] => [
    name,
    String(value).replace(/(?<=^Basic )(.*)$/, decoded),
  ]);
  return [
    ['path', path],
    ...sent,
    ...textsIn(JSON.parse(body), 'body'),
    ...verifiedBy(headers, body),
  ];
}

/** All that arrived, by its place: parts of a request, fields of its body, commands of SMTP. */
function arrived(): [place: string, text: string][] {
  return [
    ...received.flatMap(arrivedBy),
    ...mailServer.commands.map((line): [string, string] => [
      line.slice(0, 4),
      line.replace(/(?<=^AUTH PLAIN )(.*)$/, decoded),
    ]),
    ...mailServer.mails.map(({ text: mail }): [string, string] => ['mail', mail]),
  ];
}

function decoded(base64: string): string {
  return Buffer.from(base64, 'base64').toString();
}

function textsIn(value: unknown, place: string): [string, string][] {
  if (typeof value === 'string') return [[place, value]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => textsIn(inner, `${place}.${key}`));
}

function verifiedBy(headers: IncomingHttpHeaders, body: string): [string, string][] {
  if (headers['webhook-signature'] === undefined) return [];
  try {
    new Webhook(SECRET).verify(body, headers as Record<string, string>);
    return [['signature', SECRET]];
  } catch {
    return [];
  }
}

/** Settings with another value in one place. */
function withAnother(settings: object, [key = '', ...below]: string[]): object {
  const value = (settings as Record<string, object>)[key]!;
  return { ...settings, [key]: below.length > 0 ? withAnother(value, below) : another(value) };
}

function another(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(another);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, another(inner)]));
  }
  if (value === SECRET) return generateSecret();
  return String(value).replace('canary', 'canopy');
}

/** How settings are shown that are credentials or addresses, and so never whole. */
const HIDDEN = ['secret', 'url', 'webhook-url', 'secret-url'];

/** The settings of a kind of endpoint that are shown in one of these ways. */
function hiddenSettings(schema: z.core.$ZodType, ways = HIDDEN, path: string[] = []): string[] {
  const as = presentationOf(schema);
  if (as !== null) return ways.includes(as) ? [path.join('.')] : [];
  const inner = unwrap(schema);
  if (inner instanceof z.ZodRecord) return hiddenSettings(inner.valueType, ways, path);
  if (!(inner instanceof z.ZodObject)) return [];
  return Object.entries(inner.shape as Record<string, z.core.$ZodType>).flatMap(([key, child]) =>
    hiddenSettings(child, ways, [...path, key]),
  );
}

function schemaOf(type: EndpointType): z.core.$ZodType {
  const schema = endpointSchema.options.find((one) => one.shape.type.value === type);
  if (schema === undefined) throw new Error(`no schema for endpoints of type ${type}`);
  return schema;
}

describe('credentials', () => {
  test.each(Object.entries(CREDENTIALS))(
    'the credentials of %s arrive where the receiver reads them, and nowhere else',
    async (_name, { type, settings, arrives }) => {
      const at = { http: origin, smtp: `${mailServer.host}:${mailServer.port}` };
      const { routeOf } = processWith({ canary: { type, ...settings(at) } });
      const route = await routeOf(deliveryTo('canary'));
      await route?.channel.send(messageOf(sampleEvent('run.failed')));
      const places = arrived();
      const found = Object.entries(arrives).map(([setting, [looked]]) => {
        const where = places.filter(([, one]) => one.includes(looked)).map(([place]) => place);
        return [setting, [looked, ...where]];
      });
      expect(Object.fromEntries(found)).toEqual(arrives);
    },
  );

  test.each(Object.entries(CREDENTIALS).filter(([, { type }]) => !['email', 'log'].includes(type)))(
    'an answer that repeats the credentials of %s is stored without them',
    async (_name, { type, settings, arrives }) => {
      isEcho = true;
      const { routeOf } = processWith({
        canary: { type, ...settings({ http: origin, smtp: '' }) },
      });
      const route = await routeOf(deliveryTo('canary'));
      const outcome = await route?.channel.send(messageOf(sampleEvent('run.failed')));
      expect(outcome).toMatchObject({ kind: 'failed', attempt: { status: 500 } });
      const stored = outcome?.attempt.response ?? '';
      expect(stored).toContain('application/json');
      const secrets = hiddenSettings(schemaOf(type), ['secret', 'secret-url']);
      const looked = secrets.map((setting) => arrives[setting]?.[0] ?? '–');
      expect(looked.filter((credential) => stored.includes(credential))).toEqual([]);
    },
  );

  test.each(ENDPOINT_TYPES)(
    'a test looks for each credential of an endpoint of type %s',
    (type) => {
      const rows = Object.values(CREDENTIALS).filter((one) => one.type === type);
      expect(rows).not.toEqual([]);
      const looked = new Set(rows.flatMap(({ arrives }) => Object.keys(arrives)));
      const hidden = hiddenSettings(schemaOf(type));
      expect(hidden.filter((setting) => !looked.has(setting))).toEqual([]);
    },
  );

  test.each(
    Object.entries(CREDENTIALS).flatMap(([name, { type, settings, arrives }]) =>
      Object.keys(arrives).map((setting) => ({ setting, name, type, settings })),
    ),
  )(
    'a reload with another $setting of $name counts as another way to its receiver',
    ({ setting, type, settings }) => {
      const now = { type, ...settings({ http: 'http://127.0.0.1:1', smtp: '127.0.0.1:2' }) };
      const { changedBy } = processWith({ canary: now, other: { type: 'log' } });
      const next = withAnother(now, setting.split('.'));
      expect(changedBy({ canary: next, other: { type: 'log' } })).toEqual(['canary']);
    },
  );

  test('a reload that changes which events endpoints get, and when, changes no way to a receiver', () => {
    const [hook, chat] = ['https://a.example/hook', 'https://b.example/services/x'];
    const { changedBy } = processWith({
      hook: { type: 'webhook', url: hook },
      chat: { type: 'slack', url: chat },
    });
    const common = { events: ['run.failed'], rate: 3, retry: ['1s'], timeout: '5s' };
    const next = {
      hook: { type: 'webhook', url: hook, ...common },
      chat: { type: 'slack', url: chat, ...common, fold: false, mentions: { '@ana': 'U1' } },
    };
    expect(changedBy(next)).toEqual([]);
  });

  test('each kind of endpoint in the schema is a known type', () => {
    const types = endpointSchema.options.map((one) => one.shape.type.value);
    expect(types.toSorted()).toEqual([...ENDPOINT_TYPES].toSorted());
  });
});
