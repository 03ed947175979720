import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { anyText } from '../support/any-text.ts';
import { callAs } from '../support/call-as.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const OTHER = 'token-of-the-other-tenant';
const WITNESS = 'token-of-the-witness';

let noxus: Simulator;
let receiver: Receiver;
let daemon: DaemonProcess;
/** Runs of the witness, oldest first. */
const runs: string[] = [];
/** What the other tenant may have learned of the witness elsewhere. */
const theirs = { run: '', alert: '', delivery: '' };
/** Every method and path of the API, but the stream of events: it does not end. */
let routes: { method: string; path: string }[];

beforeAll(async () => {
  noxus = await startSimulator();
  receiver = await startReceiver({
    secrets: [],
    // The webhook that both tenants use wants a header that only the witness knows.
    respond: ({ headers }) => (headers['x-key'] === 'right' ? 204 : 401),
  });
  const source = { base_url: noxus.url, api_key: noxus.apiKey };
  const token = (name: string, secret: string, of: string) => ({
    name,
    token: secret,
    scopes: ['read', 'write'],
    sources: [of],
  });
  daemon = await startDaemonProcess({
    config: {
      sources: { mine: source, theirs: source },
      auth: { tokens: [token('other', OTHER, 'mine'), token('witness', WITNESS, 'theirs')] },
      polling: { min_interval: '50ms', max_interval: '200ms' },
      egress: { allow: ['127.0.0.0/8'], require_https: false },
      endpoints: { chat: { type: 'log', events: ['alert.*'] } },
      rules: [
        {
          name: 'failed-runs',
          events: ['run.failed'],
          group_by: ['source', 'workflow_id', 'metadata.team'],
          group_wait: '0s',
          group_interval: '100ms',
          notify: ['chat'],
        },
      ],
    },
  });
  const { body } = await call(WITNESS, 'GET', '/openapi.json');
  const paths = body.paths as Record<string, object>;
  routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
  );
  routes = routes.filter(({ path }) => /^\/v1\/(?!events\/stream)/.test(path));
});

afterAll(async () => {
  await stopAll([daemon]);
  await receiver?.close();
  await noxus?.close();
});

const call = (token: string, method: string, path: string, given?: unknown) =>
  callAs(daemon, token, method, path, given);

const failing = () => noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] }).id;

/** What the witness sees of one of its runs. */
async function seen(id: string) {
  const of = async (path: string) => (await call(WITNESS, 'GET', path)).body;
  const [events, deliveries] = [
    await of(`/v1/events?run_id=${id}&limit=200`),
    await of(`/v1/deliveries?run_id=${id}&limit=200`),
  ];
  const alerts = (await of('/v1/alerts?limit=200')).data as {
    id: string;
    count: number;
    runs: object[];
  }[];
  return {
    events: events.data.map(({ type }: { type: string }) => type),
    states: deliveries.data.map(({ state }: { state: string }) => state),
    alerts: alerts
      .filter((alert) => JSON.stringify(alert.runs).includes(id))
      .map(({ count }) => count),
  };
}

/** Registers a run that fails, and waits until the witness was notified of it in every way. */
async function witness() {
  const id = failing();
  const webhook = { url: receiver.url, headers: { 'x-key': 'right' } };
  const registered = { run_id: id, webhook, metadata: { team: `team-${id}` } };
  expect((await call(WITNESS, 'POST', '/v1/watches', registered)).status).toBe(201);
  runs.push(id);
  await waitFor(() =>
    receiver.received.some(
      ({ body, headers }) => headers['x-key'] === 'right' && body.includes(id),
    ),
  );
  await waitFor(async () => {
    const { states, alerts } = await seen(id);
    return alerts.length > 0 && states.every((state: string) => state === 'delivered');
  });
  return seen(id);
}

/** Ids of the newest things of the witness. */
async function newest(): Promise<void> {
  const firstOf = async (path: string) =>
    ((await call(WITNESS, 'GET', path)).body.data as { id: string }[])[0]?.id ?? '';
  const [alert, delivery] = [await firstOf('/v1/alerts'), await firstOf('/v1/deliveries')];
  Object.assign(theirs, { run: runs.at(-1), alert, delivery });
}

/** Everything that the witness lists is its own, and all of it is there. */
async function expectListsOfWitness(): Promise<void> {
  for (const [path, each] of [
    ['/v1/watches?limit=200', runs.length],
    ['/v1/alerts?limit=200', runs.length],
    ['/v1/silences', 0],
    // Only those of active watches.
    ['/v1/webhooks', 0],
    ['/v1/attention?acknowledged=include', null],
  ] as const) {
    const { status, text, body } = await call(WITNESS, 'GET', path);
    expect([path, status]).toEqual([path, 200]);
    if (each !== null) expect([path, body.data.length]).toEqual([path, each]);
    expect([path, body.next_cursor ?? null]).toEqual([path, null]);
    expect(text).not.toContain('mine');
  }
}

