import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { waitUntilAllDelivered } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const RUNS = 20;

let noxus: Simulator;
/** A configured endpoint. */
let ops: Receiver;
/** Where the webhooks of watches go. */
let own: Receiver;
const daemons: DaemonProcess[] = [];

async function start(): Promise<DaemonProcess> {
  const [before] = daemons.slice(-1);
  const started = await startDaemonProcess({
    ...(before !== undefined && { dataDir: before.dataDir }),
    config: {
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: 200, per: '1s' },
        },
      },
      polling: { min_interval: '100ms', max_interval: '300ms' },
      watches: { stall_after: '600ms' },
      endpoints: { ops: { type: 'webhook', url: ops.url, secret: SECRET } },
      egress: { allow: ['127.0.0.1/32'], require_https: false },
    },
  });
  daemons.push(started);
  return started;
}

beforeAll(async () => {
  noxus = await startSimulator();
  ops = await startReceiver({ secrets: [SECRET] });
  own = await startReceiver({ secrets: [SECRET] });
});

afterAll(async () => {
  await stopAll(daemons);
  await Promise.all([ops, own, noxus].map((server) => server.close()));
});

/** The ids of events of a type that a receiver has got, each once. */
function idsOf({ received }: Receiver, type: string): Set<string> {
  const events = received.map(({ body }) => JSON.parse(body) as RunwatchEvent);
  return new Set(events.filter((event) => event.type === type).map(({ id }) => id));
}

const counts = (receiver: Receiver, types: string[]) =>
  types.map((type) => idsOf(receiver, type).size);

const ALL = ['workflow.stalled', 'workflow.recovered', 'run.stalled', 'run.recovered'];

test('twenty queued runs are one notice to an endpoint and one event each to their webhooks, over a kill', async () => {
  const killed = await start();
  const workflow_id = randomUUID();
  const ids = Array.from({ length: RUNS }, () => noxus.add({ workflow_id, steps: [] }).id);
  await killed.api('/v1/watches/batch', {
    watches: ids.map((run_id) => ({
      run_id,
      endpoints: ['ops'],
      webhook: { url: own.url, secret: SECRET },
    })),
  });
  await waitFor(() => idsOf(own, 'run.stalled').size === RUNS);
  await waitUntilAllDelivered(killed);
  expect(counts(ops, ALL)).toEqual([1, 0, 5, 0]);

  await killed.stop('SIGKILL');
  for (const id of ids) noxus.setStatus(id, 'completed');
  const last = await start();
  await waitFor(() => idsOf(own, 'run.completed').size === RUNS);
  await waitUntilAllDelivered(last);
  expect(counts(own, ALL)).toEqual([0, 0, RUNS, RUNS]);
  expect(counts(ops, [...ALL, 'run.completed'])).toEqual([1, 1, 5, 5, RUNS]);
});
