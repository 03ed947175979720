import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { startDaemonProcess, type DaemonProcess } from '../support/daemon-process.ts';

/** The secret of the endpoint `ops`. */
export const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

export const TOKEN = 'interop-token-0123456789';

/** A webhook as it came over the wire. */
export interface RawWebhook {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** What the parts share: a simulated Noxus, a daemon, and an endpoint that notes what it gets. */
export interface Stage {
  noxus: Simulator;
  daemon: DaemonProcess;
  webhooks: RawWebhook[];
  /** Where the endpoint listens. */
  receiverUrl: string;
  stop: () => Promise<void>;
}

const daemons = new Set<DaemonProcess>();

/** Ends the daemons that are still there, whatever became of their parts. */
export async function stopDaemons(): Promise<void> {
  await Promise.all([...daemons].map((daemon) => daemon.stop()));
}

/** A daemon of its own, for a part that leaves nothing as it was. */
export async function startDaemon(noxusUrl: string, apiKey: string, receiverUrl: string) {
  const daemon = await startDaemonProcess({
    config: {
      auth: { tokens: [{ name: 'interop', token: TOKEN }] },
      sources: { default: { base_url: noxusUrl, api_key: apiKey, rate_limit: { requests: 100 } } },
      polling: { min_interval: '100ms', max_interval: '1s' },
      endpoints: { ops: { type: 'webhook', url: receiverUrl, secret: SECRET } },
      egress: { allow: [new URL(receiverUrl).host] },
    },
  });
  daemons.add(daemon);
  return daemon;
}

export async function startStage(): Promise<Stage> {
  const noxus = await startSimulator();
  const webhooks: RawWebhook[] = [];
  const receiver = await startReceiver(webhooks);
  const receiverUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/ops`;
  const daemon = await startDaemon(noxus.url, noxus.apiKey, receiverUrl);
  return {
    noxus,
    daemon,
    webhooks,
    receiverUrl,
    stop: async () => {
      await daemon.stop();
      await noxus.close();
      receiver.close();
    },
  };
}

async function startReceiver(webhooks: RawWebhook[]): Promise<Server> {
  const receiver = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const { url = '/', headers } = request;
      webhooks.push({ path: url, headers, body: Buffer.concat(pieces).toString() });
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => {
    receiver.listen(0, '127.0.0.1', resolve);
  });
  return receiver;
}
