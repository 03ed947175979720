import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { runCli, startCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';
import { waitFor } from '../support/wait-for.ts';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
});
afterEach(() => daemon.close());

const cli = (args: string[], answer?: string) =>
  runCli(args, {
    env: { RUNWATCH_URL: daemon.url },
    ...(answer !== undefined && { stdin: answer, terminalInput: 'typed' as const }),
  });

function willDeliver(id: string): void {
  daemon.on(`POST /v1/deliveries/${id}/redeliver`, {
    status: 202,
    body: { id, event_id: `evt_of_${id}`, state: 'pending' },
  });
}

const posted = () => daemon.requests.filter(({ method }) => method === 'POST');

describe('runwatch redeliver with ids', () => {
  test('redeliver with ids prints each delivery, and asks nothing', async () => {
    willDeliver('dlv_1');
    willDeliver('dlv_2');
    expect(await cli(['redeliver', 'dlv_1', 'dlv_2', 'dlv_1'])).toEqual({
      exitCode: 0,
      stdout: 'dlv_1 goes out again (evt_of_dlv_1)\ndlv_2 goes out again (evt_of_dlv_2)\n',
      stderr: '',
    });
    expect(posted()).toHaveLength(2);
  });

  test('redeliver exits 1 for an unknown id, and redelivers the others', async () => {
    daemon.on('POST /v1/deliveries/dlv_9/redeliver', problem(404, 'delivery_not_found', 'no'));
    willDeliver('dlv_1');
    expect(await cli(['redeliver', 'dlv_9', 'dlv_1'])).toEqual({
      exitCode: 1,
      stdout: 'dlv_1 goes out again (evt_of_dlv_1)\n',
      stderr: 'error: dlv_9: there is no such delivery\n',
    });
  });

  test('redeliver --json prints a result for each id, in order', async () => {
    daemon.on('POST /v1/deliveries/dlv_9/redeliver', problem(404, 'delivery_not_found', 'no'));
    willDeliver('dlv_1');
    const { stdout, exitCode } = await cli(['redeliver', 'dlv_9', 'dlv_1', '--json']);
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toEqual({
      results: [
        {
          id: 'dlv_9',
          error: { code: 'delivery_not_found', message: 'dlv_9: there is no such delivery' },
        },
        { id: 'dlv_1', event_id: 'evt_of_dlv_1', state: 'pending' },
      ],
    });
  });
});

describe('runwatch redeliver with ids that the daemon refuses', () => {
  const away = problem(503, 'redis_away', 'Redis is away');
  const ids = Array.from({ length: 12 }, (_, at) => `dlv_${at}`);

  beforeEach(() => {
    for (const id of ids) willDeliver(id);
    daemon.on('POST /v1/deliveries/dlv_0/redeliver', away);
  });

  test('redeliver delivers the others again, and says which it could not', async () => {
    const { exitCode, stdout, stderr } = await cli(['redeliver', ...ids]);
    expect(exitCode).toBe(1);
    expect(stderr).toBe(`error: dlv_0: the daemon at ${daemon.url} answers 503: Redis is away\n`);
    const sent = ids.slice(1).map((id) => `${id} goes out again (evt_of_${id})`);
    expect(new Set(stdout.trimEnd().split('\n'))).toEqual(new Set(sent));
  });

  test('redeliver --json has a result for each, in order', async () => {
    const { exitCode, stdout } = await cli(['redeliver', ...ids, '--json']);
    expect(exitCode).toBe(1);
    const message = `the daemon at ${daemon.url} answers 503: Redis is away`;
    expect(JSON.parse(stdout)).toEqual({
      results: [
        { id: 'dlv_0', error: { code: 'redis_away', message } },
        ...ids.slice(1).map((id) => ({ id, event_id: `evt_of_${id}`, state: 'pending' })),
      ],
    });
  });
});

