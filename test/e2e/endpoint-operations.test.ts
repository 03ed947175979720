import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import {
  startReceiver,
  type ReceivedWebhook,
  type Receiver,
} from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runCli } from '../support/cli-harness.ts';
import { readAll, type DeliveryJson } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { startSmtpServer } from '../support/services/smtp.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const OLD_SECRET = `whsec_${Buffer.alloc(32, 3).toString('base64')}`;

/** Endpoints, each with a receiver of its own, and what that answers to its so-manieth request. */
const ANSWERS = {
  rotated: () => 204,
  gone: (nth) => (nth === 1 ? 410 : 204),
  'also-gone': (nth) => (nth === 1 ? 410 : 204),
  paused: () => 204,
  tested: (nth) => (nth === 1 ? 500 : 204),
  flaky: (nth) => (nth === 1 ? 500 : 204),
  operators: () => 204,
} satisfies Record<string, (nth: number) => number>;

type Name = keyof typeof ANSWERS;

const NAMES = Object.keys(ANSWERS) as Name[];

/** A mail server that does not know one of the recipients. */
let mails: Awaited<ReturnType<typeof startSmtpServer>>;

let redis: PrivateRedis;
let noxus: Simulator;
let daemon: DaemonProcess;
const receivers = new Map<Name, Receiver>();

beforeAll(async () => {
  redis = await startPrivateRedis();
  noxus = await startSimulator();
  for (const name of NAMES) {
    let nth = 0;
    const respond = () => ANSWERS[name]((nth += 1));
    receivers.set(name, await startReceiver({ secrets: [OLD_SECRET], respond }));
  }
  mails = await startSmtpServer();
  mails.answerBy(() =>
    mails.commands.at(-1) === 'RCPT TO:<left@example.com>' ? '550 5.1.1 no such user' : null,
  );
  daemon = await startDaemonProcess({
    env: {
      REDIS_URL: `unix://${redis.url}`,
      RUNWATCH_ENCRYPTION_KEY: Buffer.alloc(32, 1).toString('base64'),
    },
    config: {
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: 1_000, per: '1s' },
        },
      },
      endpoints: {
        ...Object.fromEntries(
          NAMES.map((name) => [
            name,
            {
              type: 'webhook',
              url: receivers.get(name)?.url,
              secret: OLD_SECRET,
              retry: ['100ms'],
              // Of system events an endpoint gets those that it names.
              ...(name === 'operators' && { events: ['endpoint.*', 'delivery.exhausted'] }),
            },
          ]),
        ),
        mail: {
          type: 'email',
          host: mails.host,
          port: mails.port,
          from: 'runwatch@example.com',
          to: ['ops@example.com', 'left@example.com'],
        },
      },
      egress: { allow: ['127.0.0.1/32'] },
    },
  });
});

afterAll(async () => {
  await stopAll([daemon]);
  await Promise.all([mails, ...receivers.values()].map((receiver) => receiver.close()));
  await noxus.close();
  await redis.stop();
});

const cli = (...args: string[]) =>
  runCli(args, { env: { RUNWATCH_URL: daemon.url }, now: Date.now });

const received = (name: Name): readonly ReceivedWebhook[] => receivers.get(name)?.received ?? [];

interface EndpointJson {
  name: string;
  health: { state: string; reason: string | null };
  counts: Record<string, number>;
}

async function endpoint(name: Name): Promise<EndpointJson> {
  const { body } = await daemon.api<{ data: EndpointJson[] }>('/v1/endpoints');
  const found = body.data.find((one) => one.name === name);
  if (found === undefined) throw new Error(`${name} is not listed`);
  return found;
}

/** Deliveries to an endpoint in a state, the newest first. */
const deliveriesTo = (name: string, state: string) =>
  readAll<DeliveryJson & { created_at: string }>(
    daemon,
    `/v1/deliveries?endpoint=${name}&state=${state}`,
  );

/** Notifies one endpoint of a failed run. @returns the delivery, once it has a state */
async function tell(name: string, state: string): Promise<DeliveryJson & { created_at: string }> {
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] });
  await daemon.api('/v1/watches', { run_id: id, endpoints: [name] });
  return waitFor(
    async () => (await deliveriesTo(name, state)).find(({ run_id: runId }) => runId === id),
    { describe: `a delivery to ${name} to be ${state}` },
  );
}

