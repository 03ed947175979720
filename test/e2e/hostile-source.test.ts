import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { isPlain } from '../../src/core/control-characters.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { eventsOf, readAll, waitForWatch, type WatchJson } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const NASTY = 'g\ud800\u001b[2J\u202e\u{e0041}';
const NAMES = ['__proto__', 'constructor', 'toString'];

let noxus: Simulator;
let receiver: Receiver;
let daemon: DaemonProcess;

beforeAll(async () => {
  noxus = await startSimulator();
  receiver = await startReceiver({ secrets: [SECRET] });
  daemon = await startDaemonProcess({
    config: {
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          run_url: 'https://app.noxus.example/{workflow_id}/{run_id}',
        },
      },
      polling: { min_interval: '50ms', max_interval: '100ms' },
      endpoints: { hooks: { type: 'webhook', url: receiver.url, secret: SECRET } },
    },
  });
});

afterAll(async () => {
  await stopAll([daemon]);
  await Promise.all([noxus.close(), receiver.close()]);
});

const statusOf = (status: string) => (watch: WatchJson) => watch.run?.status === status;

test('texts of a hostile source hide no end, spoil no listing and reach no terminal', async () => {
  const ids: string[] = [];
  for (const workflow_id of [NASTY, ...NAMES]) {
    const step = { after_ms: 0, status: `${workflow_id}!` };
    ids.push(noxus.add({ workflow_id, steps: [step] }).id);
  }
  for (const id of ids) {
    await daemon.api('/v1/watches', { run_id: id });
    await waitForWatch(daemon, id, ({ run }) => run !== null);
    noxus.setStatus(id, 'failed');
    await waitForWatch(daemon, id, statusOf('failed'));
  }
  const watches = await readAll<WatchJson>(daemon, '/v1/watches');
  expect(watches.map(({ run }) => run?.['workflow_id']).toReversed()).toEqual([
    'g%EF%BF%BD[2J',
    ...NAMES,
  ]);
  expect(watches.every((watch) => isPlain(JSON.stringify(watch)))).toBe(true);
  await waitFor(() => {
    const ends = receiver.received.filter(({ type }) => type === 'run.failed');
    return new Set(ends.map(({ id }) => id)).size === ids.length;
  });
  const listed = await runBuiltCli(['list', '--url', daemon.url]);
  expect(listed).toMatchObject({ exitCode: 0, stderr: '' });
  expect(isPlain(listed.stdout.replaceAll('\n', ''))).toBe(true);
});

test('ever new statuses of one run make three events, and waits by ever new names one', async () => {
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'made-up-0' }] });
  await daemon.api('/v1/watches', { run_id: id });
  const statuses = [
    ...Array.from({ length: 6 }, (_, at) => `made-up-${at}`),
    ...Array.from({ length: 4 }, (_, at) => `awaiting_${at}`),
    'failed',
  ];
  for (const status of statuses) {
    noxus.setStatus(id, status);
    await waitForWatch(daemon, id, statusOf(status));
  }
  const types = (await eventsOf(daemon, id)).map(({ type }) => type);
  expect(types).toEqual([
    'run.status_unknown',
    'run.status_unknown',
    'run.status_unknown',
    'run.awaiting_human_feedback',
    'run.resumed',
    'run.failed',
  ]);
});
