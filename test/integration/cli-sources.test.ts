import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { sampleSource } from '../support/api-samples.ts';
import { runCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});
afterEach(() => daemon.close());

const cli = (...args: string[]) =>
  runCli(['sources', ...args], { env: { RUNWATCH_URL: daemon.url } });

const answering = sampleSource({
  streams: {
    open: 3,
    wanted: 5,
    allowed: 10,
    refused_until: null,
    doubted: ['awaiting'],
    known_first: [{ kind: 'completed', by: 'stream', count: 7 }],
  },
});
const paused = {
  ...answering,
  name: 'eu',
  type: 'http',
  host: 'ci.example',
  id_parts: ['owner', 'repo', 'run'],
  can: { list: false, stream: false, wait: true, probe: false },
  can_stop: false,
  state: 'paused',
  message: 'status 429, asks for 600 s',
};

describe('runwatch sources', () => {
  test('sources shows a line for each source', async () => {
    daemon.on('GET /v1/sources', { status: 200, body: { data: [answering, paused] } });
    const { stdout, exitCode } = await cli();
    expect(exitCode).toBe(0);
    expect(stdout).toBe(
      [
        'SOURCE   STATE      SINCE  NEXT TRY  LAST ANSWER      BUDGET  WHY                         TYPE   HOST              RUN ID          CAN',
        'default  answering  -      -         -            4 of 10/1s  -                           noxus  backend.noxus.ai  -               list, stream, wait, probe, stop',
        'eu       paused     -      -         -            4 of 10/1s  status 429, asks for 600 s  http   ci.example        owner/repo/run  wait',
        '',
      ].join('\n'),
    );
  });

  test('sources says what discovery took and left out, with the source and the list', async () => {
    const list = {
      workflow_id: null,
      began_at: '2026-01-01T00:00:00.000Z',
      taken: 11,
      waiting: 0,
      left_out: 340,
      read_back_to: null,
      message: 'discovery began with 11 runs',
    };
    const discovery = [list, { ...list, workflow_id: 'invoices' }];
    daemon.on('GET /v1/sources', { status: 200, body: { data: [{ ...answering, discovery }] } });
    const { stderr } = await cli();
    expect(stderr).toBe(
      'default: discovery began with 11 runs\ndefault, workflow invoices: discovery began with 11 runs\n',
    );
    expect((await cli('--json')).stderr).toBe('');
  });

  test('sources on a terminal says how sources do, and with --wide also what they are', async () => {
    daemon.on('GET /v1/sources', { status: 200, body: { data: [answering] } });
    const env = { RUNWATCH_URL: daemon.url };
    const usual = await runCli(['sources'], { env, terminal: 200 });
    expect(usual.stdout).toContain('WHY');
    expect(usual.stdout).not.toContain('HOST');
    const wide = await runCli(['sources', '--wide'], { env, terminal: 80 });
    expect(wide.stdout).toContain('backend.noxus.ai');
  });

  test('sources --json prints the answer as it came', async () => {
    daemon.on('GET /v1/sources', { status: 200, body: { data: [paused] } });
    expect(JSON.parse((await cli('--json')).stdout)).toMatchObject({ data: [paused] });
  });

  test('sources resume lifts a pause, or names the known sources', async () => {
    daemon.on('POST /v1/sources/eu/resume', { status: 200, body: answering });
    expect(await cli('resume', 'eu')).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining('default is polled again'),
    });
    const detail = 'no source is named "us"; there are: default, eu';
    daemon.on('POST /v1/sources/us/resume', problem(404, 'source_not_found', detail));
    expect(await cli('resume', 'us')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining(detail),
    });
  });

  test('sources refuses an unknown verb', async () => {
    expect(await cli('pause')).toMatchObject({ exitCode: 2 });
  });
});
