import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import type { FaultInput } from '../../src/simulator/fault.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { eventsOf, waitUntilAllDelivered } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';
import { watchReader } from '../support/watch-reader.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

/** How long there may be trouble before a watch counts as unreachable, ms. */
const UNREACHABLE_AFTER_MS = 3_500;

/** How often a source that refuses its key is tried again, ms. */
const PROBE_MS = 1_000;

/** Faults of reading one run, and the error code of its watch. */
const FAULTS: { what: string; fault: FaultInput; code: string }[] = [
  { what: 'is answered with 500', fault: { kind: 'status', status: 500 }, code: 'unavailable' },
  { what: 'is answered with 403', fault: { kind: 'status', status: 403 }, code: 'forbidden' },
  {
    what: "is answered with a proxy's 404",
    fault: { kind: 'status', status: 404, is_html: true },
    code: 'unavailable',
  },
  { what: 'is answered with a 422', fault: { kind: 'status', status: 422 }, code: 'unavailable' },
  { what: 'is redirected', fault: { kind: 'status', status: 307 }, code: 'unavailable' },
  { what: 'is answered with 502', fault: { kind: 'status', status: 502 }, code: 'unavailable' },
  { what: 'is cut off by resets', fault: { kind: 'reset' }, code: 'unavailable' },
  { what: 'stalls for 10 s', fault: { kind: 'stall', ms: 10_000 }, code: 'unavailable' },
  { what: 'drips for 10 s', fault: { kind: 'drip', ms: 10_000 }, code: 'unavailable' },
  { what: 'is answered with HTML', fault: { kind: 'html' }, code: 'invalid_response' },
  { what: 'is answered with cut JSON', fault: { kind: 'truncated' }, code: 'invalid_response' },
  { what: 'is answered without end', fault: { kind: 'oversize' }, code: 'invalid_response' },
  { what: 'is answered with garbage', fault: { kind: 'garbage' }, code: 'invalid_response' },
  { what: 'is answered with another run', fault: { kind: 'other_run' }, code: 'invalid_response' },
];

/** Faults where the daemon ends the connection. */
const GIVEN_UP: ReadonlySet<string> = new Set(['stall', 'drip', 'oversize']);

const SOURCES = ['faulty', 'refusing', 'healthy', 'seconds', 'date', 'years'] as const;
type Source = (typeof SOURCES)[number];

let receiver: Receiver;
let noxus: Record<Source, Simulator>;
/** Two daemons on one Redis, which share the state of each source. */
let pair: [DaemonProcess, DaemonProcess];
let stores: ReturnType<typeof openStores>;

/** Waits until what was claimed of a source has ended. @returns since when nothing of it is under way */
async function untilQuiet(source: Source): Promise<number> {
  const claims = stores.keys.requestClaims(source);
  await waitFor(async () => (await stores.redis.hlen(claims)) === 0);
  return Date.now();
}

async function start({ url, prefix }: ReturnType<typeof testRedis>): Promise<DaemonProcess> {
  const sources = Object.fromEntries(
    SOURCES.map((name) => [
      name,
      {
        base_url: noxus[name].url,
        api_key: noxus[name].apiKey,
        timeout: '2s',
        rate_limit: { requests: 10_000, per: '1s' },
      },
    ]),
  );
  return startDaemonProcess({
    env: { REDIS_URL: url },
    config: {
      redis: { prefix },
      sources,
      polling: {
        min_interval: '100ms',
        max_interval: '200ms',
        unreachable_after: `${UNREACHABLE_AFTER_MS}ms`,
        unauthorized_probe: `${PROBE_MS}ms`,
      },
      endpoints: {
        hooks: { type: 'webhook', url: receiver.url, secret: SECRET, events: ['*'] },
        ops: { type: 'webhook', url: receiver.url, secret: SECRET, events: ['source.throttled'] },
      },
      egress: { allow: ['127.0.0.1/32'] },
    },
  });
}

/** Adds runs that are running, registers them, and waits until they have been seen. */
async function watchRuns(source: Source, count: number): Promise<string[]> {
  const steps = [{ after_ms: 0, status: 'running' }];
  const ids = Array.from({ length: count }, () => noxus[source].add({ steps }).id);
  await pair[0].api('/v1/watches/batch', { watches: ids.map((run_id) => ({ run_id, source })) });
  await Promise.all(ids.map((runId) => reader.until(runId, ({ run }) => run !== null, source)));
  return ids;
}

const reader = watchReader(() => pair[1]);

async function pollNow(source: Source, runId: string, daemon = pair[0]): Promise<void> {
  await daemon.api(`/v1/watches/${runId}/poll?source=${source}`, undefined, 'POST');
}

