import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { startDaemonProcess, tempDir, type DaemonProcess } from './daemon-process.ts';

/** The workflows of the stage, with the names that the configuration gives them. */
export const WORKFLOWS = {
  invoices: '11111111-1111-4111-8111-111111111111',
  onboarding: '22222222-2222-4222-8222-222222222222',
  'support triage': '33333333-3333-4333-8333-333333333333',
  'weekly report': '44444444-4444-4444-8444-444444444444',
} as const;

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

interface StageOptions {
  /** Sections of the configuration besides those of the stage. */
  config?: Record<string, unknown>;
  /** Further sources, of the same Noxus. */
  sources?: readonly string[];
  env?: Record<string, string>;
  /** Further arguments of the daemon. */
  args?: string[];
  /** The answer of the receiver `flaky`, a status code. */
  flaky?: () => number;
}

/** A daemon with a simulated Noxus, a receiver that takes all and one that does not. */
export interface Stage {
  noxus: Simulator;
  daemon: DaemonProcess;
  /** Where the dashboard is. */
  readonly url: string;
  /** Adds a run to Noxus and has the daemon watch it. @returns its id */
  run(script: ScriptInput, watch?: Record<string, unknown>): Promise<string>;
  /** Ends the daemon and starts it again on the same port and store, perhaps some time later. */
  restart(options?: { afterMs?: number }): Promise<void>;
  close(): Promise<void>;
}

export async function openStage(options: StageOptions = {}): Promise<Stage> {
  const { env = {}, args = [] } = options;
  const noxus = await startSimulator();
  const receiver = await startReceiver({ secrets: [SECRET], respond: () => 204, keep: 0 });
  const flaky = await startReceiver({
    secrets: [SECRET],
    respond: options.flaky ?? (() => 500),
    keep: 0,
  });
  const config = configOf({ noxus, receiver, flaky }, options);
  const dataDir = await tempDir();
  let daemon = await startDaemonProcess({ config, dataDir, env, args });
  const token = env['RUNWATCH_API_TOKEN'];
  return {
    noxus,
    get daemon() {
      return daemon;
    },
    get url() {
      return daemon.url;
    },
    async run(script, watch = {}) {
      const { id } = noxus.add(script);
      const answer = await fetch(`${daemon.url}/v1/watches`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify({ run_id: id, ...watch }),
      });
      if (!answer.ok) throw new Error(`not watched: ${answer.status} ${await answer.text()}`);
      return id;
    },
    async restart({ afterMs = 0 } = {}) {
      const { port } = new URL(daemon.url);
      await daemon.stop();
      await delay(afterMs);
      const server = { ...(config['server'] as object | undefined), port: Number(port) };
      daemon = await startDaemonProcess({
        config: { ...config, server },
        dataDir,
        env,
        args,
      });
    },
    async close() {
      await daemon.stop();
      await Promise.all([noxus.close(), receiver.close(), flaky.close()]);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

interface Parts {
  noxus: Simulator;
  receiver: Receiver;
  flaky: Receiver;
}

function configOf(
  { noxus, receiver, flaky }: Parts,
  { config, sources = [] }: StageOptions,
): Record<string, unknown> {
  const source = {
    base_url: noxus.url,
    api_key: noxus.apiKey,
    rate_limit: { requests: 100, per: '1s' },
    run_url: 'https://app.noxus.example/workflows/{workflow_id}/runs/{run_id}',
  };
  const names = Object.entries(WORKFLOWS).map(([name, id]) => [id, { name }]);
  return {
    sources: Object.fromEntries(['default', ...sources].map((name) => [name, source])),
    workflows: Object.fromEntries(names) as object,
    polling: { max_interval: '1s' },
    rules: [
      {
        name: 'failed-runs',
        events: ['run.failed'],
        group_wait: '500ms',
        resolve: { success_threshold: 1 },
        owner: '@ana',
        annotations: { runbook_url: 'https://wiki.example.com/runs', team: 'invoicing' },
        notify: ['ops'],
      },
    ],
    endpoints: {
      ops: { type: 'webhook', url: receiver.url, secret: SECRET, default: true },
      flaky: {
        type: 'webhook',
        url: flaky.url,
        secret: SECRET,
        events: ['run.failed'],
        retry: ['1s', '1s', '2s', '30s', '5m'],
        default: true,
      },
    },
    ...config,
  };
}
