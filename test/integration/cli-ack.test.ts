import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { sampleWatch } from '../support/api-samples.ts';
import { runCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});
afterEach(() => daemon.close());

const cli = (...args: string[]) => runCli(args, { env: { RUNWATCH_URL: daemon.url, USER: 'ana' } });

test('ack of a run says that the user at the terminal has taken it in hand', async () => {
  daemon.on('POST /v1/watches/run-1/acknowledge', { status: 200, body: sampleWatch() });
  expect(await cli('ack', 'run-1', '--comment', 'mine', '--until', '2h')).toEqual({
    exitCode: 0,
    stdout: 'acknowledged run run-1\n',
    stderr: '',
  });
  expect(daemon.requests.at(-1)?.body).toEqual({ by: 'ana', comment: 'mine', until: '2h' });
});

test('ack of the beginning of an alert acknowledges this alert, by another user', async () => {
  const alerts = [
    { id: 'alr_4n2k9x', state: 'firing' },
    { id: 'alr_9999', state: 'firing' },
  ];
  daemon.on('GET /v1/alerts', { status: 200, body: { data: alerts, next_cursor: null } });
  daemon.on('POST /v1/alerts/alr_4n2k9x/acknowledge', { status: 200, body: alerts[0] });
  const { stdout, exitCode } = await cli('ack', 'alr_4n2k', '--by', 'bob');
  expect({ stdout, exitCode }).toEqual({ stdout: 'acknowledged alert alr_4n2k9x\n', exitCode: 0 });
  expect(daemon.requests.at(-1)?.body).toEqual({ by: 'bob' });
  expect(await cli('ack', 'alr_')).toMatchObject({ exitCode: 2 });
});

test('ack --undo takes an acknowledgement back', async () => {
  daemon.on('DELETE /v1/watches/run-1/acknowledge', { status: 204 });
  expect(await cli('ack', 'run-1', '--undo')).toMatchObject({
    exitCode: 0,
    stdout: 'no longer acknowledged run run-1\n',
  });
  expect(await cli('ack', 'run-1', '--undo', '--by', 'ana')).toMatchObject({ exitCode: 2 });
});

test('ack of what does not exist names it, acknowledges the others, and exits 1', async () => {
  daemon.on('POST /v1/watches/run-1/acknowledge', { status: 200, body: sampleWatch() });
  expect(await cli('ack', 'run-0', 'run-1')).toEqual({
    exitCode: 1,
    stdout: 'acknowledged run run-1\n',
    stderr: 'error: there is no run run-0\n',
  });
});

test('ack of several goes on where the daemon refuses one, and --json has the answers', async () => {
  const away = problem(503, 'redis_away', 'Redis is away');
  daemon.on('POST /v1/watches/run-0/acknowledge', away);
  const body = sampleWatch();
  daemon.on('POST /v1/watches/run-1/acknowledge', { status: 200, body });
  const stderr = `error: run-0: the daemon at ${daemon.url} answers 503: Redis is away\n`;
  expect(await cli('ack', 'run-0', 'run-1')).toEqual({
    exitCode: 1,
    stdout: 'acknowledged run run-1\n',
    stderr,
  });
  const inJson = await cli('ack', 'run-0', 'run-1', '--json');
  expect(inJson).toMatchObject({ exitCode: 1, stderr });
  expect(JSON.parse(inJson.stdout)).toEqual({ results: [body] });
});

test('ack of several of which one is too short changes nothing', async () => {
  const id = '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d';
  daemon.on('GET /v1/lookup', ({ query }) => ({
    status: 200,
    body: {
      data: query.get('q') === '6f1c' ? [{ kind: 'run', id, source: 'eu' }] : [],
      more: false,
      tried: ['eu'],
    },
  }));
  daemon.on('POST /v1/watches/run-1/acknowledge', { status: 200, body: sampleWatch() });
  const { exitCode, stderr } = await cli('ack', 'run-1', '6f1c');
  expect(exitCode).toBe(2);
  expect(stderr).toContain('too short to change something by');
  expect(daemon.requests.filter(({ method }) => method === 'POST')).toEqual([]);
});

