import { randomBytes } from 'node:crypto';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { watchId, type Subscription } from '../../src/core/watch/watch.ts';
import { EndpointSecrets } from '../../src/deliver/secrets/endpoint-secrets.ts';
import { SealedSecrets } from '../../src/deliver/secrets/sealed-secrets.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import { generateSecret } from '../../src/deliver/secrets/sign.ts';
import { forgetUnusedKeys, refuseLostKeys } from '../../src/deliver/secrets/own-secrets.ts';
import { SealingKeyStore, SecretStore } from '../../src/redis/stores/secret-store.ts';
import { testProcess } from '../support/daemon.ts';
import { endpointsOf } from '../support/endpoints.ts';
import { newWatch, NOON, webhookTo } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const { redis, keys, watches, batches, keysLeft, close } = openStores();
const secrets = new SecretStore(redis, keys);
const [oldKey, newKey] = [randomBytes(32), randomBytes(32)];
const before = createSealer([oldKey]);
const sealer = createSealer([newKey, oldKey]);
const sealingKeys = new SealingKeyStore(redis, keys);
const after = createSealer([newKey]);

afterAll(close);

beforeEach(async () => {
  const left = await keysLeft();
  if (left.length > 0) await redis.del(...left);
});

describe('the store of secrets', () => {
  test('the secret store replaces a value only if it is the one that was read', async () => {
    expect(await secrets.get('ops')).toBeNull();
    expect(await secrets.replace('ops', null, 'a')).toBe(true);
    expect(await secrets.replace('ops', null, 'b')).toBe(false);
    expect(await secrets.replace('ops', 'x', 'b')).toBe(false);
    expect(await secrets.replace('ops', 'a', 'b')).toBe(true);
    expect(await secrets.replace('chat', null, 'c')).toBe(true);
    expect(await secrets.all()).toEqual(
      new Map([
        ['ops', 'b'],
        ['chat', 'c'],
      ]),
    );
  });

  test('concurrent rotations of a secret build upon one another', async () => {
    const made = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const process = endpointSecrets(before);
        const rotation = await process.rotate('ops', { overlapMs: 0, now: false });
        return rotation?.secret;
      }),
    );
    const [current, ...others] = await endpointSecrets(before).effective('ops');
    expect(made).toContain(current);
    expect(others).toEqual([]);
    const { secret } = (await endpointSecrets(before).rotate('ops', { overlapMs: 1, now: false }))!;
    expect(await endpointSecrets(before).effective('ops')).toEqual([secret, current]);
  });
});

function endpointSecrets(sealedBy: typeof before) {
  const hook = { type: 'webhook', url: 'https://example.com/' };
  return new EndpointSecrets(
    testProcess({
      stores: { endpointSecrets: secrets },
      secrets: { sealer: sealedBy, signingSecret: generateSecret() },
      endpoints: endpointsOf({ ops: hook, chat: hook }),
      now: () => NOON,
    }),
  );
}

/** A watch with a webhook, its secret sealed by the old key. */
async function watchWithSecret(runId: string, state: 'active' | 'finished' = 'active') {
  const key = { source: 'default', runId };
  const subscriptions: Subscription[] = [
    { kind: 'endpoint', endpoint: 'ops' },
    webhookTo('https://a.example/', undefined, before.seal({ secret: `s-${runId}` }, watchId(key))),
  ];
  const watch = newWatch({ ...key, state, subscriptions });
  await watches.commit({ before: null, after: watch, events: [], deliveries: [] });
  return watch;
}

async function sealedOf(runId: string): Promise<string> {
  const stored = await watches.get({ source: 'default', runId });
  const hook = stored?.watch.subscriptions[1];
  if (hook?.kind !== 'webhook' || hook.sealed === undefined) throw new Error('nothing is sealed');
  return hook.sealed;
}