const waitUntilFinished = (source: Source, ids: string[]) =>
  Promise.all(ids.map((runId) => reader.until(runId, ({ state }) => state === 'finished', source)));

const typesOf = async (runId: string) => (await eventsOf(pair[0], runId)).map(({ type }) => type);

const receivedTypes = (runId: string) =>
  receiver.received.filter(({ body }) => body.includes(runId)).map(({ type }) => type);

const linesOf = (msg: string, source: Source) =>
  pair
    .flatMap((daemon) => daemon.log())
    .filter((line) => line.msg === msg && line['source'] === source);

async function readyz({ url }: DaemonProcess) {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, text: await response.text() };
}

/** Runs of which each has its own trouble, fail unseen, and can be read again later. */
async function playFaults() {
  const ids = await watchRuns('faulty', FAULTS.length + 2);
  const hiccup = ids.pop() ?? '';
  // Beside those that fail, so that the source answers.
  const well = ids.pop() ?? '';
  noxus.faulty.fault({ kind: 'status', status: 500, count: 1, run_id: hiccup });
  for (const [at, { fault }] of FAULTS.entries()) {
    noxus.faulty.fault({ ...fault, run_id: ids[at] ?? '' });
  }
  for (const runId of [...ids, hiccup]) noxus.faulty.setStatus(runId, 'failed');

  const during = await Promise.all(
    ids.map(async (runId, at) => {
      const seen = await reader.until(runId, ({ sequence }) => sequence > 0, 'faulty');
      // No further event follows. A slow machine may see time-outs as well.
      await pollNow('faulty', runId);
      const { error, run } = await reader.until(
        runId,
        (watch) => watch.polls > seen.polls && watch.error?.code === FAULTS[at]?.code,
        'faulty',
      );
      return { code: error?.code, status: run?.status, types: await typesOf(runId) };
    }),
  );
  const ready = await readyz(pair[0]);
  noxus.faulty.clearFaults();
  // The runs would recover by themselves, but the next poll may be ten seconds away.
  for (const runId of ids) await pollNow('faulty', runId);
  noxus.faulty.setStatus(well, 'completed');
  await waitUntilFinished('faulty', [...ids, hiccup, well]);
  return { ids, hiccup, during, ready };
}

/** A source that refuses the key for several probes, beside one that is well. */
async function playRefusal() {
  const source = noxus.refusing;
  const [ids, healthy] = await Promise.all([watchRuns('refusing', 5), watchRuns('healthy', 1)]);
  source.fault({ kind: 'status', status: 401 });
  const refusals = () => source.requests.statuses['401'] ?? 0;
  await waitFor(() => linesOf('source.unauthorized', 'refusing')[0]);
  const { state } = await stores.sources.read('refusing');
  const probeAt = state?.closed?.probeAt ?? Infinity;
  const from = await untilQuiet('refusing');
  const before = source.requests.total - refusals();
  // Being asked to look now makes neither of them ask.
  for (const [turn, runId] of ids.entries()) await pollNow('refusing', runId, pair[turn % 2]);
  for (const runId of ids) source.setStatus(runId, 'completed');
  await waitFor(() => refusals() >= 8);
  const requests = source.requests.total - before;
  const probes = refusals();
  const ready = await Promise.all(pair.map(readyz));
  const during = await Promise.all(ids.map(typesOf));
  for (const runId of healthy) noxus.healthy.setStatus(runId, 'completed');
  await waitUntilFinished('healthy', healthy);
  source.clearFaults();
  await waitUntilFinished('refusing', ids);
  // Others may be paused at this time.
  const readyAfter = await waitFor(async () => {
    const answer = await readyz(pair[1]);
    return !/^\w+ sources: .*refusing/m.test(answer.text) && answer;
  });
  return { ids, healthy, from, probeAt, requests, probes, during, ready, readyAfter };
}

/** A source that asks for a pause; meanwhile its runs complete, and one more is registered. */
async function playPause(source: 'seconds' | 'date') {
  const ids = await watchRuns(source, 10);
  const seconds = source === 'seconds' ? 4 : 3;
  noxus[source].fault({
    kind: 'status',
    status: 429,
    retry_after: seconds,
    retry_after_form: source,
  });
  const line = await waitFor(() => linesOf('source.paused', source)[0]);
  const until = Date.parse(String(line['until'])) - 20;
  // What was under way when the first was refused may still arrive.
  const from = await untilQuiet(source);
  noxus[source].clearFaults();
  for (const runId of ids) noxus[source].setStatus(runId, 'completed');
  // Neither being asked to look now nor a new watch makes either of them ask.
  for (const [turn, runId] of ids.entries()) await pollNow(source, runId, pair[turn % 2]);
  const added = noxus[source].add({ steps: [{ after_ms: 0, status: 'failed' }] }).id;
  await pair[1].api('/v1/watches', { run_id: added, source });
  await waitUntilFinished(source, [...ids, added]);
  return { ids, added, asked: Number(line['pause_ms']), seconds, from, until };
}

