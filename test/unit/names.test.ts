import { describe, expect, jest, test } from '@jest/globals';
import type { LookupAddress } from 'node:dns';
import { Names } from '../../src/names.ts';

const GOOD: LookupAddress[] = [{ address: '192.0.2.1', family: 4 }];
const MOVED: LookupAddress[] = [{ address: '192.0.2.2', family: 4 }];

/** A resolver whose answers come when the test gives them. */
function rig({ silent = /^dead/ }: { silent?: RegExp } = {}) {
  let now = 0;
  const waiting = new Map<string, { give: (found: LookupAddress[]) => void; fail: () => void }>();
  let most = 0;
  const resolve = (host: string) =>
    new Promise<LookupAddress[]>((give, refuse) => {
      const end = (act: () => void) => () => {
        waiting.delete(host);
        act();
      };
      waiting.set(host, {
        give: (found) => end(() => give(found))(),
        fail: end(() => refuse(Object.assign(new Error(`no answer for ${host}`)))),
      });
      most = Math.max(most, waiting.size);
    });
  const probe = async (host: string) => !silent.test(host);
  const names = new Names(resolve, probe, () => now);
  return {
    names,
    waiting,
    /** The most lookups that held a thread at once. */
    most: () => most,
    pass: (ms: number) => (now += ms),
    async under(host: string) {
      while (!waiting.has(host)) await settled();
      return waiting.get(host)!;
    },
  };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('lookups of receivers', () => {
  test('sixty silent names hold one thread, and others are looked up beside them', async () => {
    const { names, under, most, waiting } = rig();
    const dead = Array.from({ length: 60 }, (_, at) => names.ofReceiver(`dead-${at}.example`));
    for (const one of dead) one.catch(() => undefined);
    await under('dead-0.example');
    for (let at = 0; at < 20; at += 1) {
      const found = names.ofReceiver(`hook-${at}.example`);
      (await under(`hook-${at}.example`)).give(GOOD);
      expect(await found).toEqual(GOOD);
    }
    expect([...waiting.keys()]).toEqual(['dead-0.example']);
    expect(most()).toBe(2);
  });

  test('requests to one host share one lookup', async () => {
    const { names, under } = rig();
    const both = [names.ofReceiver('hook.example'), names.ofReceiver('hook.example')];
    (await under('hook.example')).give(GOOD);
    expect(await Promise.all(both)).toEqual([GOOD, GOOD]);
  });

  test('a silent name fails at once for half a minute, and is then looked up again', async () => {
    const { names, under, pass, waiting } = rig();
    const first = names.ofReceiver('dead.example');
    const lookup = await under('dead.example');
    pass(10_000);
    lookup.fail();
    await expect(first).rejects.toThrow('no answer for dead.example');
    await expect(names.ofReceiver('dead.example')).rejects.toThrow('no answer for dead.example');
    expect(waiting.size).toBe(0);
    pass(30_000);
    const again = names.ofReceiver('dead.example');
    (await under('dead.example')).give(GOOD);
    expect(await again).toEqual(GOOD);
  });

  test('a name that its server does not know is looked up each time', async () => {
    const { names, under } = rig();
    for (const _ of [1, 2]) {
      const found = names.ofReceiver('unknown.example');
      (await under('unknown.example')).fail();
      await expect(found).rejects.toThrow('no answer for unknown.example');
    }
  });

  test('a name that waits for its turn behind silent ones is given up', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'performance'] });
    try {
      const { names, under } = rig();
      names.ofReceiver('dead-0.example').catch(() => undefined);
      await under('dead-0.example');
      const second = names.ofReceiver('dead-1.example');
      second.catch(() => undefined);
      await settled();
      jest.advanceTimersByTime(5_000);
      await expect(second).rejects.toMatchObject({ code: 'EAI_AGAIN' });
    } finally {
      jest.useRealTimers();
    }
  });
});

describe('lookups of sources and Redis', () => {
  test('they go on beside silent names of receivers', async () => {
    const { names, under } = rig();
    names.ofReceiver('dead.example').catch(() => undefined);
    names.ofReceiver('slow.example').catch(() => undefined);
    await under('slow.example');
    const found = names.ofOwn('noxus.example');
    (await under('noxus.example')).give(GOOD);
    expect(await found).toEqual(GOOD);
  });

  test('the last good address serves while the answer does not come, and the new one after it', async () => {
    const { names, under } = rig();
    const first = names.ofOwn('noxus.example');
    (await under('noxus.example')).give(GOOD);
    await first;
    expect(await names.ofOwn('noxus.example')).toEqual(GOOD);
    (await under('noxus.example')).give(MOVED);
    await settled();
    const third = names.ofOwn('noxus.example');
    (await under('noxus.example')).fail();
    expect(await third).toEqual(MOVED);
  });

  test('the last good address serves for five minutes at the most', async () => {
    const { names, under, pass } = rig();
    const first = names.ofOwn('noxus.example');
    (await under('noxus.example')).give(GOOD);
    await first;
    pass(300_000);
    const late = names.ofOwn('noxus.example');
    (await under('noxus.example')).fail();
    await expect(late).rejects.toThrow('no answer');
  });

  test('a refused connection ends the last good address', async () => {
    const { names, under } = rig();
    const first = names.ofOwn('noxus.example');
    (await under('noxus.example')).give(GOOD);
    await first;
    const { Duplex } = await import('node:stream');
    const socket = names.watched(new Duplex({ read: () => undefined }), 'noxus.example');
    socket.on('error', () => undefined);
    socket.destroy(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));
    await settled();
    const next = names.ofOwn('noxus.example');
    (await under('noxus.example')).give(MOVED);
    expect(await next).toEqual(MOVED);
  });
});
