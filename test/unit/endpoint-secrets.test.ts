import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { EndpointSecrets, LONGEST_OVERLAP_MS } from '../../src/deliver/secrets/endpoint-secrets.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import {
  createSigner,
  generateSecret,
  deriveEndpointSecret,
} from '../../src/deliver/secrets/sign.ts';
import { Webhook } from 'standardwebhooks';
import { NOON } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { endpointsOf } from '../support/endpoints.ts';

const HOOK = { type: 'webhook', url: 'https://example.com/' };
const KEY = randomBytes(32);
const INSTANCE = generateSecret();
/** What signs for the endpoint `ops` without a secret of its own. */
const DERIVED = deriveEndpointSecret(INSTANCE, 'ops');
const OWN = generateSecret();
const DAY = 86_400_000;

/** Behaves as the store in Redis, which has its own tests. */
function createMemoryStore() {
  const texts = new Map<string, string>();
  const calls = { all: 0 };
  return {
    texts,
    calls,
    get: async (name: string) => texts.get(name) ?? null,
    async all() {
      calls.all += 1;
      return new Map(texts);
    },
    async replace(name: string, before: string | null, after: string) {
      if ((texts.get(name) ?? null) !== before) return false;
      texts.set(name, after);
      return true;
    },
  };
}

interface Setting {
  store?: ReturnType<typeof createMemoryStore>;
  own?: string | undefined;
  key?: Buffer;
  signingSecret?: string;
}

/** An endpoint's secrets as one process sees them, with a clock that the test sets. */
function processWith({ store = createMemoryStore(), own, key = KEY, signingSecret }: Setting = {}) {
  const clock = { now: NOON };
  const secrets = new EndpointSecrets(
    testProcess({
      stores: { endpointSecrets: store },
      secrets: { sealer: createSealer([key]), signingSecret: signingSecret ?? INSTANCE },
      endpoints: endpointsOf({ ops: { ...HOOK, secret: own }, audit: { type: 'log' } }),
      now: () => clock.now,
    }),
  );
  return { store, clock, secrets, effective: () => secrets.effective('ops') };
}

async function rotated(secrets: ReturnType<typeof processWith>['secrets'], overlapMs: number) {
  const rotation = await secrets.rotate('ops', { overlapMs, now: false });
  if (rotation === null) throw new Error('there is no endpoint ops');
  return rotation;
}