/** The next webhook of an endpoint, after those that had come before. */
async function nextOf(name: Name, cause: () => Promise<unknown>): Promise<ReceivedWebhook> {
  const before = received(name).length;
  await cause();
  return waitFor(() => received(name)[before], { describe: `a webhook at ${name}` });
}

/** Whether the official library takes a webhook for signed by a secret. */
function isSignedBy(secret: string, { body, headers }: ReceivedWebhook): boolean {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch {
    return false;
  }
}

describe("rotation of an endpoint's secret", () => {
  const rotate = async (...flags: string[]) => {
    const { stdout, exitCode } = await cli('endpoints', 'rotate', 'rotated', ...flags);
    expect(exitCode).toBe(0);
    return stdout.trim();
  };
  const told = () => nextOf('rotated', () => tell('rotated', 'delivered'));
  let first: string;

  test('during a rotation both secrets sign, and the official library verifies with either', async () => {
    first = await rotate('--overlap', '1h');
    const webhook = await told();
    expect(webhook.headers['webhook-signature']?.split(' ')).toHaveLength(2);
    const signers = [OLD_SECRET, first, `whsec_${Buffer.alloc(32, 4).toString('base64')}`];
    expect(signers.map((secret) => isSignedBy(secret, webhook))).toEqual([true, true, false]);
  });

  test('a rotation without overlap signs with the new secret only', async () => {
    const second = await rotate('--now');
    const webhook = await told();
    const signers = [OLD_SECRET, first, second];
    expect(signers.map((secret) => isSignedBy(secret, webhook))).toEqual([false, false, true]);
  });

  test('a rotated secret is returned once, and occurs nowhere else', async () => {
    const said = [
      JSON.stringify((await daemon.api('/v1/endpoints')).body),
      (await cli('endpoints', '--json')).stdout,
      JSON.stringify(daemon.log()),
      JSON.stringify(await dumpRedis(redis.url)),
    ].join('\n');
    expect(first).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(said).not.toContain(first.slice('whsec_'.length));
    expect(said).toContain('rotated');
  });
});

describe('endpoint after 410', () => {
  const skipped: (DeliveryJson & { created_at: string })[] = [];

  test('an endpoint that answers 410 is disabled, and its next deliveries are skipped and listed', async () => {
    for (const name of ['gone', 'also-gone'] as const) {
      const dead = await tell(name, 'dead');
      expect(dead).toMatchObject({ attempt_count: 1, last: { status: 410 } });
      skipped.push(await tell(name, 'skipped'));
    }
    skipped.push(await tell('gone', 'skipped'));
    expect((await endpoint('gone')).health).toMatchObject({ state: 'disabled', reason: 'gone' });
    const { stdout } = await cli('deliveries', '--state', 'skipped', '--endpoint', 'gone');
    const [early, , late] = skipped;
    expect(stdout.indexOf(late?.id ?? '')).toBeGreaterThan(0);
    expect(stdout.indexOf(early?.id ?? '')).toBeGreaterThan(stdout.indexOf(late?.id ?? ''));
    expect(received('gone')).toHaveLength(1);
  });

  test("the operators' endpoint gets a signed event for the disabled endpoint and the dead delivery", async () => {
    const alertsAbout = (name: Name) =>
      received('operators')
        .map(({ body }) => JSON.parse(body) as { type: string; data: { endpoint: string } })
        .filter(({ data }) => data.endpoint === name);
    const dead = (await deliveriesTo('gone', 'dead'))[0];
    await waitFor(() => alertsAbout('gone').length === 2);
    expect(alertsAbout('gone').map(({ type }) => type)).toEqual(
      expect.arrayContaining(['endpoint.disabled', 'delivery.exhausted']),
    );
    const ready = await fetch(`${daemon.url}/readyz`);
    expect(ready.status).toBe(200);
    expect(await ready.text()).toMatch(
      /^degraded endpoints: gone is disabled; also-gone is disabled$/m,
    );
    for (const alert of alertsAbout('gone')) {
      expect(alert).toMatchObject({ data: { delivery_id: dead?.id, error: { code: 'status' } } });
    }
    expect(received('operators').filter(({ verified }) => !verified)).toEqual([]);
  });

  test('an endpoint that is enabled again gets its missed deliveries by redelivery of a time range', async () => {
    expect(await cli('endpoints', 'resume', 'gone')).toMatchObject({
      exitCode: 0,
      stdout: 'gone is active\n',
    });
    const [early, other, late] = skipped;
    const again = (...range: string[]) => cli('redeliver', '--endpoint', 'gone', '--yes', ...range);
    const webhook = await nextOf('gone', async () => {
      const { stdout } = await again('--since', late?.created_at ?? '', '--state', 'skipped');
      expect(stdout).toBe('1 delivery goes out again\n');
    });
    expect(webhook.id).toBe(late?.event_id);
    // Without a time or a state: the one that is still skipped, and the one that the 410 was said to.
    expect((await again()).stdout).toBe('2 deliveries go out again\n');
    await waitFor(() => received('gone').length === 4);
    const [refused, ...rest] = received('gone').map(({ id }) => id);
    expect(new Set(rest)).toEqual(new Set([late?.event_id, early?.event_id, refused]));
    expect((await deliveriesTo('also-gone', 'skipped')).map(({ id }) => id)).toEqual([other?.id]);
    // What the other one skipped goes to this one.
    const elsewhere = await nextOf('gone', async () => {
      const { stdout } = await cli('redeliver', other?.id ?? '', '--to', 'gone');
      expect(stdout).toContain(`goes out again (${other?.event_id})`);
    });
    expect(elsewhere.id).toBe(other?.event_id);
  });
});

