import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { callAs } from '../support/call-as.ts';
import {
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const ADMIN = 'token-with-all-scopes';
const WRITER = 'token-that-may-only-write';
const ONE = 'token-of-one-source';

interface Audited {
  action: string;
  target: string;
  by: string | null;
  via: string;
  details: Record<string, unknown>;
}

let noxus: Simulator;
let receiver: Receiver;
let daemon: DaemonProcess;
let dataDir: string;

beforeAll(async () => {
  noxus = await startSimulator();
  receiver = await startReceiver({ secrets: [] });
  dataDir = await tempDir();
  daemon = await start();
});
afterAll(async () => {
  await stopAll([daemon]);
  await receiver.close();
  await noxus.close();
});

const start = () => {
  const source = { base_url: noxus.url, api_key: noxus.apiKey };
  return startDaemonProcess({
    dataDir,
    config: {
      sources: { mine: source, theirs: source },
      auth: {
        tokens: [
          { name: 'admin', token: ADMIN },
          { name: 'writer', token: WRITER, scopes: ['write'] },
          { name: 'one', token: ONE, sources: ['mine'] },
        ],
      },
      polling: { min_interval: '50ms', max_interval: '100ms' },
      endpoints: {
        hooks: { type: 'webhook', url: receiver.url, default: true },
        spare: { type: 'log' },
      },
      rules: [{ name: 'failures', events: ['run.failed'], notify: ['spare'], group_wait: '1ms' }],
    },
  });
};

const call = (method: string, path: string, body?: unknown, token = ADMIN) =>
  callAs(daemon, token, method, path, body);

async function recorded(query = '', token = ADMIN): Promise<Audited[]> {
  const { status, body } = await call('GET', `/v1/audit${query}`, undefined, token);
  expect(status).toBe(200);
  return body.data;
}

/** What is recorded of some calls, oldest first. */
async function recordsOf(act: () => Promise<unknown>): Promise<Audited[]> {
  const before = await recorded();
  await act();
  const after = await recorded();
  return after.slice(0, after.length - before.length).toReversed();
}

async function watched(status: string, source = 'mine'): Promise<string> {
  const { id } = noxus.add({ steps: [{ after_ms: 0, status }] });
  await call('POST', '/v1/watches', { run_id: id, source });
  await waitFor(async () => {
    const { body } = await call('GET', `/v1/watches/${id}?source=${source}`);
    return body.run?.status === status;
  });
  return id;
}

describe('the audit log', () => {
  test('has each thing that a user does to a run, with the name of the token', async () => {
    const id = await watched('running');
    const path = `/v1/watches/${id}`;
    const records = await recordsOf(async () => {
      const until = '2h';
      await call('POST', `${path}/acknowledge`, { by: 'Ana', comment: 'mine', until }, WRITER);
      await call('DELETE', `${path}/acknowledge`, undefined, WRITER);
      await call('POST', `${path}/stop`);
      await call('DELETE', `${path}?purge=true`);
    });
    const target = `mine/${id}`;
    expect(records).toMatchObject([
      { action: 'run.acknowledge', target, by: 'writer', details: { person: 'Ana' } },
      { action: 'run.unacknowledge', target, by: 'writer', details: {} },
      { action: 'run.stop', target, by: 'admin', details: { outcome: 'asked' } },
      { action: 'run.purge', target, by: 'admin', details: {} },
    ]);
    const { comment, until } = records[0]!.details;
    expect([comment, Date.parse(String(until)) > Date.now()]).toEqual(['mine', true]);
  });

  test('has each thing that a user does to alerts and silences', async () => {
    await watched('failed');
    let id = '';
    await waitFor(async () => {
      const { body } = await call('GET', '/v1/alerts?state=firing');
      id = body.data[0]?.id ?? '';
      return id !== '';
    });
    let silence = '';
    const matchers = { rule: ['failures'], source: ['theirs'] };
    const records = await recordsOf(async () => {
      await call('POST', `/v1/alerts/${id}/acknowledge`, { by: 'Ana' });
      await call('DELETE', `/v1/alerts/${id}/acknowledge`);
      await call('POST', `/v1/alerts/${id}/resolve`, { by: 'Ana' });
      // It has resolved: nothing is done.
      await call('POST', `/v1/alerts/${id}/resolve`, { by: 'Ana' });
      const given = { matchers, until: '1h', by: 'Ana', comment: 'upgrade', key: 'one' };
      silence = (await call('POST', '/v1/silences', given)).body.id;
      // The same key again adds nothing, and an end of what has ended ends nothing.
      await call('POST', '/v1/silences', given);
      await call('DELETE', `/v1/silences/${silence}`);
      await call('DELETE', `/v1/silences/${silence}`);
    });
    expect(records).toMatchObject([
      { action: 'alert.acknowledge', target: id },
      { action: 'alert.unacknowledge', target: id },
      { action: 'alert.resolve', target: id },
      { action: 'silence.add', target: silence },
      { action: 'silence.expire', target: silence },
    ]);
    expect(JSON.parse(String(records[3]!.details['matchers']))).toEqual(matchers);
  });

  test('has the end of a batch by a user, and not that by a list of runs', async () => {
    const begin = async (name: string, token = ADMIN) => {
      const { body } = await call('PUT', `/v1/batches/${name}`, {}, token);
      return String(body.id);
    };
    const [all, own] = [await begin('all'), await begin('own', ONE)];
    const records = await recordsOf(async () => {
      await call('POST', '/v1/batches/all/close', undefined, WRITER);
      // It is closed: nothing is done.
      await call('POST', '/v1/batches/all/close', undefined, WRITER);
      await call('DELETE', '/v1/batches/all');
      await call('DELETE', '/v1/batches/all');
      await call('POST', '/v1/watches/batch', {
        watches: [{ run_id: await watched('running'), source: 'mine' }],
        batch: 'listed',
      });
      await call('DELETE', '/v1/batches/own', undefined, ONE);
    });
    expect(records).toMatchObject([
      { action: 'batch.close', target: all, by: 'writer', details: { name: 'all' } },
      { action: 'batch.delete', target: all, by: 'admin', details: { name: 'all' } },
      { action: 'batch.delete', target: own, by: 'one', details: { name: 'own' } },
    ]);
    const [newest, ...older] = await recorded('?limit=200', ONE);
    expect(newest).toMatchObject({ action: 'batch.delete', target: own });
    expect(older.map(({ target }) => target)).not.toContain(all);
  });

  test('has each thing that a user does to endpoints, deliveries and sources, and no secret', async () => {
    const id = await watched('completed');
    const { body } = await call('GET', `/v1/deliveries?run_id=${id}`);
    const delivery = body.data[0].id as string;
    let secret = '';
    const { apiKey } = noxus;
    noxus.useApiKey('another-key');
    await call('POST', '/v1/watches', { run_id: 'never-seen', source: 'mine' });
    await waitFor(async () => {
      const { body: sources } = await call('GET', '/v1/sources');
      return sources.data[0].state === 'unauthorized';
    });
    const records = await recordsOf(async () => {
      await call('POST', '/v1/endpoints/hooks/pause');
      await call('POST', '/v1/endpoints/hooks/resume');
      await call('POST', '/v1/endpoints/hooks/retry');
      await call('GET', '/v1/endpoints/hooks/secret');
      secret = (await call('POST', '/v1/endpoints/hooks/rotate', { overlap: '2h' })).body.secret;
      await call('POST', `/v1/deliveries/${delivery}/redeliver`);
      await call('POST', `/v1/deliveries/${delivery}/redeliver`, { endpoint: 'spare' });
      await call('POST', '/v1/deliveries/redeliver', { state: 'dead', since: '1h' });
      await call('DELETE', '/v1/webhooks?source=mine');
      noxus.useApiKey(apiKey);
      await call('POST', '/v1/sources/mine/resume');
    });
    expect(records).toMatchObject([
      { action: 'endpoint.pause', target: 'hooks' },
      { action: 'endpoint.resume', target: 'hooks' },
      { action: 'endpoint.retry', target: 'hooks' },
      { action: 'endpoint.secret', target: 'hooks' },
      { action: 'endpoint.rotate', target: 'hooks', details: { overlap: '2h' } },
      { action: 'delivery.redeliver', target: delivery, details: {} },
      { action: 'delivery.redeliver', target: delivery, details: { to: 'spare' } },
      { action: 'deliveries.redeliver', target: '*', details: { state: 'dead' } },
      { action: 'webhooks.end', target: '*', details: { source: 'mine' } },
      { action: 'source.resume', target: 'mine' },
    ]);
    expect(secret).toMatch(/^whsec_/);
    expect(JSON.stringify(await recorded())).not.toContain(secret.slice('whsec_'.length));
    expect(JSON.stringify(await recorded())).not.toContain(ADMIN);
  });

  test('has nothing of what was refused', async () => {
    const records = await recordsOf(async () => {
      await call('POST', '/v1/endpoints/hooks/pause', undefined, WRITER);
      await call('POST', '/v1/endpoints/nowhere/pause');
      await call('POST', '/v1/watches/nobody/acknowledge', { by: 'Ana' });
      await call('POST', '/v1/watches/nobody/stop');
      await call('POST', '/v1/deliveries/dlv_none/redeliver');
      await call('DELETE', '/v1/silences/sil_none');
    });
    expect(records).toEqual([]);
  });

  test('is for tokens with the scope admin', async () => {
    expect((await call('GET', '/v1/audit', undefined, WRITER)).status).toBe(403);
  });

  test('says how it was asked for, and the command line lists it', async () => {
    const env = { RUNWATCH_URL: daemon.url, RUNWATCH_API_TOKEN: ADMIN };
    const paused = await runBuiltCli(['endpoints', 'pause', 'spare'], env);
    expect(paused.exitCode).toBe(0);
    await call('POST', '/v1/endpoints/spare/resume');
    const { exitCode, stdout } = await runBuiltCli(['audit', '--by', 'admin', '--limit', '2'], env);
    expect(exitCode).toBe(0);
    const rows = stdout.split('\n').map((row) => row.trim().split(/  +/));
    expect(rows.slice(0, 3).map((row) => row.slice(1))).toEqual([
      ['ACTION', 'TARGET', 'BY', 'VIA', 'DETAILS'],
      ['endpoint.resume', 'spare', 'admin', 'api', '-'],
      ['endpoint.pause', 'spare', 'admin', 'cli', '-'],
    ]);
    const listed = await runBuiltCli(['audit', '--by', 'nobody'], env);
    expect(listed.stderr).toContain('No record matches');
  });

  test('shows a token that is limited to a source what concerns that alone', async () => {
    const [mine, theirs] = [await watched('running'), await watched('running', 'theirs')];
    const acknowledge = (id: string, source: string) =>
      call('POST', `/v1/watches/${id}/acknowledge?source=${source}`, { by: 'Ana' });
    await acknowledge(mine, 'mine');
    await acknowledge(theirs, 'theirs');
    const seen = await recorded('?limit=200', ONE);
    expect(seen.map(({ target }) => target)).toContain(`mine/${mine}`);
    expect(JSON.stringify(seen)).not.toMatch(/theirs/);
  });
});

describe('a daemon that is killed', () => {
  test('leaves the state of an endpoint as its newest record says', async () => {
    const before = (await recorded('?limit=200')).length;
    let answered = 0;
    const asking = (async () => {
      for (let at = 0; ; at += 1) {
        const { status } = await call('POST', `/v1/endpoints/spare/${at % 2 ? 'resume' : 'pause'}`);
        if (status !== 200) return;
        answered += 1;
      }
    })().catch(() => undefined);
    await waitFor(() => answered > 20);
    await daemon.stop('SIGKILL');
    await asking;
    daemon = await start();
    const records = await recorded('?limit=200');
    // The last one may have been done, and not answered.
    expect([0, 1]).toContain(records.length - before - answered);
    const [newest] = records;
    const { body } = await call('GET', '/v1/endpoints');
    const spare = body.data.find(({ name }: { name: string }) => name === 'spare');
    expect(spare.health.state).toBe(newest?.action === 'endpoint.pause' ? 'paused' : 'active');
  });

  test('leaves a record of a stop whose outcome it did not learn', async () => {
    const id = await watched('running');
    noxus.fault({ kind: 'stall', ms: 60_000, on: 'stop' });
    const asked = call('POST', `/v1/watches/${id}/stop`).catch(() => null);
    await waitFor(async () => (await recorded())[0]?.target === `mine/${id}`);
    await daemon.stop('SIGKILL');
    expect(await asked).toBeNull();
    noxus.clearFaults();
    daemon = await start();
    expect((await recorded())[0]).toMatchObject({
      action: 'run.stop',
      target: `mine/${id}`,
      by: 'admin',
      details: { outcome: 'unknown' },
    });
  });
});