describe('the secrets of an endpoint', () => {
  test('the secret of an endpoint before any rotation is its own, else one of its name', async () => {
    expect(await processWith({ own: OWN }).effective()).toEqual([OWN]);
    expect(await processWith().effective()).toEqual([DERIVED]);
  });

  test('the derived secret is shown, and one that was configured or rotated is not', async () => {
    const { secrets } = processWith();
    expect(await secrets.derived('ops')).toBe(DERIVED);
    expect(await secrets.derived('nobody')).toBeNull();
    await expect(secrets.derived('audit')).rejects.toMatchObject({ code: 'not_signed' });
    await rotated(secrets, DAY);
    await expect(secrets.derived('ops')).rejects.toMatchObject({ code: 'secret_not_derived' });
    const configured = processWith({ own: OWN }).secrets.derived('ops');
    await expect(configured).rejects.toMatchObject({ code: 'secret_not_derived' });
  });

  test('after a rotation an endpoint has the new secret, and the old one until it expires', async () => {
    const { clock, secrets, effective } = processWith({ own: OWN });
    const { secret, previousExpiresAt } = await rotated(secrets, DAY);
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(previousExpiresAt).toBe(NOON + DAY);
    expect(await effective()).toEqual([secret, OWN]);
    clock.now = NOON + DAY - 1;
    expect(await effective()).toEqual([secret, OWN]);
    clock.now = NOON + DAY;
    expect(await effective()).toEqual([secret]);
  });

  test('after a rotation without an overlap an endpoint has the new secret alone', async () => {
    const { secrets, effective } = processWith({ own: OWN });
    const { secret, previousExpiresAt } = await rotated(secrets, 0);
    expect(previousExpiresAt).toBeNull();
    expect(await effective()).toEqual([secret]);
  });

  test('a second rotation keeps every secret until its promised time', async () => {
    const { clock, secrets, effective } = processWith({ own: OWN });
    const first = await rotated(secrets, 3 * DAY);
    clock.now += DAY;
    const second = await rotated(secrets, DAY);
    expect(second.previousExpiresAt).toBe(NOON + 3 * DAY);
    expect(await effective()).toEqual([second.secret, first.secret, OWN]);
    clock.now = NOON + 2 * DAY;
    expect(await effective()).toEqual([second.secret, OWN]);
    clock.now = NOON + 3 * DAY;
    expect(await effective()).toEqual([second.secret]);
  });

  test('an endpoint has at most three secrets: a fourth rotation waits for the first to expire', async () => {
    const { clock, secrets, effective } = processWith({ own: OWN });
    const first = await rotated(secrets, 2 * DAY);
    const second = await rotated(secrets, DAY);
    const refused = secrets.rotate('ops', { overlapMs: DAY, now: false });
    const end = NOON + DAY;
    await expect(refused).rejects.toMatchObject({
      code: 'too_many_secrets',
      message: expect.stringContaining(new Date(end).toISOString()),
    });
    expect(await effective()).toEqual([second.secret, first.secret, OWN]);
    clock.now = end;
    const third = await rotated(secrets, DAY);
    expect(await effective()).toEqual([third.secret, second.secret, OWN]);
  });

  test('a rotation with now: true leaves the new secret alone', async () => {
    const { secrets, effective } = processWith({ own: OWN });
    await rotated(secrets, DAY);
    await rotated(secrets, DAY);
    const only = await secrets.rotate('ops', { overlapMs: DAY, now: true });
    expect(only?.previousExpiresAt).toBeNull();
    expect(await effective()).toEqual([only?.secret]);
  });

  test('an endpoint always has the newest secret and the promised ones, never more than three', async () => {
    const step = fc.record({ waitMs: fc.nat(3 * DAY), overlapMs: fc.nat(LONGEST_OVERLAP_MS) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 8 }), fc.nat(14 * DAY), async (steps, later) => {
        const { clock, secrets, effective } = processWith({ own: OWN });
        const promised: { secret: string; until: number }[] = [];
        let current = OWN;
        const alive = () => promised.filter(({ until }) => clock.now < until);
        for (const { waitMs, overlapMs } of steps) {
          clock.now += waitMs;
          const isFull = alive().length + (overlapMs === 0 ? 0 : 1) > 2;
          const made = await rotated(secrets, overlapMs).catch(() => null);
          expect(made === null).toBe(isFull);
          if (made === null) continue;
          promised.unshift({ secret: current, until: clock.now + overlapMs });
          current = made.secret;
        }
        clock.now += later;
        expect(await effective()).toEqual([current, ...alive().map(({ secret }) => secret)]);
      }),
      { numRuns: 50 },
    );
  });

  test('a changed configuration replaces what a rotation gave, and keeps what it promised', async () => {
    const { store, secrets } = processWith({ own: OWN });
    const { secret } = await rotated(secrets, DAY);
    const other = generateSecret();
    const after = processWith({ store, own: other });
    expect(await after.effective()).toEqual([other, OWN]);
    after.clock.now += DAY;
    expect(await after.effective()).toEqual([other]);
    // The rotation gave an endpoint without its own secret one of its own.
    expect(await processWith({ store, own: undefined }).effective()).toEqual([DERIVED, OWN]);
    expect(await processWith({ store, own: OWN }).effective()).toEqual([secret, OWN]);
  });

  test('rotated secrets remain when the new one is written into the configuration', async () => {
    const { store, secrets } = processWith({ own: OWN });
    const { secret } = await rotated(secrets, DAY);
    const after = processWith({ store, own: secret });
    expect(await after.effective()).toEqual([secret, OWN]);
    after.clock.now += DAY;
    expect(await after.effective()).toEqual([secret]);
  });

  test("rotated secrets do not depend on the instance's secret", async () => {
    const { store, secrets } = processWith();
    const { secret } = await rotated(secrets, DAY);
    const elsewhere = processWith({ store, signingSecret: generateSecret() });
    expect(await elsewhere.effective()).toEqual([secret, DERIVED]);
  });
});

describe('a rotation made by another process', () => {
  test("another process's rotation shows within two seconds, without a round trip per delivery", async () => {
    const store = createMemoryStore();
    const [one, other] = [processWith({ store, own: OWN }), processWith({ store, own: OWN })];
    for (let delivery = 0; delivery < 100; delivery += 1) await other.effective();
    expect(store.calls.all).toBe(1);
    const { secret } = await rotated(one.secrets, DAY);
    expect(await one.effective()).toEqual([secret, OWN]);
    other.clock.now += 1_999;
    expect(await other.effective()).toEqual([OWN]);
    other.clock.now += 1;
    expect(await Promise.all([other.effective(), other.effective()])).toEqual([
      [secret, OWN],
      [secret, OWN],
    ]);
    expect(store.calls.all).toBe(3);
  });

  test('two rotations at the same moment build upon one another', async () => {
    const store = createMemoryStore();
    const [one, other] = [processWith({ store, own: OWN }), processWith({ store, own: OWN })];
    const made = await Promise.all([rotated(one.secrets, DAY), rotated(other.secrets, DAY)]);
    const left = await processWith({ store, own: OWN }).effective();
    expect([...left].sort()).toEqual([OWN, ...made.map(({ secret }) => secret)].sort());
  });

  test('a process reads the rotated secrets again after the store was unreadable', async () => {
    const store = createMemoryStore();
    const { effective } = processWith({ store, own: OWN });
    const { all } = store;
    store.all = () => Promise.reject(new Error('away'));
    await expect(effective()).rejects.toThrow('away');
    store.all = all;
    expect(await effective()).toEqual([OWN]);
  });
});

