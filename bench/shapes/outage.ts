import { setTimeout as delay } from 'node:timers/promises';
import type { FaultInput } from '../../src/simulator/fault.ts';
import type { Figure } from '../support/figures.ts';
import { withContext } from '../support/context.ts';
import { ENDPOINTS, setUpPolling, until, type PolledSource, type PollStage } from './polled.ts';

const WATCHES = 200;
const DAEMONS = 3;

/** Runs that end while every poll fails. */
const ENDS = 20;

const OUTAGE_MS = 20_000;

/** Requests before this do not count, since a daemon must notice an outage first, ms. */
const NOTICED_MS = 4_000;

/** How long requests count, ms. */
const COUNTED_MS = 13_000;

/** A run whose polls fail again and again is polled once a minute, and some of those polls fail, ms. */
const UNLUCKY_MS = 240_000;

const TIMEOUT_MS = 3_000;
const TIMEOUT = `${TIMEOUT_MS}ms`;

const OUTAGES: Record<string, FaultInput | 'refused'> = {
  '503': { kind: 'status', status: 503 },
  refused: 'refused',
  'time-outs': { kind: 'stall', ms: 60_000 },
  HTML: { kind: 'html' },
};

/** An outage of a source with three daemons: its cost to Noxus, and the events for users. */
async function outage(name: string, watches: number): Promise<Figure[]> {
  const fault = OUTAGES[name] ?? 'refused';
  return withContext(async (context) => {
    const stage = await setUpPolling(context, {
      daemons: DAEMONS,
      runs: watches,
      timeout: TIMEOUT,
      polling: { unreachable_after: '8s' },
    });
    const [source] = stage.sources as [PolledSource];
    await begin(source, fault);
    const noticedMs = name === 'time-outs' ? 2 * TIMEOUT_MS : NOTICED_MS;
    await delay(noticedMs);
    const from = Date.now();
    const before = await unseen(stage, fault);
    const ended = source.runs.slice(0, Math.min(ENDS, watches));
    for (const runId of ended) source.simulator.setStatus(runId, 'failed');
    await delay(COUNTED_MS);
    const arrived = source.simulator.requests.requestsBetween(from, from + COUNTED_MS);
    const requests = arrived + (await unseen(stage, fault)) - before;
    await delay(OUTAGE_MS - noticedMs - COUNTED_MS);
    const endedAt = Date.now();
    await end(source, fault);
    const delivered = () => deliveredEnds(stage, ended);
    await until(() => delivered() === ended.length * ENDPOINTS.length);
    await until(() => source.runs.every((id) => readAfter(source, id, endedAt) < Infinity));
    const reads = source.runs.map((id) => readAfter(source, id, endedAt));
    return outageFigures(`outage by ${name}, ${watches} watched`, {
      requests,
      heard: heard(stage),
      delivered: delivered() / ENDPOINTS.length,
      ended: ended.length,
      readWithinMs: Math.max(...reads) - Math.min(...reads),
    });
  });
}

interface OutageResult {
  requests: number;
  heard: Record<string, number>;
  delivered: number;
  ended: number;
  readWithinMs: number;
}

function outageFigures(name: string, result: OutageResult): Figure[] {
  const { requests, heard: events, delivered, ended, readWithinMs } = result;
  const each = ENDPOINTS.length;
  return [
    { name: `${name}: requests in 13 s`, value: requests, unit: '', target: { atMost: 40 } },
    exactly(`${name}: source.unreachable`, events['source.unreachable'] ?? 0, each),
    exactly(`${name}: source.recovered`, events['source.recovered'] ?? 0, each),
    exactly(`${name}: events of single watches`, watchEvents(events), 0),
    {
      name: `${name}: ends delivered`,
      value: delivered,
      unit: `of ${ended}`,
      target: { atLeast: ended },
    },
    {
      name: `${name}: all read after the first answer`,
      value: readWithinMs,
      unit: 'ms',
      target: { atMost: 5_000 },
    },
  ].flat();
}

