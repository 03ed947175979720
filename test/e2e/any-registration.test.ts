import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { anyText } from '../support/any-text.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

let noxus: Simulator;
let receiver: Receiver;
let daemon: DaemonProcess;
let port = '';

beforeAll(async () => {
  noxus = await startSimulator();
  receiver = await startReceiver({ secrets: [], respond: () => 204 });
  ({ port } = new URL(receiver.url));
  daemon = await startDaemonProcess({
    config: {
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      polling: { min_interval: '50ms', max_interval: '200ms' },
      egress: { allow: ['127.0.0.0/8', '::/0'], require_https: false },
    },
  });
});

afterAll(async () => {
  await stopAll([daemon]);
  await receiver?.close();
  await noxus?.close();
});

const among = (characters: string) => fc.constantFrom(...characters.split(''));
const LETTERS = 'abcdefghijklmnopqrstuvwxyz';
const ID = `${LETTERS}${LETTERS.toUpperCase()}0123456789._-`;
const TOKEN = `!#$%&'*+.^_\`|~-${LETTERS}${LETTERS.toUpperCase()}0123456789`;
const VALUE = `${TOKEN} \t"(),/:;<=>?@[]{}\\`;

/** Texts of any length up to a bound, and often of that length. */
const long = (unit: fc.Arbitrary<string>, maxLength: number) =>
  fc.oneof(
    fc.string({ unit, maxLength: 20 }),
    fc.string({ unit, minLength: maxLength - 5, maxLength, size: 'max' }),
  );

const path = fc.oneof(
  anyText({ maxLength: 40 }),
  long(among(`${ID}/%:@&=+$,;~!'()*`), 1_990),
  fc.constantFrom('..', '%2e%2e/%00', '?', '??a#b', '//x', '%', '%zz', '[', 'a@b:c'),
);
const host = fc.constantFrom('127.0.0.1', '127.1', '0x7f000001', '2130706433', 'LOCALHOST');
const url = fc
  .record({ scheme: fc.constantFrom('http', 'HTTP'), host, path })
  .map((one) => `${one.scheme}://${one.host}:${port}/${one.path}`);

const names = fc.oneof(
  fc.string({ unit: among(TOKEN), minLength: 1, maxLength: 128, size: 'max' }),
  fc.constantFrom('cookie', 'Authorization', 'accept-encoding', 'range', 'constructor', 'toString'),
);
const webhook = fc.record(
  {
    url,
    headers: fc.dictionary(names, long(among(VALUE), 1_024), { maxKeys: 20 }),
    secret: fc.uint8Array({ minLength: 24, maxLength: 64 }).map(secretOf),
    events: fc.constantFrom(['*'], ['run.*', 'watch.*'], ['run.failed', 'watch.expired']),
  },
  { requiredKeys: ['url'] },
);

const lengths = fc.constantFrom('1s', '1000ms', '0.5d', '365d', '8760h', '1.5m');
const registration = fc.record(
  {
    id: fc.string({ unit: among(ID), maxLength: 100 }),
    webhook,
    metadata: fc.dictionary(anyText({ maxLength: 30 }), anyText({ maxLength: 60 }), {
      maxKeys: 32,
    }),
    timeout: lengths,
    max_delay: fc.constantFrom('1s', '1d', '24h', '1000ms'),
  },
  { requiredKeys: ['id', 'webhook'] },
);

function secretOf(bytes: Uint8Array): string {
  return `whsec_${Buffer.from(bytes).toString('base64')}`;
}

let runs = 0;

/** A run that fails soon. */
function failing(id = ''): string {
  runs += 1;
  const steps = [
    { after_ms: 0, status: 'running' },
    { after_ms: 300, status: 'failed' },
  ];
  return noxus.add({ id: `r${runs}-${id}`, steps }).id;
}

const isSent = (id: string) =>
  receiver.received.some(({ body }) => body.includes(`"run_id":${JSON.stringify(id)}`));

/** Whether a delivery about a run was given up. */
async function isDead(id: string): Promise<boolean> {
  const { body } = await daemon.api(`/v1/deliveries?state=dead&run_id=${encodeURIComponent(id)}`);
  return body.total > 0;
}

test('whatever a registration holds, it is taken or refused, and the ends of its run and of others are sent', async () => {
  const some = fc.array(registration, { minLength: 10, maxLength: 25 });
  await fc.assert(
    fc.asyncProperty(some, async (given) => {
      const watches = given.map(({ id, ...one }) => ({ run_id: failing(id), ...one }));
      const witness = failing();
      const [first, ...others] = watches;
      const single = await daemon.api('/v1/watches', first);
      const batch = await daemon.api('/v1/watches/batch', { watches: others });
      const plain = { run_id: witness, webhook: { url: receiver.url } };
      expect((await daemon.api('/v1/watches', plain)).status).toBe(201);
      const answers: { run_id: string; status: number }[] = [
        { run_id: first?.run_id ?? '', status: single.status },
        ...(batch.status === 200 ? batch.body.results : []),
      ];
      expect([200, 400, 422]).toContain(batch.status);
      const odd = answers.filter(({ status }) => ![200, 201, 400, 422].includes(status));
      expect(odd).toEqual([]);
      const taken = answers.filter(({ status }) => status === 201).map(({ run_id: id }) => id);
      for (const id of [witness, ...taken]) {
        await waitFor(async () => isSent(id) || (await isDead(id)));
      }
      expect(isSent(witness)).toBe(true);
    }),
    { numRuns: 8, endOnFailure: true },
  );
  const faults = daemon.log().filter(({ level }) => level === 'error');
  expect(faults.filter(({ msg }) => msg !== 'run.failed')).toEqual([]);
});
