import { setTimeout as delay } from 'node:timers/promises';
import { webhookReceiver } from '../../src/core/delivery/receiver.ts';
import { type Subscription, type WatchKey, watchId } from '../../src/core/watch/watch.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import { startDaemon, type BenchDaemon } from '../support/daemon.ts';
import { percentile, rounded, type Figure } from '../support/figures.ts';
import { withContext, type BenchContext } from '../support/context.ts';
import { openOutbox, type Committed, type Outbox } from '../support/outbox.ts';
import { startRedis } from '../support/redis.ts';
import { createPostLoop } from '../support/post-loop.ts';
import { settled, startSending, type Sending } from '../support/sending.ts';
import { startHost, type Behaviour, type Host } from './host.ts';

const KEY = Buffer.alloc(32, 3).toString('base64');
const sealer = createSealer([KEY]);

interface Stage {
  daemon: BenchDaemon;
  outbox: Outbox;
  host: Host;
}

/** Daemon, Redis and a host of receivers; `ops` is a configured endpoint at its path /ops. */
async function setUp(context: BenchContext, options?: { isSerial: boolean }): Promise<Stage> {
  const redis = await startRedis(context);
  const host = await startHost(context, options);
  const daemon = await startDaemon(context, {
    profileDir: null,
    config: {
      redis: { url: `unix://${redis.socket}` },
      sources: { bench: { base_url: 'http://127.0.0.1:9', api_key: 'none' } },
      endpoints: { ops: { type: 'webhook', url: `${host.origin}/ops`, events: ['*'] } },
      encryption: { keys: [KEY] },
      egress: { allow: ['127.0.0.1/32'] },
    },
  });
  return { daemon, outbox: openOutbox(context, redis), host };
}

const endpoint = (): Subscription => ({ kind: 'endpoint', endpoint: 'ops' });

/** A subscription of a per-watch webhook. */
function webhookAt(url: string): (watch: WatchKey) => Subscription {
  return (watch) => ({
    kind: 'webhook',
    receiver: webhookReceiver(url, watch.source),
    events: ['*'],
    sealed: sealer.seal({ url }, watchId(watch)),
  });
}

/** Waits until this many events have arrived at a path, or the time is over. */
async function arrived(host: Host, path: string, count: number, withinMs: number): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (host.arrivals(path).size < count && Date.now() < deadline) await delay(50);
}

/** Each event's time to its first byte, ms; infinite for those that did not arrive. */
function latencies(host: Host, path: string, committed: readonly Committed[]): number[] {
  const at = host.arrivals(path);
  return committed.map(({ eventId, scheduledAt }) => (at.get(eventId) ?? Infinity) - scheduledAt);
}

const NOTICES = 30;
const TROUBLES: Record<string, Behaviour> = {
  '410': { status: 410, delayMs: 0 },
  '429': { status: 429, delayMs: 0, headers: { 'retry-after': '3600' } },
  '500': { status: 500, delayMs: 0 },
  '404': { status: 404, delayMs: 0 },
  hanging: { status: 200, delayMs: 0, hangs: true },
};

/** What one webhook of a host gets while another one there behaves this way. */
async function neighbour(trouble: Behaviour | null): Promise<{ told: number; p90: number }> {
  return withContext(async (context) => {
    const { outbox, host } = await setUp(context);
    if (trouble !== null) host.behave('/bad', trouble);
    const committed: Committed[] = [];
    for (let notice = 0; notice < NOTICES; notice += 1) {
      await outbox.end([webhookAt(`${host.origin}/bad`)]);
      committed.push(...(await outbox.end([webhookAt(`${host.origin}/good`)])));
      await delay(100);
    }
    await arrived(host, '/good', NOTICES, 10_000);
    const all = latencies(host, '/good', committed);
    return { told: host.arrivals('/good').size, p90: percentile(all, 0.9) };
  });
}

/** Quiet latencies below this are machine noise, ms. */
const NOISE_MS = 20;

