import { describe, expect, test } from '@jest/globals';
import type { TokenConfig } from '../../src/config/schema.ts';
import { placeOf, SESSION_S, Sessions } from '../../src/http/session.ts';
import { createTokens } from '../../src/http/tokens.ts';
import type { EndedSessionStore } from '../../src/redis/stores/session-store.ts';
import { NOON } from '../support/builders.ts';
import { testDaemon } from '../support/daemon.ts';

const HOUR = 3_600_000;

const token = (name: string): TokenConfig => ({
  name,
  token: `${name}-0123456789abcdef`,
  scopes: ['read'],
  sources: ['*'],
});

/** A store that remembers, or does what a test wants. */
function endedSessions(has?: () => Promise<boolean>): Pick<EndedSessionStore, 'add' | 'has'> {
  const ended = new Set<string>();
  return {
    add: async ({ owner, id }) => void ended.add(owner + id),
    has: has ?? (async ({ owner, id }) => ended.has(owner + id)),
  };
}

function rig({ ended = endedSessions(), isStoreReady = true, tokens = ['ops', 'wall'] } = {}) {
  const state = { now: NOON, isStoreReady };
  const inForce = createTokens(tokens.map(token));
  const daemon = testDaemon({
    tokens: inForce,
    stores: { endedSessions: ended },
    connections: {
      state: () => (state.isStoreReady ? { kind: 'ok' } : { kind: 'away', reason: 'it is down' }),
    },
  });
  const sessions = new Sessions(daemon, () => state.now);
  const signIn = (place = { port: '8787', path: '/', isEncrypted: false }) => {
    const { cookie, value } = sessions.issue(token('wall'), place);
    return { header: cookie, cookie: cookie.split(';')[0] ?? '', value };
  };
  const find = (cookie: string, value?: string) =>
    sessions.find({
      headers: { cookie, ...(value !== undefined && { 'x-runwatch-csrf': value }) },
    });
  return { sessions, state, inForce, signIn, find };
}

function present<Value>(value: Value | null): Value {
  if (value === null) throw new Error('nothing is there');
  return value;
}

describe('sessions of the dashboard', () => {
  test('a cookie is proved by the value of its own sign-in, and by nothing else', () => {
    const { signIn, find } = rig();
    const [one, other] = [signIn(), signIn()];
    expect(find(one.cookie, one.value)).toMatchObject({ isProved: true, token: { name: 'wall' } });
    expect(find(one.cookie)).toMatchObject({ isProved: false });
    expect(find(one.cookie, other.value)).toMatchObject({ isProved: false });
    expect(find('', one.value)).toBeNull();
    expect(`${one.header}${one.value}`).not.toContain(token('wall').token);
  });

  test('a session holds for 12 hours from its last use, and its value stays the same', () => {
    const { sessions, state, signIn, find } = rig();
    const { cookie, value } = signIn();
    state.now += SESSION_S * 1_000;
    const inUse = present(find(cookie, value));
    const renewed = present(sessions.renewal(inUse)).split(';')[0] ?? '';
    state.now += HOUR;
    expect(find(cookie, value)).toBeNull();
    expect(find(renewed, value)).toMatchObject({ isProved: true, id: inUse.id });
    state.now += 12 * HOUR;
    expect(find(renewed, value)).toBeNull();
  });

  test('a cookie is renewed a minute after it was set at the earliest', () => {
    const { sessions, state, signIn, find } = rig();
    const { cookie, value } = signIn();
    state.now += 59_000;
    expect(sessions.renewal(present(find(cookie, value)))).toBeNull();
    state.now += 1_000;
    expect(sessions.renewal(present(find(cookie, value)))).toMatch(/; Max-Age=43200; HttpOnly;/);
  });

  test('names of cookies carry port and path, which renewals keep', () => {
    const { sessions, state, signIn, find } = rig();
    const place = { port: '443', path: '/tools/run_watch/', isEncrypted: true };
    const { header, cookie, value } = signIn(place);
    expect(header).toMatch(
      /^runwatch_session_443_tools%2Frun_watch=[^;]+; Path=\/tools\/run_watch\/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure$/,
    );
    state.now += HOUR;
    const renewed = present(sessions.renewal(present(find(cookie, value))));
    expect(renewed.replace(/=[^;]+/, '')).toBe(header.replace(/=[^;]+/, ''));
    const moved = cookie.replace('_443_tools%2Frun_watch', '_8787');
    expect(find(moved, value)).toBeNull();
  });

  test('of the cookies of several daemons on one host, the one that the value proves counts', () => {
    const { signIn, find } = rig();
    const stranger = rig({ tokens: ['wall'] });
    const [here, there] = [signIn(), signIn({ port: '9999', path: '/', isEncrypted: false })];
    const foreign = stranger.signIn({ port: '7777', path: '/', isEncrypted: false });
    const all = [foreign.cookie, there.cookie, 'runwatch_session_1=junk', here.cookie].join('; ');
    expect(find(all, here.value)).toMatchObject({ isProved: true, place: { port: '8787' } });
  });

  test('a session that was signed out is over in every process, also in its own while the store is away', async () => {
    const ended = endedSessions();
    const [one, other] = [rig({ ended }), rig({ ended })];
    const { cookie, value } = one.signIn();
    const session = present(one.find(cookie, value));
    expect(await other.sessions.isEnded(session)).toBe(false);
    await one.sessions.end(session);
    expect(await other.sessions.isEnded(session)).toBe(true);
    one.state.isStoreReady = false;
    expect(await one.sessions.isEnded(session)).toBe(true);
  });

  test.each([
    ['is away', { isStoreReady: false }],
    ['fails', { ended: endedSessions(() => Promise.reject(new Error('no connection'))) }],
    ['does not answer', { ended: endedSessions(() => new Promise(() => undefined)) }],
  ])('a session holds by its signature while the store %s', async (_, options) => {
    const { sessions, signIn, find } = rig(options);
    const { cookie, value } = signIn();
    expect(await sessions.isEnded(present(find(cookie, value)))).toBe(false);
  });

  test('a session ends with its token', () => {
    const { inForce, signIn, find } = rig();
    const { cookie, value } = signIn();
    inForce.replace([token('ops')]);
    expect(find(cookie, value)).toBeNull();
  });

  test('a cookie that was changed anywhere is no session', () => {
    const { signIn, find } = rig();
    const { cookie, value } = signIn();
    const start = cookie.indexOf('=') + 1;
    for (let at = start; at < cookie.length; at += 1) {
      const other = cookie[at] === 'A' ? 'B' : 'A';
      const changed = `${cookie.slice(0, at)}${other}${cookie.slice(at + 1)}`;
      // The last letter of base64 has bits that mean nothing, and texts are compared.
      expect(find(changed, value)).toBeNull();
    }
  });

  test.each([
    [{ origin: 'http://127.0.0.1:8787', host: 'x' }, '8787', false],
    [{ origin: 'https://ops.example', host: 'backend:1' }, '443', true],
    [{ origin: 'null', host: 'localhost:8787' }, '8787', false],
    [{ host: 'localhost' }, '80', false],
    [{}, '80', false],
  ])('the place of a page with the headers %j has the port %s', (headers, port, isEncrypted) => {
    expect(placeOf({ headers }, '/')).toEqual({ port, path: '/', isEncrypted });
  });
});
