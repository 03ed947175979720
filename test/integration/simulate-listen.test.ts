import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { listen } from '../../src/cli/local/listen.ts';
import { simulate } from '../../src/cli/local/simulate.ts';
import { startSimulator } from '../../src/simulator/server.ts';
import { runCli } from '../support/cli-harness.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${randomBytes(32).toString('base64')}`;

let stop = new AbortController();

afterEach(() => {
  stop.abort();
  stop = new AbortController();
});

/** The first URL that was printed. */
async function printedUrl(lines: string[]): Promise<string> {
  return waitFor(() => /http:\/\/\S+/.exec(lines.join('\n'))?.[0], { describe: 'a URL' });
}

async function deliver(url: string, secret: string, body: string) {
  const at = new Date();
  return fetch(url, {
    method: 'POST',
    body,
    headers: {
      'webhook-id': 'evt_1',
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': new Webhook(secret).sign('evt_1', at, body),
    },
  });
}

const event = JSON.stringify({
  id: 'evt_1',
  type: 'run.failed',
  data: { run_id: 'run-1', run: { status: 'failed', progress: 60 }, detection_delay_ms: 812 },
});

/** What `listen` prints when a sender signs one event with `secret`. */
async function heard(options: { json: boolean }, secret: string) {
  const lines: string[] = [];
  const notes: string[] = [];
  const ended = listen({
    port: 0,
    secrets: [SECRET],
    signal: stop.signal,
    write: (line) => lines.push(line),
    note: (line) => notes.push(line),
    ...options,
  });
  await deliver(await printedUrl(notes), secret, event);
  stop.abort();
  await ended;
  return lines;
}

describe('simulate verb', () => {
  test('simulate prints readable runs and commands to try, until its signal', async () => {
    const lines: string[] = [];
    const ended = simulate({
      port: 0,
      signal: stop.signal,
      write: (line) => lines.push(line),
    });
    const url = await printedUrl(lines);
    const key = /API key: (\S+?)\)/.exec(lines[0] ?? '')?.[1] ?? '';
    const ids = lines.flatMap((line) => /^ {2}([0-9a-f-]{36}) {2}/.exec(line)?.[1] ?? []);
    expect(ids).toHaveLength(15);
    const command = 'npx --no-install runwatch';
    expect(lines).toContain(`  NOXUS_BACKEND_URL=${url} NOXUS_API_KEY=${key} ${command} serve`);
    expect(lines).toContain(`  ${command} watch ${ids[0]} --wait`);
    const read = await fetch(`${url}/v1/runs/${ids[0]}`, { headers: { 'x-api-key': key } });
    expect(await read.json()).toMatchObject({ id: ids[0], status: 'queued' });
    stop.abort();
    await ended;
    await expect(fetch(`${url}/v1/runs`)).rejects.toThrow('fetch failed');
  });

  test('the help of simulate contains the API key', async () => {
    const { stdout } = await runCli(['simulate', '--help']);
    const simulator = await startSimulator();
    const keys = [/NOXUS_API_KEY=(\S+)/, /Client\("([^"]+)"/].map((key) => key.exec(stdout)?.[1]);
    const answers = keys.map((key = '') =>
      fetch(`${simulator.url}/v1/runs`, { headers: { 'x-api-key': key } }),
    );
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    await simulator.close();
    expect(statuses).toEqual([200, 200]);
  });

  test('simulate fails on a port in use', async () => {
    const lines: string[] = [];
    const options = { signal: stop.signal, write: (line: string) => lines.push(line) };
    const first = simulate({ port: 0, ...options });
    const port = Number(new URL(await printedUrl(lines)).port);
    await expect(simulate({ port, ...options })).rejects.toMatchObject({ code: 'port_in_use' });
    stop.abort();
    await first;
  });
});

describe('listen verb', () => {
  test('listen prints a line for each webhook', async () => {
    const [line = ''] = await heard({ json: false }, SECRET);
    expect(line).toMatch(/^\d{4}-\d\d-\d\dT\S+Z {2}✔ {2}run\.failed +run-1 {2}failed 60 %/);
    expect(line).toMatch(/seen after 812 ms {2}verified$/);
  });

  test('listen prints why a webhook is not verified', async () => {
    const other = `whsec_${randomBytes(32).toString('base64')}`;
    const [line = ''] = await heard({ json: false }, other);
    expect(line).toContain('✘');
    expect(line).toMatch(/not verified: No matching signature found$/);
  });

  test('listen --json prints JSON only', async () => {
    const lines = await heard({ json: true }, SECRET);
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      {
        id: 'evt_1',
        type: 'run.failed',
        received_at: expect.stringMatching(/Z$/),
        verified: true,
        problem: null,
        event: JSON.parse(event),
      },
    ]);
  });
});