/** Two bounds for an exact target. */
function exactly(name: string, value: number, wanted: number): Figure[] {
  const atMost = {
    name,
    value,
    unit: `at ${ENDPOINTS.length} endpoints`,
    target: { atMost: wanted },
  };
  return wanted === 0 ? [atMost] : [atMost, { ...atMost, target: { atLeast: wanted } }];
}

async function begin({ simulator, door }: PolledSource, fault: FaultInput | 'refused') {
  if (fault === 'refused') door.shut();
  else simulator.fault(fault);
}

async function end({ simulator, door }: PolledSource, fault: FaultInput | 'refused') {
  if (fault === 'refused') await door.open();
  else simulator.clearFaults();
}

/** When a run was first polled after a time; Infinity for never. */
function readAfter({ simulator }: PolledSource, runId: string, from: number): number {
  return simulator.requests.run(runId).times.find((at) => at >= from) ?? Infinity;
}

/** Requests that never reached Noxus, by the daemons' own counters. */
async function unseen({ daemons }: PollStage, fault: FaultInput | 'refused'): Promise<number> {
  if (fault !== 'refused') return 0;
  const counts = await Promise.all(
    daemons.map(async ({ url }) => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return [...text.matchAll(/^runwatch_requests_total\{.*status="none".*\} (\d+)$/gm)].reduce(
        (sum, [, count]) => sum + Number(count),
        0,
      );
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Different events of each type at the endpoints, summed. */
function heard({ receiver }: PollStage): Record<string, number> {
  const seen = new Set<string>();
  const counts: Record<string, number> = {};
  for (const { id, type, headers } of receiver.received) {
    const key = `${headers['x-endpoint']} ${id}`;
    if (seen.has(key) || type === null) continue;
    seen.add(key);
    counts[type] = (counts[type] ?? 0) + 1;
  }
  return counts;
}

function watchEvents(events: Record<string, number>): number {
  return Object.entries(events)
    .filter(([type]) => type.startsWith('watch.'))
    .reduce((sum, [, count]) => sum + count, 0);
}

/** Ends that have been delivered, each at each endpoint. */
function deliveredEnds({ receiver }: PollStage, runIds: readonly string[]): number {
  const delivered = new Set(
    receiver.received
      .filter(({ type }) => type === 'run.failed')
      .map(({ id, headers }) => `${headers['x-endpoint']} ${id}`),
  );
  return Math.min(delivered.size, runIds.length * ENDPOINTS.length);
}

/** Half of all answers fail, for as long as an outage: the source still answers. */
async function halfBad(): Promise<Figure[]> {
  return withContext(async (context) => {
    const stage = await setUpPolling(context, {
      daemons: DAEMONS,
      runs: WATCHES,
      timeout: TIMEOUT,
      polling: { unreachable_after: '8s' },
    });
    const [{ simulator, runs }] = stage.sources as [PolledSource];
    simulator.fault({ kind: 'status', status: 500, probability: 0.5, seed: 7 });
    await delay(OUTAGE_MS);
    const ended = runs.slice(0, ENDS);
    for (const runId of ended) simulator.setStatus(runId, 'failed');
    const endedAt = Date.now();
    const delivered = () => deliveredEnds(stage, ended) / ENDPOINTS.length;
    await until(() => delivered() === ENDS, UNLUCKY_MS);
    const lastMs = Date.now() - endedAt;
    const events = heard(stage);
    const ofSource = (events['source.unreachable'] ?? 0) + (events['source.recovered'] ?? 0);
    return [
      ...exactly('half of the answers bad: events of the source', ofSource, 0),
      {
        name: 'half of the answers bad: ends delivered',
        value: delivered(),
        unit: `of ${ENDS}`,
        target: { atLeast: ENDS },
      },
      { name: 'half of the answers bad: the last end delivered after', value: lastMs, unit: 'ms' },
    ];
  });
}

export const outageCells = {
  ...Object.fromEntries(
    Object.keys(OUTAGES).map((name) => [`outage-${name}`, () => outage(name, WATCHES)]),
  ),
  'outage-one-run': () => outage('503', 1),
  'half-bad': halfBad,
};
