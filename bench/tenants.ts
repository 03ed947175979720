import { setTimeout as delay } from 'node:timers/promises';
import { startReceiver, type Receiver } from '../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { sourceAt, startDaemon, type BenchDaemon } from './support/daemon.ts';
import { median, rounded, type BenchResult } from './support/figures.ts';
import { startRedis } from './support/redis.ts';

const TOKENS = { witness: 'bench-token-of-the-witness', other: 'bench-token-of-the-other' };

/** Runs of the witness in a stretch, one after the other. */
const RUNS = 12;

/** How long the other token waits between two requests, ms. */
const REST_MS = 100;

/** Watches that the other token's listings go through. */
const CROWD = 2_000;

interface TenantsOptions {
  rounds: number;
  profileDir: string | null;
}

/** What the witness waited for, ms. */
interface Waited {
  registering: number;
  notified: number;
  listing: number;
}

/**
 * The times of a token that is limited to one source, alone and beside a token of another source that lists,
 * looks up, registers runs with webhooks that are refused, and silences, one request after the other. The
 * stretches alternate, so that a busy machine affects both.
 *
 * Target: to register, to be notified of the run's end and to list take at most 1.5 times as long, by the
 * median of the rounds' ratios.
 */
export async function benchTenants({ rounds, profileDir }: TenantsOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const stage = await openStage(context, profileDir);
    await stretch(stage);
    const found: { alone: Waited; beside: Waited }[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const alone = await stretch(stage);
      const end = besiege(stage);
      const beside = await stretch(stage);
      await end();
      found.push({ alone, beside });
    }
    const figures = (['registering', 'notified', 'listing'] as const).flatMap((what) => [
      {
        name: `${NAMES[what]}, alone`,
        value: rounded(median(found.map(({ alone }) => alone[what]))),
        unit: 'ms',
      },
      {
        name: `${NAMES[what]}, beside the other token`,
        value: rounded(median(found.map(({ alone, beside }) => beside[what] / alone[what]))),
        unit: '×',
        target: { atMost: 1.5 },
      },
    ]);
    return { figures, details: { found } };
  });
}

const NAMES: Record<keyof Waited, string> = {
  registering: 'to register',
  notified: 'from the end of a run to its webhook',
  listing: 'to list',
};

interface Stage {
  daemon: BenchDaemon;
  own: Simulator;
  others: Simulator;
  receiver: Receiver;
}

async function openStage(context: BenchContext, profileDir: string | null): Promise<Stage> {
  const redis = await startRedis(context);
  const [own, others, receiver] = await Promise.all([
    startSimulator(),
    startSimulator(),
    startReceiver({ secrets: [] }),
  ]);
  for (const server of [own, others, receiver]) context.onEnd(() => server.close());
  const daemon = await startDaemon(context, {
    config: {
      redis: { url: `unix://${redis.socket}` },
      sources: { own: sourceAt(own), others: sourceAt(others) },
      polling: { min_interval: '50ms', max_interval: '200ms' },
      auth: {
        tokens: [
          { name: 'witness', token: TOKENS.witness, sources: ['own'] },
          { name: 'other', token: TOKENS.other, sources: ['others'] },
        ],
      },
      egress: { allow: ['127.0.0.1/32'], require_https: false },
    },
    profileDir,
  });
  const watches = Array.from({ length: CROWD }, () => ({
    run_id: others.add({ steps: [{ after_ms: 0, status: 'completed' }] }).id,
    source: 'others',
  }));
  for (let at = 0; at < CROWD; at += 1_000) {
    const batch = { watches: watches.slice(at, at + 1_000) };
    await call(daemon, 'other', 'POST', '/v1/watches/batch', batch);
  }
  return { daemon, own, others, receiver };
}

/** Registers runs of the witness, ends them, and lists. @returns the medians */
async function stretch({ daemon, own, receiver }: Stage): Promise<Waited> {
  const waited: Record<keyof Waited, number[]> = { registering: [], notified: [], listing: [] };
  for (let run = 0; run < RUNS; run += 1) {
    const { id } = own.add({ steps: [{ after_ms: 0, status: 'running' }] });
    const body = { run_id: id, source: 'own', webhook: { url: receiver.url } };
    waited.registering.push(
      await timed(() => call(daemon, 'witness', 'POST', '/v1/watches', body)),
    );
    await waitFor(() => own.requests.run(id).count > 0);
    own.setStatus(id, 'completed');
    waited.notified.push(
      await timed(() =>
        waitFor(() => receiver.received.some((one) => one.body.includes(id)), { everyMs: 1 }),
      ),
    );
    waited.listing.push(await timed(() => call(daemon, 'witness', 'GET', '/v1/watches?limit=50')));
  }
  return {
    registering: median(waited.registering),
    notified: median(waited.notified),
    listing: median(waited.listing),
  };
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await act();
  return performance.now() - startedAt;
}

/** Has the other token make requests of every kind. @returns what ends that */
function besiege({ daemon, others }: Stage): () => Promise<void> {
  const over = new AbortController();
  let turn = 0;
  const kinds: (() => [method: string, path: string, body?: unknown])[] = [
    () => ['GET', '/v1/watches?limit=200&metadata.team=none'],
    () => ['GET', '/v1/events?limit=200'],
    () => ['GET', '/v1/lookup?kind=run&prefix=aaaa'],
    () => {
      const { id } = others.add({ steps: [{ after_ms: 0, status: 'completed' }] });
      const webhook = { url: 'http://127.0.0.1:9/refused' };
      return ['POST', '/v1/watches', { run_id: id, source: 'others', webhook }];
    },
    () => ['GET', '/v1/deliveries?limit=200'],
    () => ['GET', '/v1/workflows'],
    () => [
      'POST',
      '/v1/silences',
      { matchers: { source: 'others', event: 'run.failed' }, until: '1s', by: 'o', comment: 'c' },
    ],
  ];
  const one = async () => {
    while (!over.signal.aborted) {
      const [method, path, body] = kinds[(turn += 1) % kinds.length]!();
      await call(daemon, 'other', method, path, body);
      await delay(REST_MS);
    }
  };
  const all = one();
  return async () => {
    over.abort();
    await all;
  };
}

/** Calls the API; only what a full share of the other token is refused by counts as no fault. */
async function call(
  { url }: BenchDaemon,
  as: keyof typeof TOKENS,
  method: string,
  path: string,
  body?: unknown,
): Promise<void> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: `Bearer ${TOKENS[as]}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const isShare = as === 'other' && (response.status === 409 || response.status === 429);
  if (!response.ok && !isShare) throw new Error(`${method} ${path}: ${response.status} ${text}`);
}