describe('paused endpoint', () => {
  test('a paused endpoint parks its deliveries, accepts a test, and gets all of them after resuming', async () => {
    expect((await cli('endpoints', 'pause', 'paused')).stdout).toBe('paused is paused\n');
    const kept = [await tell('paused', 'parked'), await tell('paused', 'parked')];
    expect(received('paused')).toEqual([]);
    expect((await endpoint('paused')).counts).toMatchObject({ parked: 2, delivered: 0 });
    const metrics = await (await fetch(`${daemon.url}/metrics`)).text();
    expect(metrics).toMatch(/^runwatch_endpoint_up\{endpoint="paused"\} 0$/m);
    expect(metrics).toMatch(/^runwatch_endpoint_up\{endpoint="rotated"\} 1$/m);
    expect(metrics).toMatch(/^runwatch_endpoint_backlog\{endpoint="paused"\} 2$/m);
    expect(metrics).toMatch(
      /^runwatch_endpoint_oldest_pending_seconds\{endpoint="paused"\} \d+\.\d+$/m,
    );
    expect(metrics).toMatch(/^runwatch_endpoint_backlog\{endpoint="per-watch"\} 0$/m);
    expect(metrics).toMatch(
      /^runwatch_endpoint_attempts_total\{endpoint="gone",result="status"\} 1$/m,
    );
    const trial = await nextOf('paused', async () => {
      expect((await cli('endpoints', 'test', 'paused')).exitCode).toBe(0);
    });
    expect(trial).toMatchObject({ type: 'runwatch.test', verified: true });
    expect((await cli('endpoints', 'resume', 'paused')).stdout).toBe('paused is active\n');
    await waitFor(async () => (await endpoint('paused')).counts['delivered'] === 2);
    const ids = received('paused').map(({ id }) => id);
    expect(new Set(ids.slice(1))).toEqual(new Set(kept.map(({ event_id: id }) => id)));
  });
});

describe('test delivery to an endpoint', () => {
  test('endpoints test exits 1 for a failing receiver and 0 for a working one, and records no delivery', async () => {
    const failed = await cli('endpoints', 'test', 'tested');
    expect(failed).toMatchObject({ exitCode: 1 });
    expect(failed.stdout).toMatch(/^not delivered to tested: .*500/);
    const worked = await cli('endpoints', 'test', 'tested');
    expect(worked.stdout).toMatch(/^delivered to tested: 204/);
    expect(received('tested').map(({ type }) => type)).toEqual(['runwatch.test', 'runwatch.test']);
    expect(Object.values((await endpoint('tested')).counts)).toEqual([0, 0, 0, 0, 0, 0]);
  });
});

