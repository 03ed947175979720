import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runCli } from '../support/cli-harness.ts';
import { tempDir } from '../support/daemon-process.ts';
import { startInside } from '../support/inside-daemon.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const WORKFLOW = 'ab000000-0000-4000-8000-000000000007';

let noxus: Simulator;
let receiver: Receiver;
let daemon: Awaited<ReturnType<typeof startInside>>;
let dataDir: string;

beforeAll(async () => {
  [noxus, receiver] = await Promise.all([startSimulator(), startReceiver({ secrets: [SECRET] })]);
  dataDir = await tempDir();
  const { url, prefix } = testRedis();
  daemon = await startInside({
    data_dir: dataDir,
    redis: { url, prefix },
    sources: {
      default: {
        base_url: noxus.url,
        api_key: noxus.apiKey,
        rate_limit: { requests: 1_000, per: '1s' },
      },
    },
    workflows: { [WORKFLOW]: { name: 'invoices' } },
    polling: { min_interval: '50ms', max_interval: '200ms' },
    rules: [
      { name: 'failed-runs', events: ['run.failed'], notify: ['hooks'], group_wait: '100ms' },
      { name: 'stopped-runs', events: ['run.stopped'], notify: ['hooks'] },
    ],
    endpoints: { hooks: { type: 'webhook', url: receiver.url, secret: SECRET } },
  });
});

afterAll(async () => {
  await daemon.stop();
  await Promise.all([noxus.close(), receiver.close(), rm(dataDir, { recursive: true })]);
});

const cli = (...args: string[]) =>
  runCli(args, { env: { RUNWATCH_URL: daemon.url, USER: 'ana' }, now: Date.now });

async function json(...args: string[]) {
  const { exitCode, stdout, stderr } = await cli(...args, '--json');
  expect([exitCode, stderr]).toEqual([0, '']);
  return JSON.parse(stdout);
}

/** Ends a run of the workflow. */
async function end(status: string): Promise<void> {
  const { id } = noxus.add({ workflow_id: WORKFLOW, steps: [{ after_ms: 0, status }] });
  expect((await cli('watch', id)).exitCode).toBe(0);
}

const firing = () => json('alerts', '--state', 'firing');