/** A source that asks for a pause without end, which is said everywhere and lifted by hand. */
async function playLongPause() {
  const [runId = ''] = await watchRuns('years', 1);
  const source = noxus.years;
  source.fault({ kind: 'status', status: 429, retry_after: 1_000_000 });
  await waitFor(() => linesOf('source.paused', 'years')[0]);
  await untilQuiet('years');
  source.clearFaults();
  source.setStatus(runId, 'completed');
  const cli = (...args: string[]) => runBuiltCli(args, { RUNWATCH_URL: pair[1].url });
  // A scrape that the store did not answer in time leaves figures out.
  const isUp = await waitFor(async () => {
    const metrics = await (await fetch(`${pair[1].url}/metrics`)).text();
    return /runwatch_source_up\{source="years"\} (\d)/.exec(metrics)?.[1];
  });
  const during = {
    at: Date.now(),
    poll: await pair[0].api(`/v1/watches/${runId}/poll?source=years`, undefined, 'POST'),
    sources: await pair[0].api('/v1/sources'),
    ready: await readyz(pair[1]),
    isUp,
    listed: await cli('sources'),
  };
  const resumed = await cli('sources', 'resume', 'years');
  await waitUntilFinished('years', [runId]);
  return { runId, during, resumed, readyAfter: await readyz(pair[0]) };
}

let longPause: Awaited<ReturnType<typeof playLongPause>>;
let faults: Awaited<ReturnType<typeof playFaults>>;
let refusal: Awaited<ReturnType<typeof playRefusal>>;
let pauses: Record<'seconds' | 'date', Awaited<ReturnType<typeof playPause>>>;

beforeAll(async () => {
  receiver = await startReceiver({ secrets: [SECRET] });
  const simulators = await Promise.all(SOURCES.map(() => startSimulator()));
  noxus = Object.fromEntries(SOURCES.map((name, at) => [name, simulators[at]])) as typeof noxus;
  const place = testRedis();
  stores = openStores(place);
  pair = await Promise.all([start(place), start(place)]);
  longPause = await playLongPause();
  // Side by side, for most of the time of each is spent waiting.
  const [first, second, seconds, date] = await Promise.all([
    playFaults(),
    playRefusal(),
    playPause('seconds'),
    playPause('date'),
  ]);
  [faults, refusal, pauses] = [first, second, { seconds, date }];
  await waitUntilAllDelivered(pair[0]);
});

afterAll(async () => {
  await stopAll(pair);
  await stores.close();
  await Promise.all([receiver, ...Object.values(noxus)].map((server) => server.close()));
});

describe('run with failing polls', () => {
  const cases = FAULTS.map(({ what, code }, at) => ({ what, code, at }));

  test.each(cases)('a poll that $what never yields a failed run', ({ code, at }) => {
    const status = 'running';
    expect(faults.during[at]).toEqual({ code, status, types: ['watch.unreachable'] });
  });

  test.each(cases)(
    'a poll that $what yields unreachable and recovered once each, then the later events',
    async ({ at }) => {
      const runId = faults.ids[at] ?? '';
      const types = ['watch.unreachable', 'watch.recovered', 'run.failed'];
      expect(await typesOf(runId)).toEqual(types);
      expect(receivedTypes(runId)).toEqual(types);
      expect(await reader.get(runId, 'faulty')).toMatchObject({ error: null });
    },
  );

  test('watch.unreachable contains the reason, its start and the last snapshot', async () => {
    const [unreachable] = (await eventsOf(pair[0], faults.ids[0] ?? '')) as [RunwatchEvent];
    const { error, detected_at: at, run, previous } = unreachable.data;
    expect(error).toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/^status 500 \(request id [0-9a-f-]{36}\)$/),
    });
    expect(Date.parse(at) - Date.parse(error?.since ?? '')).toBeGreaterThanOrEqual(
      UNREACHABLE_AFTER_MS,
    );
    expect([run?.status, previous?.status]).toEqual(['running', 'running']);
  });

  test("a short failure of polls yields only the run's own events", () => {
    expect(receivedTypes(faults.hiccup)).toEqual(['run.failed']);
  });

  test('failing polls keep the daemon ready, and never have two requests in flight for a run', () => {
    expect(faults.ready.text).not.toMatch(/^failed sources: /m);
    // Noxus may notice an aborted read only after the next one has arrived.
    const answered = faults.ids.filter((_, at) => !GIVEN_UP.has(FAULTS[at]?.fault.kind ?? ''));
    for (const runId of [...answered, faults.hiccup]) {
      expect(noxus.faulty.requests.run(runId).maxInFlight).toBe(1);
    }
  });
});

