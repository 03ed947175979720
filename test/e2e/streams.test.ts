import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { FaultInput } from '../../src/simulator/fault.ts';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const RUNS = 5;
const SLOW = { min_interval: '50s' };

let noxus: Simulator;
let daemons: DaemonProcess[];

/** A daemon, by default one that would read a run again after fifty seconds only. */
function start({ url, prefix }: TestRedis, polling: object = SLOW): Promise<DaemonProcess> {
  return startDaemonProcess({
    env: { REDIS_URL: url },
    config: {
      redis: { prefix },
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      polling: { lists: 'off', ...polling },
    },
  });
}

beforeAll(async () => {
  noxus = await startSimulator();
  const redis = testRedis();
  const polling = { min_interval: '200ms', max_interval: '1s' };
  daemons = await Promise.all([start(redis), start(redis), start(testRedis(), polling)]);
});

afterAll(async () => {
  await stopAll(daemons);
  await noxus.close();
});

test('runs whose listening daemon is killed are read within seconds by another one', async () => {
  const [first, second] = daemons as [DaemonProcess, DaemonProcess];
  const ids = Array.from({ length: RUNS }, () => {
    return noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id;
  });
  await first.api('/v1/watches/batch', { watches: ids.map((run_id) => ({ run_id })) });
  await waitFor(() => noxus.streams.open === RUNS);
  await first.stop('SIGKILL');
  for (const id of ids) noxus.setStatus(id, 'completed');
  await waitFor(async () => {
    const { body } = await second.api('/v1/watches?state=finished');
    return body.data.length === RUNS;
  });
});

test('wait --direct follows the streams of more runs than it has connections for reads', async () => {
  const direct = await startSimulator();
  try {
    const ids = Array.from({ length: 12 }, () => {
      return direct.add({ steps: [{ after_ms: 0, status: 'running' }] }).id;
    });
    const waiting = runBuiltCli(['wait', '--direct', ...ids], {
      NOXUS_API_KEY: direct.apiKey,
      NOXUS_BACKEND_URL: direct.url,
    });
    await waitFor(() => direct.streams.open === ids.length);
    for (const id of ids) direct.setStatus(id, 'completed');
    expect((await waiting).exitCode).toBe(0);
  } finally {
    await direct.close();
  }
});

const STREAMS: Record<string, { stream?: ScriptInput['stream']; fault?: FaultInput }> = {
  'that tells everything': {},
  'that tells ends alone': { stream: { silent_on: ['queued', 'running', 'stopped'] } },
  'that tells nothing': { stream: { silent_on: ['*'] } },
  'that lies': { fault: { kind: 'claim', status: 'completed', on: 'stream' } },
  'that breaks every half second': { fault: { kind: 'drop', after_ms: 500, on: 'stream' } },
  'that is refused': { fault: { kind: 'status', status: 404, on: 'stream' } },
  'that hangs': { fault: { kind: 'silence', on: 'stream' } },
  'of garbage': { fault: { kind: 'garbage', on: 'stream' } },
};

test('runs have the events of their ends, whatever their streams do', async () => {
  const [, , daemon] = daemons as [DaemonProcess, DaemonProcess, DaemonProcess];
  const kinds = new Map(
    Object.entries(STREAMS).map(([kind, { stream = {}, fault }]) => {
      const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'running' }], stream });
      if (fault !== undefined) noxus.fault({ ...fault, run_id: id });
      return [id, kind];
    }),
  );
  const ids = [...kinds.keys()];
  await daemon.api('/v1/watches/batch', { watches: ids.map((run_id) => ({ run_id })) });
  await waitFor(() => ids.every((id) => noxus.requests.run(id).count > 1));
  for (const id of ids) noxus.setStatus(id, 'failed');
  const told = async () => {
    const { body } = await daemon.api('/v1/events?limit=100');
    const events = body.data as { type: string; data: { run_id: string } }[];
    return events.map(
      ({ type, data }) => `${type} of a run with a stream ${kinds.get(data.run_id)}`,
    );
  };
  await waitFor(
    async () => (await told()).filter((one) => one.includes('run.failed')).length >= ids.length,
  );
  const expected = [...kinds.values()].map((kind) => `run.failed of a run with a stream ${kind}`);
  expect((await told()).filter((one) => !one.startsWith('run.started')).toSorted()).toEqual(
    expected.toSorted(),
  );
});
