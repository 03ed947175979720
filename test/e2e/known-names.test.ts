import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { DEFAULT_WORKFLOW_ID } from '../../src/simulator/workflow.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { testRedis } from '../support/redis.ts';
import { startService, type Service } from '../support/services/service.ts';
import { SLACK_PATH, SLACK_WEBHOOK } from '../support/services/slack.ts';
import { waitFor } from '../support/wait-for.ts';

let noxus: Simulator;
let hook: Receiver;
let slack: Service;
let daemons: DaemonProcess[];

beforeEach(async () => {
  noxus = await startSimulator();
  hook = await startReceiver({ secrets: [] });
  slack = await startService(SLACK_WEBHOOK);
  daemons = [];
});

afterEach(async () => {
  await stopAll(daemons);
  await Promise.all([noxus.close(), hook.close(), slack.close()]);
  expect(slack.refusals).toEqual([]);
});

interface Shown {
  type: string;
  data: {
    run_id: string;
    workflow_name: string | null;
    nodes: { names?: Record<string, string> } | null;
  };
}

const failureOf = (events: readonly Shown[], runId: string) =>
  events.find(({ type, data }) => type === 'run.failed' && data.run_id === runId)?.data;

/** Has a run fail at its second node, once it is followed by its stream. */
async function fail(daemon: DaemonProcess): Promise<string> {
  const steps = [{ after_ms: 0, status: 'running', progress: 30 }];
  const { id } = noxus.add({ steps, workflow_id: DEFAULT_WORKFLOW_ID });
  const { opened } = noxus.streams;
  await daemon.api('/v1/watches', { run_id: id });
  await waitFor(() => noxus.streams.opened > opened);
  await waitFor(async () => (await daemon.api(`/v1/watches/${id}`)).body.run?.status === 'running');
  noxus.setStatus(id, 'failed');
  return id;
}

test('the first event after a kill has the names that were known before, although the source gives none now', async () => {
  const { url, prefix } = testRedis();
  const options = {
    env: { REDIS_URL: url },
    config: {
      redis: { prefix },
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      polling: { min_interval: '50s' },
      endpoints: {
        hook: { type: 'webhook', url: hook.url },
        chat: { type: 'slack', url: slack.url + SLACK_PATH },
      },
    },
  };
  const first = await startDaemonProcess(options);
  daemons.push(first);
  const before = await fail(first);
  await waitFor(async () => {
    const { body } = await first.api(`/v1/events?run_id=${before}`);
    const failure = failureOf(body.data, before);
    return failure?.workflow_name === 'anything' && failure.nodes?.names !== undefined;
  });
  await waitFor(() => slack.requests.length > 0);
  await first.stop('SIGKILL');

  noxus.fault({ kind: 'status', status: 404, on: 'other' });
  const second = await startDaemonProcess({ ...options, dataDir: first.dataDir });
  daemons.push(second);
  const after = await fail(second);
  const told = () => hook.received.map(({ body }) => JSON.parse(body) as Shown);
  await waitFor(() => failureOf(told(), after) !== undefined);
  const names = { 'node-2': 'Extract fields' };
  expect(failureOf(told(), after)).toMatchObject({ workflow_name: 'anything', nodes: { names } });
  const messageOf = (runId: string) =>
    slack.requests.map(({ body }) => JSON.stringify(body)).find((text) => text.includes(runId));
  await waitFor(() => messageOf(after) !== undefined);
  expect(messageOf(after)).toContain('anything failed');
  expect(messageOf(after)).toContain('Failed at Extract fields');
});