const ODD = ['', 'x', '%00', '..', '-1', '1e9', '9'.repeat(40), '*', 'mine', '1h', '99999999d'];
const names = [
  'source',
  'limit',
  'cursor',
  'state',
  'status',
  'workflow_id',
  'run_id',
  'type',
  'since',
];
const moreNames = [
  'until',
  'order',
  'kind',
  'prefix',
  'token',
  'endpoint',
  'purge',
  'acknowledged',
  'rule',
];
const odd = fc.oneof(fc.constantFrom(...ODD), anyText({ maxLength: 20 }));
/** Bodies name no other source in their texts: answers repeat those. */
const asked = fc.oneof({ weight: 9, arbitrary: odd }, fc.constant('theirs'));
const query = fc.dictionary(fc.constantFrom(...names, ...moreNames), asked, { maxKeys: 3 });

/** Stands for what the witness has: its newest run, and its own of the other's runs. */
const run = fc.constantFrom('{their run}', '{my run}');
const until = fc.constantFrom('1h', '365d', '99999999d', '2500-01-01T00:00:00Z', '0s');
const webhook = fc.record({
  url: fc.constantFrom('{their webhook}', '{their webhook}?x=1'),
  headers: fc.constantFrom({}, { 'x-key': 'wrong' }),
});
const watch = fc.record(
  {
    run_id: run,
    source: fc.constantFrom('mine', 'theirs'),
    webhook,
    metadata: fc.dictionary(fc.constantFrom('team', 'a', '__proto__'), odd),
    timeout: until,
  },
  { requiredKeys: ['run_id'] },
);
const matchers = fc.constantFrom(
  { event: ['*'] },
  { source: ['theirs'] },
  { rule: ['failed-runs'] },
  { metadata: { team: ['x'] } },
);
const bodies = fc.record({
  watch,
  watches: fc.array(watch, { maxLength: 5 }),
  matchers,
  by: fc.record({ by: odd, comment: odd, until }),
  range: fc.record({ state: fc.constantFrom('dead', ['pending', 'delivered']), since: until }),
  any: fc.object({ maxDepth: 3 }),
});
const hostile = fc.record({
  route: fc.nat(),
  part: odd,
  knowsIds: fc.boolean(),
  query,
  bodies,
  isFitting: fc.integer({ min: 0, max: 3 }).map((one) => one > 0),
});

type Hostile = typeof hostile extends fc.Arbitrary<infer One> ? One : never;

/** A body that a route takes, or any. */
function bodyFor(path: string, { bodies: given, isFitting }: Hostile): object {
  if (!isFitting) return given.any;
  if (path === '/v1/watches') return given.watch;
  if (path === '/v1/watches/batch') return { watches: given.watches };
  if (path === '/v1/silences') return { ...given.by, matchers: given.matchers };
  if (path === '/v1/silences/preview') return { matchers: given.matchers };
  if (path.endsWith('/resolve')) return { by: given.by.by, comment: given.by.comment };
  return path.endsWith('/acknowledge') ? given.by : given.range;
}

/** The part of a path that names something. */
function partOf(path: string, { knowsIds, part }: Hostile): string {
  if (!knowsIds) return part === '' ? 'x' : part;
  if (path.startsWith('/v1/alerts')) return theirs.alert;
  return path.startsWith('/v1/deliveries') ? theirs.delivery : theirs.run;
}

/** Makes a call of the other tenant, whatever comes of it. */
async function attack(given: Hostile, mine: string): Promise<void> {
  const { method = 'GET', path = '' } = routes[given.route % routes.length] ?? {};
  const filled = path.replace(/\{\w+\}/, () => encodeURIComponent(partOf(path, given)));
  const search = new URLSearchParams(given.query);
  const text = JSON.stringify(bodyFor(path, given))
    .replaceAll('{their run}', theirs.run)
    .replaceAll('{my run}', mine)
    .replaceAll('{their webhook}', receiver.url);
  const sent = method === 'POST' ? (JSON.parse(text) as unknown) : undefined;
  const answer = await call(OTHER, method, `${filled}?${search.toString()}`, sent);
  expect([method, path, answer.status >= 500]).toEqual([method, path, false]);
  const isAboutOwn = path.startsWith('/v1/watches') && method === 'POST';
  if (answer.status < 300 && !isAboutOwn) expect(answer.text).not.toContain('"theirs"');
}

test('whatever a token of one source does, that of another registers, is notified and lists as if alone', async () => {
  const alone = await witness();
  const calls = fc.array(hostile, { minLength: 20, maxLength: 40, size: 'max' });
  await fc.assert(
    fc.asyncProperty(calls, async (given) => {
      await newest();
      const mine = failing();
      const beside = witness();
      for (const one of given) await attack(one, mine);
      expect(await beside).toEqual(alone);
      await expectListsOfWitness();
    }),
    { numRuns: 6, endOnFailure: true },
  );
});
