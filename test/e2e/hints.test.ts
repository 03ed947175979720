import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { FaultInput } from '../../src/simulator/fault.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { PRIVATE_CANARY } from '../../src/simulator/wire-run.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';
import { watchReader } from '../support/watch-reader.ts';

/** What may become of a stream. */
const FAULTS: FaultInput[] = [
  { kind: 'silence' },
  { kind: 'drop', after_ms: 300 },
  { kind: 'reset' },
  { kind: 'garbage' },
  { kind: 'html' },
  { kind: 'endless_line' },
  { kind: 'status', status: 500 },
];

const ENDS = ['completed', 'failed', 'stopped', 'awaiting_human_feedback'];

let hinted: Record<'streaming' | 'refusing', Simulator>;
let unhinted: Simulator;
/** One daemon that listens to streams, and one that does not. */
let listening: DaemonProcess;
let deaf: DaemonProcess;

async function start(hints: string, noxus: Record<string, Simulator>): Promise<DaemonProcess> {
  const { url, prefix } = testRedis();
  const sources = Object.entries(noxus).map(([name, simulator]) => [
    name,
    { base_url: simulator.url, api_key: simulator.apiKey, rate_limit: { requests: 10_000 } },
  ]);
  return startDaemonProcess({
    env: { REDIS_URL: url },
    config: {
      redis: { prefix: `${prefix}-${hints}` },
      sources: Object.fromEntries(sources),
      polling: {
        hints,
        batch: 'off',
        hint_silence: '2s',
        min_interval: '50ms',
        max_interval: '100ms',
      },
      log: { level: 'debug' },
    },
  });
}

async function watchRuns(
  daemon: DaemonProcess,
  { noxus, source, count }: { noxus: Simulator; source: string; count: number },
) {
  const steps = [{ after_ms: 0, status: 'running' }];
  const ids = Array.from({ length: count }, () => noxus.add({ steps }).id);
  await daemon.api('/v1/watches/batch', { watches: ids.map((run_id) => ({ run_id, source })) });
  return ids;
}

/** The end of a run's stream, once it has ended. */
const endOf = (runId: string) =>
  listening.log().find(({ msg, run_id: id }) => msg === 'hint stream ended' && id === runId)?.[
    'end'
  ];

/** Runs with streams until they end in different ways, and the number of their polls. */
async function playStreams() {
  const noxus = hinted.streaming;
  const ids = await watchRuns(listening, { noxus, source: 'streaming', count: ENDS.length });
  const others = await watchRuns(deaf, { noxus: unhinted, source: 'plain', count: ENDS.length });
  await waitFor(() => noxus.streams.open === ids.length);
  // What was read before the streams were open does not count.
  const [before, othersBefore] = [readsOf(noxus, ids), readsOf(unhinted, others)];
  const polled = () => gained(readsOf(unhinted, others), othersBefore);
  await waitFor(() => polled().every((count) => count > 50));
  const reads = gained(readsOf(noxus, ids), before);
  const othersReads = polled();
  for (const [at, id] of ids.entries()) noxus.setStatus(id, ENDS[at] ?? '');
  await Promise.all(
    ids.map((id, at) => reader.until(id, ({ run }) => run?.status === ENDS[at], 'streaming')),
  );
  // The one that waits for a human goes on, and so does its stream.
  await waitFor(() => noxus.streams.open === 1);
  return { ids, others, reads, othersReads };
}

function readsOf(noxus: Simulator, ids: string[]): number[] {
  return ids.map((id) => noxus.requests.run(id).count);
}

function gained(counts: number[], before: number[]): number[] {
  return counts.map((count, at) => count - (before[at] ?? 0));
}

