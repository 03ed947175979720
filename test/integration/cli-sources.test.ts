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
const paused = { ...answering, name: 'eu', state: 'paused', message: 'status 429, asks for 600 s' };

describe('runwatch sources', () => {
  test('sources shows a line for each source', async () => {
    daemon.on('GET /v1/sources', { status: 200, body: { data: [answering, paused] } });
    const { stdout, exitCode } = await cli();
    expect(exitCode).toBe(0);
    expect(stdout).toBe(
      [
        'SOURCE   STATE      SINCE  NEXT TRY  LAST ANSWER      BUDGET  WHY',
        'default  answering  -      -         -            4 of 10/1s  -',
        'eu       paused     -      -         -            4 of 10/1s  status 429, asks for 600 s',
        '',
      ].join('\n'),
    );
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
