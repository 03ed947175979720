import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { sampleEndpoint } from '../support/api-samples.ts';
import { runCli } from '../support/cli-harness.ts';
import { startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

const { counts, health } = sampleEndpoint();
const WEBHOOK = {
  url: 'https://hooks.example/…#3f9a1c',
  sources: ['default'],
  registered_by: ['ci', 'ana'],
  watches: 6,
  batches: 1,
  counts,
  health,
};

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});
afterEach(() => daemon.close());

const cli = (...args: string[]) =>
  runCli(['webhooks', ...args], { env: { RUNWATCH_URL: daemon.url } });

describe('runwatch webhooks', () => {
  test('webhooks are listed with the tokens that registered them', async () => {
    const body = { data: [WEBHOOK], more: true };
    daemon.on('GET /v1/webhooks', { status: 200, body });
    const { stdout, stderr } = await cli('--token', 'ci');
    expect(stdout.replaceAll(/ +/g, ' ')).toBe(
      [
        'URL REGISTERED BY SOURCE WATCHES BATCHES HEALTH WAITING DEAD DELIVERED',
        'https://hooks.example/…#3f9a1c ci ana default 6 1 active 5 3 12',
        '',
      ].join('\n'),
    );
    expect(stderr).toContain('There are more');
    expect(JSON.parse((await cli('--json')).stdout)).toEqual(body);
  });

  test('webhooks end with --yes, and without a terminal or a filter nothing ends', async () => {
    daemon.on('GET /v1/webhooks', { status: 200, body: { data: [WEBHOOK], more: false } });
    daemon.on('DELETE /v1/webhooks', { status: 200, body: { count: 7 } });
    const ended = await cli('end', '--token', 'ci', '--yes');
    expect([ended.exitCode, ended.stdout]).toEqual([0, '7 webhooks have ended\n']);
    const asked = await cli('end', '--token', 'ci');
    expect(asked.exitCode).toBe(2);
    expect(asked.stderr).toContain(
      'End 1 webhook of 7 subscriptions that the token ci registered?',
    );
    expect((await cli('end', '--yes')).exitCode).toBe(2);
  });
});