describe('command line of alerts', () => {
  test('before anything has happened each verb says so', async () => {
    expect(await cli('alerts')).toEqual({ exitCode: 0, stdout: '', stderr: 'No alerts.\n' });
    expect(await json('alerts')).toMatchObject({ data: [], next_cursor: null });
    expect((await cli('silence', 'list')).stderr).toBe('No silences.\n');
    expect(await json('silence', 'list')).toMatchObject({ data: [] });
    const { exitCode, stdout, stderr } = await cli('rules', 'test', '--since', '1h');
    expect([exitCode, stderr]).toEqual([0, 'No events are stored of that time.\n']);
    expect(stdout).toMatch(/^RULE .*\nfailed-runs +0 +0 .*\nstopped-runs +0 +0 /);
  });

  test('an alert is listed, acknowledged by the beginning of its id, and taken back', async () => {
    await end('failed');
    await waitFor(async () => (await firing()).data.length === 1);
    const { stdout } = await cli('alerts');
    expect(stdout).toMatch(/^ALERT .*\nalr_\S+ +firing +failed-runs +1 .*workflow=invoices/);
    const [{ id }] = (await firing()).data;
    expect((await cli('alerts', '--rule', 'stopped-runs')).stderr).toBe(
      'No alert matches; without the filters there are some.\n',
    );
    expect(await cli('alerts', '--state', 'open')).toMatchObject({ exitCode: 2, stdout: '' });

    const taken = await cli('ack', id.slice(0, 9), '--comment', 'on it', '--until', '2h');
    expect(taken).toMatchObject({ exitCode: 0, stdout: `acknowledged alert ${id}\n` });
    const [acknowledged] = (await json('alerts', '--state', 'acknowledged')).data;
    expect(acknowledged).toMatchObject({ id, acknowledged: { by: 'ana', comment: 'on it' } });
    expect(await json('ack', id, '--undo')).toEqual({ results: [{ id, acknowledged: null }] });
    expect((await firing()).data).toHaveLength(1);
    const unknown = await cli('ack', 'alr_0123456789abcdef0123_0123456789');
    expect(unknown).toMatchObject({ exitCode: 1, stdout: '' });
    expect(unknown.stderr).toContain('there is no alert alr_0123456789abcdef0123_0123456789');
  });

  test('a silence is previewed, made once by its key, listed and ended by its beginning', async () => {
    const matchers = ['--workflow', 'invoices'];
    const { stdout: preview } = await cli('silence', 'preview', ...matchers);
    expect(preview).toMatch(
      /^now: 1 alert\n {2}alr_.*\nlast 24 hours: 1 event\n {2}failed-runs {2}1\n/,
    );
    const nothing = await json('silence', 'preview', '--rule', 'stopped-runs');
    expect(nothing).toMatchObject({ now: { alerts: [] }, last_24h: { events: 0 } });

    const add = [
      'silence',
      'add',
      ...matchers,
      '--until',
      '2h',
      '--comment',
      'upgrade',
      '--key',
      'k',
    ];
    const first = await json(...add);
    expect(first).toMatchObject({
      state: 'active',
      by: 'ana',
      matchers: { workflow_id: [WORKFLOW] },
    });
    expect(await json(...add)).toEqual(first);
    expect((await cli('silence', 'list')).stdout).toMatch(/\nsil_\S+ +active .* ana +upgrade\n$/);

    const ended = await cli('silence', 'expire', first.id.slice(0, 8));
    expect(ended).toMatchObject({ exitCode: 0, stdout: `silence ${first.id} has ended\n` });
    expect((await json('silence', 'list')).data).toMatchObject([
      { id: first.id, state: 'expired' },
    ]);
    const unknown = await cli('silence', 'expire', 'sil_unknown');
    expect(unknown).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('sil_unknown') });
    for (const bad of [
      ['silence', 'add', '--until', '2h', '--comment', 'all'],
      ['silence', 'add', ...matchers, '--until', '2h'],
      ['silence', 'add', ...matchers, '--until', '2020-01-01T00:00:00Z', '--comment', 'past'],
      ['silence', 'preview'],
    ]) {
      expect([bad, (await cli(...bad)).exitCode]).toEqual([bad, 2]);
    }
  });

  test('rules test shows what stored events would have sent, and sends nothing', async () => {
    const before = receiver.received.length;
    const { exitCode, stdout } = await cli('rules', 'test', '--since', '1h');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/\nfailed-runs +1 +1 /);
    expect(stdout).toMatch(/alert\.firing +failed-runs +1 .* hooks\n$/);
    const tested = await json('rules', 'test');
    expect(tested.notifications).toMatchObject([{ type: 'alert.firing', notify: ['hooks'] }]);
    expect(receiver.received.length).toBe(before);
  });

  test('rules test --config tries rules that the daemon does not have, by the events that it has stored', async () => {
    const rules = [
      {
        name: 'new',
        events: ['run.failed'],
        notify: ['nowhere'],
        group_wait: '100ms',
        mute_time_intervals: ['never'],
      },
      { name: 'too-slow', deadline: { interval: '2h' }, notify: ['nowhere'] },
      { name: 'missing', absent: { event: 'run.completed', within: '26h' }, notify: ['nowhere'] },
    ];
    const never = [{ years: ['1999'], location: 'UTC' }];
    const written = { rules, time_intervals: { never }, inhibit_rules: [] };
    const { exitCode, stdout, stderr } = await runCli(['rules', 'test', '--config', 'new.yaml'], {
      env: { RUNWATCH_URL: daemon.url },
      now: Date.now,
      local: { readRules: async () => written },
    });
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/\nnew +1 +1 .*\ntoo-slow +0 +0 .*\nmissing +0 +0 /);
    expect(stdout).not.toContain('failed-runs');
    expect(stdout).toMatch(/alert\.firing +new +1 .* nowhere\n$/);
    expect(stderr).toMatch(
      /missing not rehearsed: needs stored events of 26h before; it waits from /,
    );
  });

  test('events of alerts are listed where --type names them', async () => {
    const { data } = await json('events', '--type', 'alert.*', '--order', 'oldest');
    const types = data.map(({ type }: { type: string }) => type);
    expect(types.slice(0, 2)).toEqual(['alert.firing', 'alert.acknowledged']);
    expect((await json('events')).data.map(({ type }: { type: string }) => type)).toEqual([
      'run.failed',
    ]);
  });

  test('an alert is shown with its rule in words, its deliveries and its history, also once it has resolved', async () => {
    const [{ id }] = (await firing()).data;
    const delivered = {
      endpoint: 'hooks',
      delivery_state: 'delivered',
      delivery_text: 'delivered',
    };
    const alert = await waitFor(async () => {
      const shown = await json('show', id);
      return shown.notified[0]?.delivery_state === 'delivered' ? shown : null;
    });
    expect(alert.rule_text).toMatchObject({
      watches: 'run.failed; one alert for each source and workflow',
      fires: 'at the first event',
    });
    const happened = [
      { kind: 'began', text: 'began', event_id: null, deliveries: [] },
      { kind: 'fired', text: 'fired', deliveries: [delivered] },
      { kind: 'acknowledged', by: 'ana', comment: 'on it', deliveries: [delivered] },
      { kind: 'unacknowledged', text: 'acknowledgement taken back' },
      { kind: 'repeated', text: 'still firing, repeated', deliveries: [delivered] },
      { kind: 'silenced', by: 'ana', text: 'silenced by ana', comment: 'upgrade' },
    ];
    expect(alert.history).toMatchObject(happened);
    const [sent] = alert.history[1].deliveries;
    expect(await json('deliveries', '--event', alert.history[1].event_id)).toMatchObject({
      data: [{ id: sent.delivery_id, state: 'delivered', alert_id: id }],
    });
    expect((await cli('alerts', 'resolve', id, '--comment', 'up again')).exitCode).toBe(0);
    const { history, state } = await json('alerts', id);
    expect(state).toBe('resolved');
    expect(history).toMatchObject([
      ...happened,
      { kind: 'resolved', by: 'ana', text: 'resolved by ana', comment: 'up again' },
    ]);
  });
});
