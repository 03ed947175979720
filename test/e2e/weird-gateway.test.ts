import { writeFile } from 'node:fs/promises';
import { request as forward } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { FaultInput } from '../../src/simulator/fault.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { CERT_EXPIRED, CERT_FOR_LOCALHOST, TEST_CA, TEST_KEY } from '../support/certificates.ts';
import { eventsOf, waitUntilAllDelivered } from '../support/daemon-listings.ts';
import {
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';
import { watchReader } from '../support/watch-reader.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;

const AN_HOUR = 3_600_000;

/** The number of runs of each failing source. */
const RUNS = 2;

/** Answers for all runs of a source. Each is an outage of the source, not of a run. */
const OUTAGES: Record<string, { fault: FaultInput; says: RegExp }> = {
  '404 in HTML': { fault: { kind: 'status', status: 404, is_html: true }, says: /status 404/ },
  '422 in HTML': { fault: { kind: 'status', status: 422, is_html: true }, says: /status 422/ },
  '200 in HTML': { fault: { kind: 'html' }, says: /HTML, not JSON/ },
  'a redirect': { fault: { kind: 'status', status: 302 }, says: /redirects are not followed/ },
  'a slow drip': { fault: { kind: 'drip', ms: 60_000 }, says: /timed out after 3s/ },
  'no answer': { fault: { kind: 'stall', ms: 60_000 }, says: /timed out after 3s/ },
};

const TIMED_OUT: ReadonlySet<string> = new Set(['a slow drip', 'no answer']);

/** The source behind TLS with an expired certificate. */
const TLS = 'an expired certificate';

/** Unusual answers for one run that must not hide it or other runs. */
const ODDITIES: Record<string, { fault?: FaultInput; script?: ScriptInput }> = {
  'unrequested gzip': { fault: { kind: 'compressed', encoding: 'gzip' } },
  'unrequested br': { fault: { kind: 'compressed', encoding: 'br' } },
  'a body of 1 MiB': { script: { private_bytes: 1_048_576 } },
  'a body of 20 MiB': { fault: { kind: 'bulky', bytes: 20_971_520, count: 1 } },
  'an end in the future': {
    fault: { kind: 'claim', status: 'failed', finished_in_ms: 3_600_000 },
  },
};

/** The source of the runs with unusual answers. */
const ODD = 'odd runs';
const BACKWARDS = 'a status that goes backwards';
const FORBIDDEN = 'a 403';
const ODD_RUNS = [...Object.keys(ODDITIES), BACKWARDS, FORBIDDEN];

const FAILING = [...Object.keys(OUTAGES), TLS];
const NAMES = [...FAILING, ODD];

/** Names of sources are short and plain. */
const sourceOf = (name: string) => `source-${NAMES.indexOf(name)}`;

let receiver: Receiver;
let gateway: Server;
let stores: ReturnType<typeof openStores>;
let pair: [DaemonProcess, DaemonProcess];
/** The daemon that survives. */
let left: DaemonProcess;

const noxus: Record<string, Simulator> = {};
const runs: Record<string, string[]> = {};

const simulatorOf = (name: string) => noxus[name] as Simulator;
const runsOf = (name: string) => runs[name] ?? [];

/** Passes requests on to a simulator, by TLS. */
async function startGateway(target: () => string): Promise<Server> {
  const server = createServer({ key: TEST_KEY, cert: CERT_FOR_LOCALHOST }, (asked, response) => {
    const url = new URL(asked.url ?? '/', target());
    forward(url, { headers: asked.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** Has the gateway show another certificate to all new connections. */
function showCertificate(cert: string): void {
  gateway.setSecureContext({ key: TEST_KEY, cert });
  gateway.closeAllConnections();
}

async function startPair(): Promise<[DaemonProcess, DaemonProcess]> {
  const place = testRedis();
  stores = openStores(place);
  const ca = join(await tempDir(), 'ca.pem');
  await writeFile(ca, TEST_CA);
  const tlsUrl = `https://127.0.0.1:${(gateway.address() as AddressInfo).port}`;
  const sources = Object.fromEntries(
    NAMES.map((name) => [
      sourceOf(name),
      {
        base_url: name === TLS ? tlsUrl : simulatorOf(name).url,
        api_key: simulatorOf(name).apiKey,
        // A machine that is busy must not look like a Noxus that hangs.
        timeout: TIMED_OUT.has(name) ? '3s' : '60s',
        rate_limit: { requests: 1_000, per: '1s' },
      },
    ]),
  );
  const start = () =>
    startDaemonProcess({
      env: { REDIS_URL: place.url, NODE_EXTRA_CA_CERTS: ca },
      config: {
        redis: { prefix: place.prefix },
        sources,
        polling: { min_interval: '200ms', max_interval: '400ms', unreachable_after: '10s' },
        endpoints: { hooks: { type: 'webhook', url: receiver.url, secret: SECRET, events: ['*'] } },
      },
    });
  return Promise.all([start(), start()]);
}

const reader = watchReader(() => left ?? pair[0]);

async function watchRuns(name: string): Promise<void> {
  const steps = [{ after_ms: 0, status: 'running' }];
  const scripts = name === ODD ? ODD_RUNS.map((odd) => ODDITIES[odd]?.script ?? {}) : fill({});
  const ids = scripts.map((script) => simulatorOf(name).add({ steps, ...script }).id);
  runs[name] = ids;
  const source = sourceOf(name);
  await pair[0].api('/v1/watches/batch', { watches: ids.map((run_id) => ({ run_id, source })) });
  await Promise.all(ids.map((runId) => reader.until(runId, ({ run }) => run !== null, source)));
}

const fill = <Item>(item: Item) => Array.from({ length: RUNS }, () => item);

const oddRun = (name: string) => runsOf(ODD)[ODD_RUNS.indexOf(name)] ?? '';

const untilFinished = (runId: string, name: string) =>
  reader.until(runId, ({ state }) => state === 'finished', sourceOf(name));

/** What the receiver got about a source as a whole, oldest first. */
function sourceEvents(name: string): { type: string; data: Record<string, unknown> }[] {
  return receiver.received
    .filter(({ type }) => type?.startsWith('source.'))
    .map(({ body }) => JSON.parse(body) as { type: string; data: Record<string, unknown> })
    .filter(({ data }) => data['source'] === sourceOf(name));
}

async function readyz(daemon: DaemonProcess): Promise<string> {
  return (await fetch(`${daemon.url}/readyz`)).text();
}

async function isUp(daemon: DaemonProcess, name: string): Promise<boolean> {
  const text = await (await fetch(`${daemon.url}/metrics`)).text();
  return text.includes(`runwatch_source_up{source="${sourceOf(name)}"} 1`);
}

interface SourceJson {
  name: string;
  state: string;
  message: string | null;
  paused_until: string | null;
}

async function sourceJson(daemon: DaemonProcess, name: string): Promise<SourceJson> {
  const { body } = await daemon.api<{ data: SourceJson[] }>('/v1/sources');
  return body.data.find((one) => one.name === sourceOf(name)) as SourceJson;
}

/**
 * Kills the daemon that just asks a source which does not answer, and waits until its probe is free. Its
 * lease would last for an hour.
 */
async function killProber(): Promise<void> {
  const { probe } = stores.keys.sourceAdmission(sourceOf('no answer'));
  const request = await waitFor(() => stores.redis.get(probe));
  const prober = request.split('.')[0] ?? '';
  const { body } = await pair[0].api<{ data: { id: string; name: string }[] }>('/v1/processes');
  const name = body.data.find(({ id }) => id === prober)?.name ?? '';
  const at = pair.findIndex(({ pid }) => name.endsWith(`:${pid}`));
  await pair[at === 1 ? 1 : 0].stop('SIGKILL');
  left = pair[at === 1 ? 0 : 1];
  const isTheirs = async () => (await stores.redis.get(probe))?.startsWith(`${prober}.`) ?? false;
  if (await isTheirs()) await stores.redis.pexpire(probe, AN_HOUR);
  await waitFor(async () => !(await isTheirs()), { describe: 'the probe to be free' });
}

/** All outages at once; in the midst of them one of the daemons is killed, and runs end. */
async function playOutages() {
  for (const [name, { fault }] of Object.entries(OUTAGES)) simulatorOf(name).fault(fault);
  showCertificate(CERT_EXPIRED);
  await waitFor(() => FAILING.every((name) => sourceEvents(name).length > 0));
  const asked = `/v1/watches/${runsOf(TLS)[0]}/poll?source=${sourceOf(TLS)}`;
  const during = {
    ready: await readyz(pair[0]),
    up: await Promise.all(FAILING.map((name) => isUp(pair[1], name))),
    sources: await Promise.all(FAILING.map((name) => sourceJson(pair[0], name))),
    poll: await pair[1].api(asked, undefined, 'POST'),
  };
  await killProber();
  for (const name of FAILING) {
    for (const runId of runsOf(name)) simulatorOf(name).setStatus(runId, 'failed');
    simulatorOf(name).clearFaults();
  }
  showCertificate(CERT_FOR_LOCALHOST);
  await Promise.all(
    FAILING.flatMap((name) => runsOf(name).map((runId) => untilFinished(runId, name))),
  );
  await waitFor(() => FAILING.every((name) => sourceEvents(name).length > 1));
  await waitUntilAllDelivered(left);
  return { during };
}

/** A list may stand in for the polls of a run for minutes. */
async function pollNow(runId: string): Promise<void> {
  await pair[0].api(`/v1/watches/${runId}/poll?source=${sourceOf(ODD)}`, undefined, 'POST');
}

async function playOddity(name: string): Promise<void> {
  const runId = oddRun(name);
  const { fault } = ODDITIES[name] ?? {};
  // A claimed end stops the polls, so they are counted before it.
  const { polls } = await reader.get(runId, sourceOf(ODD));
  if (fault !== undefined) simulatorOf(ODD).fault({ ...fault, run_id: runId });
  // Read once as it is now, before it ends.
  await pollNow(runId);
  await reader.until(runId, (watch) => watch.polls > polls, sourceOf(ODD));
  simulatorOf(ODD).setStatus(runId, 'failed');
  await untilFinished(runId, ODD);
}

async function playBackwards(): Promise<void> {
  const runId = oddRun(BACKWARDS);
  for (const status of ['queued', 'running', 'failed']) {
    simulatorOf(ODD).setStatus(runId, status);
    await reader.until(runId, ({ run }) => run?.status === status, sourceOf(ODD));
  }
  simulatorOf(ODD).setStatus(runId, 'running');
  await pollNow(runId);
}

async function playForbidden(): Promise<void> {
  const runId = oddRun(FORBIDDEN);
  simulatorOf(ODD).fault({ kind: 'status', status: 403, run_id: runId });
  await pollNow(runId);
  await reader.until(runId, ({ error }) => error?.code === 'forbidden', sourceOf(ODD));
}

let outages: Awaited<ReturnType<typeof playOutages>>;

beforeAll(async () => {
  receiver = await startReceiver({ secrets: [SECRET] });
  for (const name of NAMES) noxus[name] = await startSimulator();
  gateway = await startGateway(() => simulatorOf(TLS).url);
  pair = await startPair();
  await Promise.all(NAMES.map(watchRuns));
  await Promise.all([...Object.keys(ODDITIES).map(playOddity), playBackwards(), playForbidden()]);
  outages = await playOutages();
});

afterAll(async () => {
  await stopAll(pair);
  await stores.close();
  gateway.closeAllConnections();
  gateway.close();
  await Promise.all([receiver, ...Object.values(noxus)].map((server) => server.close()));
});

const typesOf = async (runId: string) => (await eventsOf(left, runId)).map(({ type }) => type);

describe('source behind a broken gateway', () => {
  const tls = { name: TLS, says: /certificate .* has expired/ };
  const cases = Object.entries(OUTAGES)
    .map(([name, { says }]) => ({ name, says }))
    .concat(tls);

  test.each(cases)(
    'a source that gives $name is unreachable, with the reason in log, API and CLI',
    ({ name, says }) => {
      const { during } = outages;
      const at = FAILING.indexOf(name);
      expect(during.sources[at]).toMatchObject({
        state: 'unreachable',
        message: expect.stringMatching(says),
        paused_until: expect.stringMatching(/Z$/),
      });
      expect(during.up[at]).toBe(false);
      expect(during.ready).toMatch(
        new RegExp(`^degraded sources: .*${sourceOf(name)} does not`, 'm'),
      );
    },
  );

  test.each(cases)(
    'a source that gives $name has one event for failure and recovery, and one for each end',
    async ({ name }) => {
      const types = sourceEvents(name).map(({ type }) => type);
      expect(types).toEqual(['source.unreachable', 'source.recovered']);
      for (const runId of runsOf(name)) expect(await typesOf(runId)).toEqual(['run.failed']);
    },
  );

  test(`polling a source with ${TLS} answers 202 with the time of its next probe`, () => {
    expect(outages.during.poll).toMatchObject({
      status: 202,
      body: { paused_until: expect.stringMatching(/Z$/), message: expect.any(String) },
    });
  });
});

describe('daemon killed during outages', () => {
  test('a killed daemon leaves its probe to another one, and no source state or claim', async () => {
    const work = FAILING.flatMap((name) => {
      const { state, probe } = stores.keys.sourceAdmission(sourceOf(name));
      return [state, probe, stores.keys.requestClaims(sourceOf(name))];
    });
    await waitFor(async () => (await stores.redis.exists(...work)) === 0);
  });
});

describe('run with odd fields', () => {
  test.each(Object.keys(ODDITIES))('a run with %s is read like any other', async (name) => {
    expect(await typesOf(oddRun(name))).toEqual(['run.failed']);
  });

  test('a run with an end in the future has a detection delay of 0', async () => {
    const [event] = await eventsOf(left, oddRun('an end in the future'));
    expect(event?.data.detection_delay_ms).toBe(0);
    expect(Date.parse(event?.timestamp ?? '')).toBeGreaterThan(Date.now());
  });

  test(`a run with ${BACKWARDS} ends once, and is not polled afterwards`, async () => {
    expect(await typesOf(oddRun(BACKWARDS))).toEqual(['run.started', 'run.failed']);
    const watch = await reader.get(oddRun(BACKWARDS), sourceOf(ODD));
    expect(watch).toMatchObject({ state: 'finished', run: { status: 'failed' } });
  });

  test(`a run with ${FORBIDDEN} does not pause its source`, async () => {
    expect(sourceEvents(ODD)).toEqual([]);
    expect(await sourceJson(left, ODD)).toMatchObject({ state: 'answering' });
    expect(await typesOf(oddRun(FORBIDDEN))).not.toContain('run.gone');
  });
});