describe('a rotation', () => {
  test('a rotation leaves no readable secret in the store', async () => {
    const { store, secrets } = processWith({ own: OWN });
    const { secret } = await rotated(secrets, DAY);
    const kept = store.texts.get('ops') ?? '';
    expect(kept).toMatch(/^v1\./);
    for (const part of [secret, OWN]) expect(kept).not.toContain(part.slice(6, 20));
  });

  test('a rotation of one endpoint cannot be decrypted for another', async () => {
    const { store, secrets } = processWith();
    await rotated(secrets, DAY);
    store.texts.set('ops2', store.texts.get('ops') ?? '');
    const moved = new EndpointSecrets(
      testProcess({
        stores: { endpointSecrets: store },
        secrets: { sealer: createSealer([KEY]), signingSecret: INSTANCE },
        endpoints: endpointsOf({ ops2: HOOK }),
        now: () => NOON,
      }),
    );
    await expect(moved.effective('ops2')).rejects.toMatchObject({ code: 'sealed_value_corrupt' });
  });

  test.each([
    ['a kind that signs', { name: 'audit' }, 'not_signed'],
    ['seven days at the most', { overlapMs: LONGEST_OVERLAP_MS + 1 }, 'invalid_overlap'],
    ['an overlap that is a time', { overlapMs: -1 }, 'invalid_overlap'],
    ['an overlap that is a number', { overlapMs: Number.NaN }, 'invalid_overlap'],
  ])('a rotation needs %s', async (_what, given, code) => {
    const { name, overlapMs } = { name: 'ops', overlapMs: DAY, ...given };
    const { secrets, store } = processWith();
    await expect(secrets.rotate(name, { overlapMs, now: false })).rejects.toMatchObject({ code });
    expect(store.texts.size).toBe(0);
  });

  test.each(['nobody', 'constructor'])(
    'a rotation of %s, which is no endpoint, returns null',
    async (name) => {
      expect(await processWith().secrets.rotate(name, { overlapMs: DAY, now: false })).toBeNull();
    },
  );

  test('a rotation works when the key of the last one is lost', async () => {
    const { store, secrets } = processWith({ own: OWN });
    await rotated(secrets, DAY);
    const after = processWith({ store, own: OWN, key: randomBytes(32) });
    await expect(after.effective()).rejects.toMatchObject({ code: 'sealed_by_unknown_key' });
    const { secret, previousExpiresAt } = await rotated(after.secrets, DAY);
    expect(previousExpiresAt).toBeNull();
    expect(await after.effective()).toEqual([secret]);
  });
});

describe('signatures during a rotation', () => {
  const bodies = fc.oneof(
    fc.json(),
    fc.constant(JSON.stringify({ text: '🚀 \u2028 \\ " \u0000' })),
    fc.constant(JSON.stringify({ text: 'é'.repeat(10_240) })),
  );

  test('signatures during a rotation verify with the old and the new secret, later with the new one only', async () => {
    const { clock, secrets, effective } = processWith({ own: OWN });
    clock.now = Date.now();
    const { secret } = await rotated(secrets, DAY);
    const during = createSigner(await effective());
    clock.now += DAY;
    const after = createSigner(await effective());
    fc.assert(
      fc.property(bodies, (body) => {
        const message = { eventId: 'evt_1', eventType: 'run.failed', body } as const;
        const verifies = (by: string, sign: typeof during) => () =>
          new Webhook(by).verify(body, sign(message, Date.now()));
        expect(verifies(secret, during)()).toEqual(JSON.parse(body));
        expect(verifies(OWN, during)()).toEqual(JSON.parse(body));
        expect(verifies(secret, after)()).toEqual(JSON.parse(body));
        expect(verifies(OWN, after)).toThrow('No matching signature found');
      }),
    );
  });
});
