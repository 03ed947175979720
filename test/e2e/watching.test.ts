import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

let noxus: Simulator;
let receiver: Receiver;
let daemon: DaemonProcess;

beforeAll(async () => {
  noxus = await startSimulator();
  receiver = await startReceiver({ secrets: [SECRET] });
  daemon = await startDaemonProcess({
    config: {
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      endpoints: { hooks: { type: 'webhook', url: receiver.url, secret: SECRET, events: ['*'] } },
      egress: { allow: ['127.0.0.1/32'] },
    },
  });
});

afterAll(async () => {
  await stopAll([daemon]);
  await receiver.close();
  await noxus.close();
});

describe('a watched run', () => {
  test('that completes is told to its endpoint, signed', async () => {
    const script = noxus.add({
      steps: [
        { after_ms: 0, status: 'running' },
        { after_ms: 300, status: 'completed' },
      ],
    });
    const registered = await daemon.api('/v1/watches', { run_id: script.id });
    expect(registered).toMatchObject({ status: 201, body: { run_id: script.id, state: 'active' } });
    const told = await waitFor(
      () => receiver.received.find(({ type }) => type === 'run.completed'),
      { timeoutMs: 10_000, describe: () => 'the webhook' },
    );
    expect(told.verified).toBe(true);
  });
});