describe('source that refuses the API key', () => {
  test('a refused API key is logged once by one daemon', () => {
    expect(refusal.probes).toBeGreaterThanOrEqual(8);
    expect(linesOf('source.unauthorized', 'refusing')).toMatchObject([
      { level: 'error', message: expect.stringContaining('401') },
    ]);
    expect(linesOf('source.authorized', 'refusing')).toMatchObject([{ level: 'info' }]);
  });

  test('a source that refuses the key gets probes only, while other sources are polled', () => {
    expect(refusal.requests).toBe(refusal.probes);
    const { from, probeAt } = refusal;
    expect(noxus.refusing.requests.requestsBetween(from, probeAt - 20)).toBe(0);
    expect(receivedTypes(refusal.healthy[0] ?? '')).toEqual(['run.completed']);
    expect(linesOf('source.unauthorized', 'healthy')).toEqual([]);
  });

  test('a refused API key degrades every daemon and makes none unready, until it is accepted', () => {
    for (const { text } of refusal.ready) {
      expect(text).not.toMatch(/^failed sources: /m);
      expect(text).toMatch(/^degraded sources: .*refusing/m);
    }
    expect(refusal.readyAfter.text).toMatch(/^(ok|degraded) sources: /m);
  });

  test('a refused API key makes no run unreachable, and loses no event', () => {
    for (const types of refusal.during) expect(types).toEqual([]);
    for (const runId of refusal.ids) expect(receivedTypes(runId)).toEqual(['run.completed']);
  });
});

describe.each(['seconds', 'date'] as const)('Retry-After as %s', (form) => {
  test(`a source that answers 429 with Retry-After as ${form} gets no request for that time`, () => {
    const { from, until, asked, seconds } = pauses[form];
    expect(asked).toBeGreaterThan((seconds - 0.5) * 1_000);
    const { requests } = noxus[form];
    expect(requests.requestsBetween(from, until)).toBe(0);
    // Only what was under way when the first was refused: a poll and a stream of each run, and their list.
    expect(requests.statuses['429']).toBeLessThanOrEqual(2 * pauses[form].ids.length + 1);
  });

  test(`a pause by Retry-After as ${form} yields no event`, async () => {
    const { ids, added, until } = pauses[form];
    for (const runId of [...ids, added]) {
      const [first] = await eventsOf(pair[1], runId);
      expect(Date.parse(first?.data.detected_at ?? '')).toBeGreaterThanOrEqual(until);
    }
  });

  test(`after a pause by Retry-After as ${form} all runs are polled, and each event is sent once`, () => {
    const { ids, added } = pauses[form];
    for (const runId of ids) expect(receivedTypes(runId)).toEqual(['run.completed']);
    expect(receivedTypes(added)).toEqual(['run.failed']);
    expect(noxus[form].requests.maxInFlightPerRun).toBe(1);
  });
});

describe('Retry-After of days', () => {
  test('a source is paused for at most 15 minutes, and shows until when', () => {
    const { at, sources, poll, listed } = longPause.during;
    const { data } = sources.body as { data: { name: string; paused_until: string }[] };
    const paused = data.find(({ name }) => name === 'years');
    const until = paused?.paused_until ?? '';
    expect(paused).toMatchObject({
      state: 'paused',
      message: expect.stringMatching(/^status 429, asks for 86400 s/),
    });
    expect(Date.parse(until)).toBeGreaterThan(at);
    expect(Date.parse(until)).toBeLessThanOrEqual(at + 900_000);
    expect(poll).toMatchObject({ status: 202, body: { paused_until: until } });
    expect(listed.stdout).toMatch(/^years +paused .*asks for 86400 s/m);
  });

  test('a long pause sends source.throttled once, degrades readiness, and shows in the metrics', () => {
    const { ready, isUp } = longPause.during;
    expect(ready).toMatchObject({
      text: expect.stringMatching(/^degraded sources: .*years has asked for a pause/m),
    });
    expect(isUp).toBe('0');
    const throttled = receiver.received.filter(({ type }) => type === 'source.throttled');
    expect(throttled.map(({ body }) => JSON.parse(body) as object)).toMatchObject([
      { data: { source: 'years', watches: 1 } },
    ]);
  });

  test('resuming a paused source polls it at once', () => {
    expect(longPause.resumed).toMatchObject({ exitCode: 0 });
    expect(receivedTypes(longPause.runId)).toEqual(['run.completed']);
    expect(longPause.readyAfter.text).toMatch(/^ok sources: /m);
  });
});
