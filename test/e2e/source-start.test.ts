import { afterEach, expect, test } from '@jest/globals';
import { startSimulator } from '../../src/simulator/server.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const daemons: DaemonProcess[] = [];

afterEach(() => stopAll(daemons.splice(0)));

async function start(baseUrl: string): Promise<DaemonProcess> {
  const daemon = await startDaemonProcess({
    config: { sources: { default: { base_url: baseUrl, api_key: 'the-key-of-today' } } },
  });
  daemons.push(daemon);
  return daemon;
}

async function sourceOf(daemon: DaemonProcess) {
  const { body } = await daemon.api<{ data: Record<string, unknown>[] }>('/v1/sources');
  return body.data[0] ?? {};
}

test('a source that answers is asked at the start, before any run is watched', async () => {
  const noxus = await startSimulator({ apiKey: 'the-key-of-today' });
  const daemon = await start(noxus.url);
  const source = await waitFor(async () => {
    const found = await sourceOf(daemon);
    return found['state'] === 'answering' && found;
  });
  expect(source['last_answer_at']).not.toBeNull();
  await noxus.close();
});

test('a source that never answered is unknown, with the reason, and not called answering', async () => {
  const gone = await startSimulator();
  await gone.close();
  const daemon = await start(gone.url);
  const source = await waitFor(async () => {
    const found = await sourceOf(daemon);
    return found['message'] !== null && found;
  });
  expect(source).toMatchObject({ state: 'unknown', last_answer_at: null, since: null });
  const ready = await (await fetch(`${daemon.url}/readyz`)).text();
  expect(ready).toMatch(/^degraded sources: default has not answered yet \(.*ECONNREFUSED/m);
});

test('a source that refuses its key is unauthorized before any run is watched', async () => {
  const noxus = await startSimulator({ apiKey: 'the-key-of-another' });
  const daemon = await start(noxus.url);
  await waitFor(async () => (await sourceOf(daemon))['state'] === 'unauthorized');
  await noxus.close();
});

test('a source that is closed while no run is watched answers once its pause is over', async () => {
  const noxus = await startSimulator({ apiKey: 'the-key-of-today' });
  noxus.fault({ kind: 'status', status: 429, retry_after: 1, count: 1 });
  const daemon = await start(noxus.url);
  await waitFor(() => daemon.log().some(({ msg }) => msg === 'source.paused'));
  await waitFor(async () => (await sourceOf(daemon))['state'] === 'answering');
  await noxus.close();
});