/** Runs with each kind of broken stream, which complete after that. */
async function playFaults() {
  const noxus = hinted.streaming;
  const ids: string[] = [];
  for (const fault of FAULTS) {
    const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'running' }] });
    noxus.fault({ ...fault, run_id: id, on: 'stream' });
    ids.push(id);
  }
  await listening.api('/v1/watches/batch', {
    watches: ids.map((run_id) => ({ run_id, source: 'streaming' })),
  });
  await waitFor(() => ids.every((id) => endOf(id) !== undefined), {
    describe: () => `all streams to end: ${ids.map(endOf).join()}`,
  });
  for (const id of ids) noxus.setStatus(id, 'completed');
  await Promise.all(
    ids.map((id) => reader.until(id, ({ state }) => state === 'finished', 'streaming')),
  );
  return ids.map(endOf);
}

async function playRefusals() {
  const noxus = hinted.refusing;
  noxus.fault({ kind: 'status', status: 403, on: 'stream' });
  const ids = await watchRuns(listening, { noxus, source: 'refusing', count: 5 });
  await waitFor(() => ids.every((id) => noxus.requests.run(id).count > 20));
  const opened =
    noxus.requests.total - ids.reduce((sum, id) => sum + noxus.requests.run(id).count, 0);
  for (const id of ids) noxus.setStatus(id, 'failed');
  await Promise.all(
    ids.map((id) => reader.until(id, ({ state }) => state === 'finished', 'refusing')),
  );
  return { opened };
}

const reader = watchReader(() => listening);

let streams: Awaited<ReturnType<typeof playStreams>>;
let ends: Awaited<ReturnType<typeof playFaults>>;
let refusals: Awaited<ReturnType<typeof playRefusals>>;

beforeAll(async () => {
  const simulators = await Promise.all([startSimulator(), startSimulator(), startSimulator()]);
  hinted = { streaming: simulators[0], refusing: simulators[1] };
  unhinted = simulators[2];
  [listening, deaf] = await Promise.all([start('sse', hinted), start('off', { plain: unhinted })]);
  streams = await playStreams();
  [ends, refusals] = await Promise.all([playFaults(), playRefusals()]);
}, 60_000);

afterAll(async () => {
  await stopAll([listening, deaf]);
  await Promise.all([...Object.values(hinted), unhinted].map((noxus) => noxus.close()));
});

describe('run with an event stream', () => {
  test('an event stream detects the end or wait of a run at once, with few polls', () => {
    // The next poll would have come after two minutes.
    const most = Math.max(...streams.reads);
    expect(most).toBeLessThan(Math.min(...streams.othersReads) / 4);
  });

  test('a run has one event stream, which closes with its watch', () => {
    expect(hinted.streaming.streams.maxOpen).toBeLessThanOrEqual(
      Math.max(ENDS.length, FAULTS.length + 1),
    );
  });

  test('an event stream leaves no private data in the log', () => {
    expect(JSON.stringify(listening.log())).not.toContain(PRIVATE_CANARY);
    expect(listening.stderr()).toBe('');
  });

  test('an event stream counts as a request of its own kind', async () => {
    const metrics = await (await fetch(`${listening.url}/metrics`)).text();
    expect(metrics).toMatch(
      /runwatch_requests_total\{source="streaming",kind="stream",status="200"\} \d+/,
    );
  });
});

describe('broken event stream', () => {
  const kinds = FAULTS.map((fault, at) => ({ kind: fault.kind, at }));

  test.each(kinds)(
    'an event stream with $kind is closed, and its run is polled at the usual interval',
    ({ at }) => {
      expect(ends[at]).toBeDefined();
    },
  );

  test('garbage, an endless line and silence of an event stream are reported as different ends', () => {
    expect(ends[0]).toBe('silent');
    expect(ends[5]).toBe('too_large');
  });

  test('a refused event stream is not requested again soon', () => {
    expect(refusals.opened).toBeGreaterThan(0);
    expect(refusals.opened).toBeLessThanOrEqual(5);
  });
});

describe('daemon with hints off', () => {
  test('a daemon with hints off opens no event stream', () => {
    const reads = streams.others.map((id) => unhinted.requests.run(id).count);
    expect(unhinted.requests.total).toBe(reads.reduce((sum, count) => sum + count, 0));
    expect(unhinted.streams.opened).toBe(0);
  });
});