describe('runwatch redeliver of a range', () => {
  beforeEach(() =>
    daemon.on('POST /v1/deliveries/redeliver', { status: 202, body: { count: 12 } }),
  );

  test('redeliver sends its flags, with times in UTC, and prints the count', async () => {
    const times = ['--since', '2h', '--until', '2025-05-04T11:30:00+02:00'];
    const { stdout, exitCode } = await cli(
      ['redeliver', '--endpoint', 'ops', '--state', 'dead', '--yes'].concat(times),
    );
    expect({ stdout, exitCode }).toEqual({ stdout: '12 deliveries go out again\n', exitCode: 0 });
    expect(daemon.requests[0]?.body).toEqual({
      endpoint: 'ops',
      state: 'dead',
      since: '2025-05-04T08:00:00.000Z',
      until: '2025-05-04T09:30:00.000Z',
    });
  });

  test.each([
    ['a day, which begins in UTC', '2025-05-01', '2025-05-01T00:00:00.000Z'],
    ['a time longer ago than time itself', '99999999999d', '1970-01-01T00:00:00.000Z'],
  ])('redeliver --since takes %s', async (_what, since, sent) => {
    await cli(['redeliver', '--since', since, '--yes']);
    expect(daemon.requests[0]?.body).toEqual({ since: sent });
  });

  test('redeliver --yes without flags means everything dead or skipped', async () => {
    const { stdout } = await cli(['redeliver', '--yes', '--json']);
    expect(daemon.requests[0]?.body).toEqual({});
    expect(JSON.parse(stdout)).toEqual({ count: 12 });
  });

  test('redeliver counts one delivery as one', async () => {
    daemon.on('POST /v1/deliveries/redeliver', { status: 202, body: { count: 1 } });
    expect((await cli(['redeliver', '--yes'])).stdout).toBe('1 delivery goes out again\n');
  });

  test.each(['y\n', 'YES\n', ' yes \n'])(
    'asks at a terminal, and takes %j for yes',
    async (typed) => {
      const result = await cli(['redeliver', '--endpoint', 'ops', '--since', '1d'], typed);
      expect(result).toEqual({
        exitCode: 0,
        stdout: '12 deliveries go out again\n',
        stderr:
          'Deliver again everything dead or skipped to ops created since 2025-05-03T10:00:00.000Z? [y/N] ',
      });
    },
  );

  test.each([
    [['--to', 'ops'], 'everything waiting, dead or skipped to old by endpoint ops instead'],
    [['--to', 'ops', '--state', 'dead'], 'everything dead to old by endpoint ops instead'],
    [['--state', 'pending,parked,dead'], 'everything waiting or dead to old'],
  ])('redeliver %j asks about the deliveries that are meant: %s', async (flags, words) => {
    const { stderr } = await cli(['redeliver', '--endpoint', 'old', ...flags], 'y\n');
    expect(stderr).toBe(`Deliver again ${words}? [y/N] `);
  });

  test.each(['\n', 'n\n', 'yea\n', ''])(
    'redeliver takes the answer %j for no, and does nothing',
    async (typed) => {
      const result = await cli(['redeliver', '--state', 'delivered'], typed);
      expect(result).toMatchObject({ exitCode: 1, stdout: '' });
      expect(result.stderr).toMatch(/^Deliver again everything delivered to all .*\[y\/N\] /);
      expect(result.stderr).toMatch(/Nothing was delivered again\.\n$/);
      expect(daemon.requests).toEqual([]);
    },
  );

  test('redeliver that is interrupted at its question prints nothing', async () => {
    const run = startCli(['redeliver'], {
      env: { RUNWATCH_URL: daemon.url },
      terminalInput: 'silent',
    });
    await waitFor(() => run.stderr().includes('[y/N]'));
    run.interrupt();
    expect(await run.exitCode).toBe(130);
    expect(run.stdout()).toBe('');
    expect(daemon.requests).toEqual([]);
  });

  test('redeliver to an unknown endpoint prints the known ones', async () => {
    const message = 'no endpoint is named "opss"; expected one of: ops, audit';
    daemon.on(
      'POST /v1/deliveries/redeliver',
      problem(422, 'invalid_request', `endpoint: ${message}`, [{ path: 'endpoint', message }]),
    );
    const { stderr, exitCode } = await cli(['redeliver', '--endpoint', 'opss', '--yes']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(message);
  });

  test('redeliver --to sends one delivery or a range to another endpoint', async () => {
    daemon.on('POST /v1/deliveries/redeliver', { status: 202, body: { count: 3 } });
    daemon.on('POST /v1/deliveries/dlv_1/redeliver', {
      status: 202,
      body: { id: 'dlv_1', event_id: 'evt_1' },
    });
    await cli(['redeliver', '--endpoint', 'old', '--to', 'ops', '--yes']);
    await cli(['redeliver', 'dlv_1', '--to', 'ops']);
    expect(posted().map(({ body }) => body)).toEqual([
      { endpoint: 'old', to: 'ops' },
      { endpoint: 'ops' },
    ]);
  });
});
