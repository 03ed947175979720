import { createServer, request, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { startSimulator } from '../../src/simulator/server.ts';
import { configOf, sourceAt, startDaemon, type BenchDaemon } from '../support/daemon.ts';
import { percentile, rounded, type Figure } from '../support/figures.ts';
import type { BenchContext } from '../support/context.ts';
import { startRedis } from '../support/redis.ts';
import { serve } from '../support/serve.ts';

const MEBIBYTE = 1_048_576;

const OTHER_ID = '00000000-0000-4000-8000-000000000000';

/** What streams do to the daemon. Each writes until its connection ends. */
const ATTACKS = {
  'one line without an end': flood('x'.repeat(65_536), 0),
  'one byte a second': flood(':', 1_000),
  '10,000 events a second': flood(event('running').repeat(100), 10),
  'events of 1 MiB': flood(event('running', 'x'.repeat(MEBIBYTE)), 100),
  'events of another run': flood(event('completed', '', OTHER_ID), 100),
  'text that is no UTF-8': flood(Buffer.from([...Buffer.from('data: '), 0xff, 0xc3, 10, 10]), 100),
  'gzip of a gigabyte': (response: ServerResponse) => {
    // A gigabyte is a thousand times this.
    const bomb = gzipSync(Buffer.alloc(MEBIBYTE, 'x'));
    return flood(bomb, 0)(response);
  },
  'states without an end': flood(event('running'), 200),
} satisfies Record<string, (response: ServerResponse) => Promise<void>>;

function event(status: string, padding = '', runId?: string): string {
  const data = { status, padding, ...(runId !== undefined && { run_id: runId }) };
  return `data: ${JSON.stringify({ type: 'state', data, redisId: '1-1' })}\n\n`;
}

function flood(piece: string | Buffer, everyMs: number) {
  return async (response: ServerResponse): Promise<void> => {
    const closed = new Promise((resolve) => response.once('close', resolve));
    while (!response.destroyed) {
      const isTaken = response.write(piece);
      if (everyMs > 0) await delay(everyMs);
      else if (!isTaken)
        await Promise.race([closed, new Promise((resolve) => response.once('drain', resolve))]);
    }
  };
}

/** Runs with streams of each kind of attack, and runs that end meanwhile. */
const RUNS_OF_EACH = 2;
const OTHERS = 30;
const LIFE_MS = 6_000;
const API_EVERY_MS = 100;

/** Of all streams together, 32 MiB of events that have begun are kept (`fetch/event-stream.ts`). */
const MOST_HELD_MB = 40;

/** Delays and answers below these are alike, s. */
const ALIKE_S = 0.1;

interface Measured {
  delayS: number;
  apiS: number;
  /** What the process holds after a collection, while streams go on. */
  heldMb: number;
  rssMb: number;
}

/** The delay of other runs, and answers of the API, beside hostile streams and without them. */
export async function hostileFigures(context: BenchContext): Promise<Figure[]> {
  const quiet = await measure(context, false);
  const hostile = await measure(context, true);
  const figure = (name: string, of: 'delayS' | 'apiS'): Figure => ({
    name: `hostile: ${name}`,
    value: rounded(hostile[of]),
    unit: `s (quiet ${rounded(quiet[of])})`,
    target: { atMost: Math.max(ALIKE_S, rounded(2 * quiet[of])) },
  });
  return [
    figure('delay p95 of other runs', 'delayS'),
    figure('answers of the API p95', 'apiS'),
    {
      name: 'hostile: memory that is held beyond that of a quiet daemon',
      value: rounded(hostile.heldMb - quiet.heldMb),
      unit: `MB (RSS ${rounded(hostile.rssMb)}, quiet ${rounded(quiet.rssMb)})`,
      target: { atMost: MOST_HELD_MB },
    },
  ];
}

async function measure(context: BenchContext, isHostile: boolean): Promise<Measured> {
  const redis = await startRedis(context);
  const simulator = await startSimulator();
  context.onEnd(() => simulator.close());
  const attacks = new Map<string, (response: ServerResponse) => Promise<void>>();
  const url = await startGate(context, simulator.url, attacks);
  const daemon = await startDaemon(context, {
    config: configOf(redis, sourceAt({ url, apiKey: simulator.apiKey }, 100)),
    profileDir: null,
    // So that the two differ in memory by the attacks alone.
    isGrown: true,
    inspect: true,
  });
  const add = (lifeMs: number) =>
    simulator.add({
      private_bytes: 0,
      steps: [
        { after_ms: 0, status: 'running' },
        { after_ms: lifeMs, status: 'completed' },
      ],
    }).id;
  // So that streams are known to be had.
  await daemon.register(Array.from({ length: OTHERS }, () => add(2_000)));
  await delay(12_000);
  const hostile = Object.values(ATTACKS).flatMap((attack) =>
    Array.from({ length: RUNS_OF_EACH }, () => {
      const id = add(600_000);
      if (isHostile) attacks.set(id, attack);
      return id;
    }),
  );
  await daemon.register(hostile);
  const ids = Array.from({ length: OTHERS }, (_, at) => add(LIFE_MS + 200 * at));
  await daemon.register(ids);
  const api = await answersOf(daemon, LIFE_MS + 200 * OTHERS + 2_000);
  const events = await daemon.events('run.completed');
  const delays = ids.map((id) => {
    const found = events.find(({ data }) => data.run_id === id);
    return (found?.data.detection_delay_ms ?? Infinity) / 1_000;
  });
  const { rssBytes } = await daemon.usage();
  const { heapBytes, bufferBytes, nativeBytes } = await daemon.inspect();
  await daemon.end();
  return {
    delayS: percentile(delays, 0.95),
    apiS: api,
    heldMb: (heapBytes + bufferBytes + nativeBytes) / MEBIBYTE,
    rssMb: rssBytes / MEBIBYTE,
  };
}

/** How long the API takes to answer, p95, s. */
async function answersOf({ url }: BenchDaemon, forMs: number): Promise<number> {
  const taken: number[] = [];
  const until = Date.now() + forMs;
  while (Date.now() < until) {
    const startedAt = performance.now();
    await (await fetch(`${url}/v1/watches?limit=10`)).arrayBuffer();
    taken.push((performance.now() - startedAt) / 1_000);
    await delay(API_EVERY_MS);
  }
  return percentile(taken, 0.95);
}

/** Stands before the simulator, and answers for the event streams of some runs. */
async function startGate(
  context: BenchContext,
  base: string,
  attacks: ReadonlyMap<string, (response: ServerResponse) => Promise<void>>,
): Promise<string> {
  const server = createServer((incoming, response) => {
    const [, runId = ''] = /^\/v1\/runs\/([^/]+)\/events/.exec(incoming.url ?? '') ?? [];
    const attack = attacks.get(runId);
    if (attack !== undefined) {
      const encoding = attack === ATTACKS['gzip of a gigabyte'] ? 'gzip' : 'identity';
      response.writeHead(200, {
        'content-type': 'text/event-stream',
        'content-encoding': encoding,
      });
      void attack(response);
      return;
    }
    const { method, headers } = incoming;
    const outgoing = request(new URL(incoming.url ?? '', base), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    response.once('close', () => outgoing.destroy());
    outgoing.once('error', () => response.destroy());
    incoming.pipe(outgoing);
  });
  return serve(context, server);
}