async function neighbours(): Promise<Figure[]> {
  const quiet = await neighbour(null);
  const figures: Figure[] = [{ name: 'neighbour, quiet: p90', value: quiet.p90, unit: 'ms' }];
  for (const [name, trouble] of Object.entries(TROUBLES)) {
    const beside = await neighbour(trouble);
    const most = 3 * Math.max(NOISE_MS, quiet.p90);
    figures.push(
      {
        name: `neighbour of ${name}: told`,
        value: beside.told,
        unit: `of ${NOTICES}`,
        target: { atLeast: NOTICES },
      },
      {
        name: `neighbour of ${name}: p90`,
        value: beside.p90,
        unit: 'ms',
        target: { atMost: most },
      },
    );
  }
  return figures;
}

const BURST = 500;

async function burst(): Promise<Figure[]> {
  const one = await withContext(async (context) => {
    const { outbox, host } = await setUp(context);
    host.behave('/ops', { status: 204, delayMs: 200 });
    const committed = await outbox.end(Array.from({ length: BURST }, () => endpoint));
    await arrived(host, '/ops', BURST, 60_000);
    return latencies(host, '/ops', committed);
  });
  const many = await withContext(async (context) => {
    const { outbox, host } = await setUp(context);
    host.behave('*', { status: 204, delayMs: 200 });
    const paths = Array.from({ length: BURST }, (_, at) => `/hook-${at}`);
    const committed = await outbox.end(paths.map((path) => webhookAt(host.origin + path)));
    const deadline = Date.now() + 60_000;
    while (paths.some((path) => host.arrivals(path).size === 0) && Date.now() < deadline) {
      await delay(100);
    }
    return paths.flatMap((path, at) => latencies(host, path, committed.slice(at, at + 1)));
  });
  const figure = (name: string, all: number[]): Figure => ({
    name: `burst of ${BURST} at 200 ms, ${name}: p95`,
    value: rounded(percentile(all, 0.95)),
    unit: 'ms',
    target: { atMost: 4_000 },
  });
  return [figure('one endpoint', one), figure('as many URLs of one host', many)];
}

async function serial(): Promise<Figure[]> {
  return withContext(async (context) => {
    const { outbox, host } = await setUp(context, { isSerial: true });
    host.behave('/ops', { status: 204, delayMs: 20 });
    await outbox.end(Array.from({ length: BURST }, () => endpoint));
    await arrived(host, '/ops', BURST, 60_000);
    const peak = { name: 'serial receiver, 20 ms: in flight', value: host.peak(), unit: '' };
    const late = { name: 'serial receiver, 20 ms: time-outs', value: host.givenUp(), unit: '' };
    return [
      { ...peak, target: { atMost: 96 } },
      { ...late, target: { atMost: 0 } },
    ];
  });
}

const BACKLOG = 2_000;
const FRESH = 20;

async function backlog(): Promise<Figure[]> {
  return withContext(async (context) => {
    const { daemon, outbox, host } = await setUp(context);
    host.behave('/ops', { status: 503, delayMs: 5 });
    const old = await outbox.end(Array.from({ length: BACKLOG }, () => endpoint));
    await delay(8_000);
    host.behave('/ops', { status: 204, delayMs: 50 });
    await daemon.post('/v1/endpoints/ops/retry');
    while (host.firstOkAt() === null) await delay(10);
    const fresh: Committed[] = [];
    for (let run = 0; run < FRESH; run += 1) {
      fresh.push(...(await outbox.end([endpoint])));
      await delay(250);
    }
    const deadline = Date.now() + 60_000;
    const isDrained = async () => (await outbox.counts()).byState.delivered === BACKLOG + FRESH;
    let drainedAt = Infinity;
    while (Date.now() < deadline) {
      if (await isDrained()) {
        drainedAt = Date.now();
        break;
      }
      await delay(50);
    }
    const told = host.arrivals('/ops');
    const lastOld = Math.max(...old.map(({ eventId }) => told.get(eventId) ?? Infinity));
    return [
      {
        name: `backlog of ${BACKLOG} at 50 ms: drained after the first 2xx`,
        value: Math.min(drainedAt, Math.max(lastOld, 0)) - (host.firstOkAt() ?? 0),
        unit: 'ms',
        target: { atMost: 10_000 },
      },
      {
        name: 'backlog: events of that time, p95',
        value: percentile(latencies(host, '/ops', fresh), 0.95),
        unit: 'ms',
        target: { atMost: 2_000 },
      },
    ];
  });
}

