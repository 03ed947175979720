import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { DEFAULT_WORKFLOW_ID } from '../../src/simulator/workflow.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { ScriptedApi } from '../support/scripted-api.ts';
import { waitFor } from '../support/wait-for.ts';

/*
 * What the API has answered about failures holds, whenever the daemon dies after that.
 */

let noxus: Simulator;
let jobs: ScriptedApi;
let daemon: DaemonProcess;

beforeAll(async () => {
  noxus = await startSimulator();
  jobs = await new ScriptedApi().listen();
  jobs.reply = ({ path }) => ({
    status: 200,
    body: { id: path.split('/').at(-1), state: 'BROKEN' },
  });
  daemon = await start();
  const { id } = noxus.add({
    steps: [{ after_ms: 0, status: 'failed' }],
    workflow_id: DEFAULT_WORKFLOW_ID,
  });
  await daemon.api('/v1/watches', { run_id: id, source: 'default' });
  await daemon.api('/v1/watches', { run_id: 'job-1', source: 'jobs' });
});

afterAll(async () => {
  await stopAll([daemon]);
  await jobs.close();
  await noxus.close();
});

const start = (dataDir?: string) =>
  startDaemonProcess({
    ...(dataDir !== undefined && { dataDir }),
    config: {
      sources: {
        default: { base_url: noxus.url, api_key: noxus.apiKey },
        jobs: {
          type: 'http',
          base_url: jobs.url,
          run: { get: '/jobs/{run}', id: '$.id', status: '$.state' },
          states: { running: ['OPEN'], failed: ['BROKEN'] },
        },
      },
      polling: { min_interval: '50ms', max_interval: '100ms' },
    },
  });

interface Failed {
  kind: string;
  source: string;
  workflow_id: string | null;
  count: number;
  acknowledged: { by: string; comment: string | null; until: string | null } | null;
}

async function failuresOf(source: string, acknowledged = 'include'): Promise<Failed | undefined> {
  const { body } = await daemon.api<{ data: Failed[] }>(
    `/v1/attention?acknowledged=${acknowledged}`,
  );
  return body.data.find((item) => item.kind === 'failed' && item.source === source);
}

/** Kills the daemon as soon as it has answered. */
async function callAndKill(path: string, body?: unknown, method?: string) {
  const answer = await daemon.api(path, body, method);
  await daemon.stop('SIGKILL');
  daemon = await start(daemon.dataDir);
  return answer;
}

test.each([
  ['a workflow', 'default', `/v1/workflows/default/${DEFAULT_WORKFLOW_ID}`, DEFAULT_WORKFLOW_ID],
  ['a source without workflows', 'jobs', '/v1/sources/jobs', null],
])(
  'failures of %s stay acknowledged after a kill -9 right after the answer, and so does taking that back',
  async (_, source, path, workflowId) => {
    const route = `${path}/acknowledge`;
    await waitFor(() => failuresOf(source));
    const until = new Date(Date.now() + 86_400_000).toISOString();
    const given = { by: 'ana', comment: 'on it', until };

    const taken = await callAndKill(route, given);
    expect(taken).toMatchObject({
      status: 200,
      body: { source, workflow_id: workflowId, acknowledged: given },
    });
    expect(await failuresOf(source, 'exclude')).toBeUndefined();
    expect(await failuresOf(source)).toMatchObject({
      workflow_id: workflowId,
      count: 1,
      acknowledged: given,
    });

    const withdrawn = await callAndKill(route, undefined, 'DELETE');
    expect(withdrawn.status).toBe(204);
    expect(await failuresOf(source, 'exclude')).toMatchObject({ count: 1, acknowledged: null });

    const { body: audit } = await daemon.api('/v1/audit?limit=2');
    expect(audit.data.map(({ action }: { action: string }) => action)).toEqual([
      'failures.unacknowledge',
      'failures.acknowledge',
    ]);
  },
);
