import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { sampleWatch } from '../support/api-samples.ts';
import { runCli } from '../support/cli-harness.ts';
import { startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

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