const MANY_ENDPOINTS = 200;
const ENDS_EACH = 100;

/** As many posts at once as a daemon makes by default, and for how long, ms. */
const RAW = { concurrency: 64, warmMs: 2_000, ms: 4_000 };

/** What was sent per post of the bare loop while each receiver had four slots only. */
const SENT_PER_POST = 0.6;

/**
 * All runs of all teams end at once: how much one process sends then, and how evenly it serves the
 * teams. Twice: by a process that has just started, and again once V8 has compiled what it runs, as in a
 * daemon that has been up for a while. The target is that of the second, beside a bare loop of got that
 * posts to the same receivers.
 */
async function endsAtOnce(): Promise<Figure[]> {
  return withContext(async (context) => {
    const sending = await startSending(context, { endpoints: MANY_ENDPOINTS, profileDir: null });
    const first = await sendAtOnce(sending);
    const posts = await rawPosts(context, sending);
    const again = await sendAtOnce(sending);
    const name = `${MANY_ENDPOINTS} endpoints × ${ENDS_EACH} ends at once`;
    return [
      { name: `${name}: sent, just started`, value: rounded(first.perSecond), unit: '/s' },
      { name: `${name}: sent`, value: rounded(again.perSecond), unit: '/s' },
      { name: `${name}: posts of the bare loop`, value: rounded(posts), unit: '/s' },
      {
        name: `${name}: sent per post of the bare loop`,
        value: rounded(again.perSecond / posts),
        unit: '',
        target: { atLeast: SENT_PER_POST },
      },
      ...Object.entries({ 'just started': first, again }).map(([when, { unfairness }]) => ({
        name: `${name}: half of a team's, the last beside the first team, ${when}`,
        value: rounded(unfairness),
        unit: '×',
        target: { atMost: 1.3 },
      })),
    ];
  });
}

/** Posts per second of a bare loop to the same receivers, while the daemon stands still. */
async function rawPosts(context: BenchContext, sending: Sending): Promise<number> {
  const { daemon, receivers, outbox, endpoints } = sending;
  const body = outbox.sample(endpoints[0] ?? '');
  const raw = createPostLoop({ urls: receivers.urls, body, concurrency: RAW.concurrency });
  context.onEnd(async () => raw.close());
  daemon.freeze();
  await raw.run(RAW.warmMs);
  const { requests, elapsedMs } = await raw.run(RAW.ms);
  daemon.thaw();
  return (requests * 1_000) / elapsedMs;
}

async function sendAtOnce(sending: Sending): Promise<{ perSecond: number; unfairness: number }> {
  const { daemon, outbox, endpoints } = sending;
  const names = Array.from({ length: ENDS_EACH }, () => endpoints).flat();
  daemon.freeze();
  const committed = await outbox.fill(names);
  const thawedAt = Date.now();
  daemon.thaw();
  // Throws unless each event came exactly once.
  const journeys = await settled(sending, committed);
  const times = journeys.map(({ arrivedAt }) => arrivedAt - thawedAt);
  const halves = endpoints.map((_, at) =>
    percentile(
      times.filter((_time, place) => place % MANY_ENDPOINTS === at),
      0.5,
    ),
  );
  return {
    perSecond: (names.length * 1_000) / Math.max(...times),
    unfairness: Math.max(...halves) / Math.max(1, Math.min(...halves)),
  };
}

/** Effects of receivers on one another, and of bursts and backlogs on new deliveries. */
export const deliveryCells = { neighbours, burst, serial, backlog, endsAtOnce };