describe('delivery with two attempts', () => {
  test('a delivery lists its attempts, and redelivery sends the same event', async () => {
    const { id, event_id: eventId } = await tell('flaky', 'delivered');
    const shown = await cli('deliveries', id, '--json');
    const sent = {
      phases: { wait_ms: expect.any(Number), receive_ms: expect.any(Number) },
      request_headers: { 'webhook-id': eventId, 'webhook-signature': 'v1,…' },
    };
    expect(JSON.parse(shown.stdout)).toMatchObject({
      state: 'delivered',
      attempt_count: 2,
      attempts: [
        {
          status: 500,
          error: { code: 'status', message: expect.stringContaining('500') },
          ...sent,
        },
        { status: 204, error: null, ...sent },
      ],
    });
    const again = await nextOf('flaky', async () => {
      const { stdout } = await cli('redeliver', id);
      expect(stdout).toBe(`${id} goes out again (${eventId})\n`);
    });
    const [, taken] = received('flaky');
    expect([again.id, again.body]).toEqual([eventId, taken?.body]);
    await waitFor(
      async () => (await daemon.api(`/v1/deliveries/${id}`)).body.attempts.length === 3,
    );
    expect((await endpoint('flaky')).counts).toMatchObject({ delivered: 1, pending: 0 });
  });
});

test('a mail that one of its recipients does not get is delivered once, and log, metrics and delivery name that one', async () => {
  const { id } = await tell('mail', 'delivered');
  const error = {
    code: 'recipients_refused',
    message:
      '127.0.0.1 took the mail, but refused 1 of 2 recipients: left@example.com (550 5.1.1 no such user)',
  };
  const { body } = await daemon.api(`/v1/deliveries/${id}`);
  expect(body).toMatchObject({
    state: 'delivered',
    attempt_count: 1,
    next_attempt_at: null,
    attempts: [{ status: 250, error }],
  });
  const line = await waitFor(() => daemon.log().find((one) => one['delivery_id'] === id));
  expect(line).toMatchObject({ level: 'warn', msg: 'delivery', state: 'delivered', error });
  const counted =
    /^runwatch_endpoint_attempts_total\{endpoint="mail",result="recipients_refused"\} 1$/m;
  // Metrics are made once a second at most.
  await waitFor(async () => counted.test(await (await fetch(`${daemon.url}/metrics`)).text()));
  expect((await cli('deliveries', id)).stdout).toContain('left@example.com (550 5.1.1 no');
  expect(mails.mails.map(({ to }) => to)).toEqual([['ops@example.com']]);
});

test('the webhook of a batch that answered 410 is tested and resumed by its masked URL, and takes its events again', async () => {
  let attempts = 0;
  const respond = () => ((attempts += 1) === 1 ? 410 : 204);
  const receiver = await startReceiver({ secrets: [OLD_SECRET], respond });
  const webhook = { url: receiver.url, secret: OLD_SECRET };
  const settings = { max_failed: 0, webhook };
  const { body: batch } = await daemon.api('/v1/batches/nightly', settings, 'PUT');
  const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'failed' }] });
  await daemon.api('/v1/watches', { run_id: id, endpoints: ['operators'], batch: 'nightly' });
  const [dead] = await waitFor(
    async () => {
      const { body } = await daemon.api<{ data: DeliveryJson[] }>('/v1/deliveries?state=dead');
      const own = body.data.filter(({ endpoint: to }) => to === batch.webhook);
      return own.length > 0 && own;
    },
    { describe: 'the dead delivery of batch.failed' },
  );
  const listed = async () => (await daemon.api('/v1/webhooks')).body.data;
  expect(await listed()).toMatchObject([
    { url: batch.webhook, watches: 0, batches: 1, health: { state: 'disabled', reason: 'gone' } },
  ]);
  expect((await cli('endpoints', 'pause', batch.webhook)).exitCode).toBe(0);
  expect((await cli('endpoints', 'test', batch.webhook)).stdout).toContain('204');
  expect((await cli('endpoints', 'resume', batch.webhook)).exitCode).toBe(0);
  expect(await listed()).toMatchObject([{ health: { state: 'active' } }]);
  expect((await cli('redeliver', dead?.id ?? '')).exitCode).toBe(0);
  await daemon.api('/v1/batches/nightly/close', {});
  await waitFor(() => receiver.received.length >= 4, {
    describe: 'batch.failed again, and batch.completed',
  });
  expect(receiver.received.map(({ type }) => String(type)).toSorted()).toEqual([
    'batch.completed',
    'batch.failed',
    'batch.failed',
    'runwatch.test',
  ]);
  expect(receiver.received.every(({ verified }) => verified)).toBe(true);
  expect(await listed()).toEqual([]);
  await receiver.close();
});
