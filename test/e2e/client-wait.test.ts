import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createClient, type RunwatchClient } from '../../src/client/client.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

let noxus: Simulator;
let daemon: DaemonProcess;
let client: RunwatchClient;

beforeAll(async () => {
  noxus = await startSimulator();
  daemon = await startDaemonProcess({
    config: {
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      polling: { min_interval: '50ms', max_interval: '200ms' },
    },
  });
  client = createClient({ url: daemon.url });
});

afterAll(async () => {
  await stopAll([daemon]);
  await noxus.close();
});

test('client.wait gives the result of each run in order, registers them, and passes their events on', async () => {
  const ids = ['failed', 'completed'].map(() => noxus.add({}).id);
  const types: string[] = [];
  const updates = new Set<string>();
  const waiting = client.wait(ids, {
    onEvent: ({ type, data }) => types.push(`${data.run_id} ${type}`),
    onUpdate: (runId) => updates.add(runId),
  });
  await waitFor(() => updates.size === 2);
  noxus.setStatus(ids[0]!, 'failed', 40);
  noxus.setStatus(ids[1]!, 'completed', 100);
  expect(await waiting).toMatchObject([
    { run_id: ids[0], result: 'failed', run: { status: 'failed' }, error: null },
    { run_id: ids[1], result: 'completed', run: { status: 'completed' }, error: null },
  ]);
  expect(types).toContain(`${ids[0]} run.failed`);
  expect((await client.getWatch({ runId: ids[0]! }))?.subscriptions).toEqual([]);
});

test('client.wait gives a run that awaits feedback, and waits through it where that is asked for', async () => {
  const { id } = noxus.add({});
  noxus.setStatus(id, 'awaiting_human_feedback', 40);
  expect(await client.wait(id)).toMatchObject([{ result: 'awaiting_human_feedback' }]);
  const through = client.wait({ runId: id, source: 'default' }, { throughFeedback: true });
  noxus.setStatus(id, 'stopped', 40);
  expect(await through).toMatchObject([{ run_id: id, result: 'stopped' }]);
});

test('client.wait says of runs that take longer than its time that it is up, and any gives the first alone', async () => {
  const [long, done] = [noxus.add({}).id, noxus.add({}).id];
  noxus.setStatus(done, 'completed', 100);
  expect(await client.wait([long, done], { any: true })).toMatchObject([{ run_id: done }]);
  expect(await client.wait([done, long], { timeoutMs: 6_000 })).toMatchObject([
    { result: 'completed' },
    { result: 'timed_out', error: { code: 'timed_out' } },
  ]);
});

test('client.wait ends with its signal, and refuses two runs of one id', async () => {
  const { id } = noxus.add({});
  const stop = new AbortController();
  const waiting = client.wait(id, { signal: stop.signal, onUpdate: () => stop.abort() });
  await expect(waiting).rejects.toThrow();
  await expect(client.wait([id, { runId: id, source: 'eu' }])).rejects.toThrow('the same id');
});