describe('encrypting anew', () => {
  test('reencrypt seals every secret with the first key, and changes nothing the next time', async () => {
    const runs = Array.from({ length: 450 }, (_, at) => `run-${at}`);
    for (const run of runs) await watchWithSecret(run, run.endsWith('7') ? 'finished' : 'active');
    const rotation = await endpointSecrets(before).rotate('ops', { overlapMs: 0, now: false });
    const sealed = new SealedSecrets(watches, secrets, batches);
    const first = await sealed.reencrypt(sealer);
    expect(first).toEqual({ examined: 451, reencrypted: 451, unreadable: [], discarded: 0 });
    for (const run of runs) {
      expect(after.open(await sealedOf(run), `default/${run}`)).toEqual({ secret: `s-${run}` });
    }
    expect(await endpointSecrets(after).effective('ops')).toEqual([rotation?.secret]);
    expect(await sealed.reencrypt(sealer)).toEqual({
      examined: 451,
      reencrypted: 0,
      unreadable: [],
      discarded: 0,
    });
  });

  test('reencrypt covers former webhooks of a watch', async () => {
    const key = { source: 'default', runId: 'run-1' };
    const sealed = before.seal({ url: 'https://a.example/' }, watchId(key));
    const watch = newWatch({
      ...key,
      formerWebhooks: [webhookTo('https://a.example/', [], sealed)],
    });
    await watches.commit({ before: null, after: watch, events: [], deliveries: [] });
    const former = async () => (await watches.get(key))?.watch.formerWebhooks ?? [];
    const report = await new SealedSecrets(watches, secrets, batches).reencrypt(sealer);
    expect(report).toMatchObject({ examined: 1, reencrypted: 1 });
    expect(after.isCurrent((await former())[0]?.sealed ?? '')).toBe(true);
    await new SealedSecrets(watches, secrets, batches).reencrypt(
      createSealer([randomBytes(32)]),
      true,
    );
    expect(await former()).toEqual([]);
  });

  test('reencrypt continues after an interruption', async () => {
    for (const run of ['run-1', 'run-2', 'run-3']) await watchWithSecret(run);
    let writes = 0;
    const interrupted = {
      list: watches.list.bind(watches),
      getMany: watches.getMany.bind(watches),
      async commitMany(changes: Parameters<typeof watches.commitMany>[0]) {
        const done = await watches.commitMany(changes.slice(0, 1));
        writes += done.length;
        throw new Error('killed');
      },
    };
    await expect(
      new SealedSecrets(interrupted, secrets, batches).reencrypt(sealer),
    ).rejects.toThrow('killed');
    expect(writes).toBe(1);
    expect(await new SealedSecrets(watches, secrets, batches).reencrypt(sealer)).toMatchObject({
      examined: 3,
      reencrypted: 2,
    });
  });

  test('reencrypt does not overwrite concurrent changes', async () => {
    await watchWithSecret('run-1');
    await endpointSecrets(before).rotate('ops', { overlapMs: 0, now: false });
    let races = 0;
    const contended = {
      list: watches.list.bind(watches),
      getMany: watches.getMany.bind(watches),
      async commitMany(changes: Parameters<typeof watches.commitMany>[0]) {
        races += 1;
        if (races === 1) await poll('run-1');
        return watches.commitMany(changes);
      },
    };
    let rotated: string | undefined;
    const rotating = {
      all: () => secrets.all(),
      get: (name: string) => secrets.get(name),
      async replace(name: string, read: string | null, text: string) {
        rotated ??= (
          await endpointSecrets(createSealer([oldKey])).rotate('ops', { overlapMs: 0, now: false })
        )?.secret;
        return secrets.replace(name, read, text);
      },
      remove: (name: string, read: string) => secrets.remove(name, read),
    };
    const report = await new SealedSecrets(contended, rotating, batches).reencrypt(sealer);
    expect(report).toEqual({ examined: 2, reencrypted: 2, unreadable: [], discarded: 0 });
    expect(races).toBe(2);
    expect((await watches.get({ source: 'default', runId: 'run-1' }))?.watch.polls).toBe(1);
    expect(after.isCurrent(await sealedOf('run-1'))).toBe(true);
    expect(await endpointSecrets(after).effective('ops')).toEqual([rotated]);
  });

  test('reencrypt names values that no key opens, keeps them, and continues', async () => {
    await watchWithSecret('run-1');
    await endpointSecrets(createSealer([randomBytes(32)])).rotate('ops', {
      overlapMs: 0,
      now: false,
    });
    const [lost, kept] = [await secrets.get('ops'), await sealedOf('run-1')];
    expect(await new SealedSecrets(watches, secrets, batches).reencrypt(after)).toEqual({
      examined: 2,
      reencrypted: 0,
      unreadable: ['default/run-1', 'ops'],
      discarded: 0,
    });
    expect([await secrets.get('ops'), await sealedOf('run-1')]).toEqual([lost, kept]);
  });

  test('reencrypt with discard deletes only values that no key opens', async () => {
    await watchWithSecret('run-1');
    await endpointSecrets(after).rotate('ops', { overlapMs: 0, now: false });
    await endpointSecrets(before).rotate('chat', { overlapMs: 0, now: false });
    const kept = await secrets.get('ops');
    const key = { source: 'default', runId: 'run-1' };
    expect(await new SealedSecrets(watches, secrets, batches).reencrypt(after, true)).toEqual({
      examined: 3,
      reencrypted: 0,
      unreadable: ['default/run-1', 'chat'],
      discarded: 2,
    });
    expect((await watches.get(key))?.watch.subscriptions).toEqual([
      { kind: 'endpoint', endpoint: 'ops' },
    ]);
    expect([await secrets.get('ops'), await secrets.get('chat')]).toEqual([kept, null]);
  });
});

describe('a key that is lost', () => {
  const sealed = () => new SealedSecrets(watches, secrets, batches);
  const missing = (keyIds: string[]) => refuseLostKeys(sealingKeys, sealed(), keyIds);

  test('a lost key that seals no value is forgotten', async () => {
    await sealingKeys.add('0badc0de');
    await missing([]);
    expect(await sealingKeys.all()).toEqual([]);
  });

  test('a lost key that seals a value of a watch or endpoint refuses the start, by its id', async () => {
    await sealingKeys.add(before.keyId);
    await watchWithSecret('run-1');
    await endpointSecrets(before).rotate('ops', { overlapMs: 0, now: false });
    await missing([before.keyId]);
    await expect(missing([after.keyId])).rejects.toMatchObject({
      code: 'encryption_key_lost',
      message: expect.stringContaining(
        `2 secrets in Redis are encrypted by the key ${before.keyId}, which is not here`,
      ),
    });
    expect(await sealingKeys.all()).toEqual([before.keyId]);
    await sealed().reencrypt(after, true);
    await forgetUnusedKeys(sealingKeys, sealed());
    await missing([after.keyId]);
  });
});

/** What a poll of another process does to a watch. */
async function poll(runId: string): Promise<void> {
  const stored = await watches.get({ source: 'default', runId });
  if (stored === null) throw new Error('there is no such watch');
  const polled = { ...stored.watch, polls: stored.watch.polls + 1 };
  await watches.commit({ before: stored, after: polled, events: [], deliveries: [] });
}