const WORKFLOW = {
  name: null,
  watched: 1,
  active: 0,
  by_status: {},
  failure_rate: null,
  duration: null,
  detection_delay: null,
  requests_per_run: null,
};

function workflows(...named: { workflow_id: string; source: string; name: string | null }[]) {
  const data = named.map((one) => Object.assign({}, WORKFLOW, one));
  return { status: 200, body: { since: '2025-05-04T09:00:00.000Z', data } };
}

test('ack of a workflow by its name acknowledges its failures, and --undo takes that back', async () => {
  const path = '/v1/workflows/eu/acme%2Finvoices/acknowledge';
  daemon.on(
    'GET /v1/workflows',
    workflows({ workflow_id: 'acme/invoices', source: 'eu', name: 'Invoices' }),
  );
  const acknowledged = { by: 'ana', comment: null, at: '2025-05-04T10:00:00.000Z', until: null };
  const body = { source: 'eu', workflow_id: 'acme/invoices', acknowledged };
  daemon.on(`POST ${path}`, { status: 200, body });
  daemon.on(`DELETE ${path}`, { status: 204 });
  expect(await cli('ack', 'workflow/invoices')).toEqual({
    exitCode: 0,
    stdout: 'acknowledged failures of workflow/invoices\n',
    stderr: '',
  });
  expect(daemon.requests.at(-1)?.body).toEqual({ by: 'ana' });
  expect(await cli('ack', 'workflow/invoices', '--undo')).toMatchObject({
    exitCode: 0,
    stdout: 'no longer acknowledged failures of workflow/invoices\n',
  });
});

test('ack of a workflow by the beginning of its id wants 8 characters, and asks on a terminal', async () => {
  const id = '3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11';
  const path = `/v1/workflows/eu/${id}/acknowledge`;
  daemon.on('GET /v1/workflows', workflows({ workflow_id: id, source: 'eu', name: 'Invoices' }));
  const acknowledged = { by: 'ana', comment: null, at: '2025-05-04T10:00:00.000Z', until: null };
  const body = { source: 'eu', workflow_id: id, acknowledged };
  daemon.on(`POST ${path}`, { status: 200, body });
  const written = () => daemon.requests.filter(({ method }) => method !== 'GET').length;

  const short = await cli('ack', 'workflow/3f0c6f0');
  expect(short.exitCode).toBe(2);
  expect(short.stderr).toContain(`"3f0c6f0" begins workflow ${id}, and is too short`);
  const env = { RUNWATCH_URL: daemon.url };
  const options = { env, terminalInput: 'typed' as const, stdin: 'n\n' };
  const declined = await runCli(['ack', 'workflow/3f0c6f0e'], options);
  expect(declined).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('Go on? [y/N] ') });
  expect(written()).toBe(0);

  expect((await cli('ack', 'workflow/3f0c6f0e', '--yes')).exitCode).toBe(0);
  expect((await cli('ack', `workflow/${id}`)).stderr).toBe('');
  expect(written()).toBe(2);
});

test('ack of a workflow that several sources have, or none, says what to name', async () => {
  const named = (source: string) => ({ workflow_id: 'wf-1', source, name: 'invoices' });
  daemon.on('GET /v1/workflows', workflows(named('eu'), named('us')));
  const several = await cli('ack', 'workflow/invoices');
  expect(several.exitCode).not.toBe(0);
  expect(several.stderr).toContain('wf-1 of source eu');
  const none = await cli('ack', 'workflow/orders');
  expect(none.exitCode).not.toBe(0);
  expect(none.stderr).toContain('no workflow is called "orders"; known are: invoices');
});

test('ack of a source acknowledges the failures of its runs without a workflow', async () => {
  const acknowledged = { by: 'ana', comment: null, at: '2025-05-04T10:00:00.000Z', until: null };
  const body = { source: 'eu', workflow_id: null, acknowledged };
  daemon.on('POST /v1/sources/eu/acknowledge', { status: 200, body });
  expect((await cli('ack', 'source/eu')).stdout).toBe('acknowledged failures of source/eu\n');
});
