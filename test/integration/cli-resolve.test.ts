import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { sampleDelivery, sampleWatch } from '../support/api-samples.ts';
import { runCli } from '../support/cli-harness.ts';
import { problem, startFakeDaemon, type FakeDaemon } from '../support/fake-daemon.ts';

const UUID = '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await startFakeDaemon();
  daemon.on(`GET /v1/watches/${UUID}`, { status: 200, body: sampleWatch({ run_id: UUID }) });
  daemon.on('GET /v1/events', { status: 200, body: { data: [], next_cursor: null } });
  daemon.on('GET /v1/deliveries', { status: 200, body: { data: [], next_cursor: null } });
});
afterEach(() => daemon.close());

const cli = (...args: string[]) => runCli(args, { env: { RUNWATCH_URL: daemon.url } });

const onTerminal = (stdin: string, ...args: string[]) =>
  runCli(args, { env: { RUNWATCH_URL: daemon.url }, terminalInput: 'typed', stdin });

function found(kind: string, ...ids: string[]) {
  const data = ids.map((id) => ({ kind, id }));
  return { status: 200, body: { data, more: false, tried: ['default'] } };
}

const paths = () => daemon.requests.map(({ method, path }) => `${method} ${path}`);

test('the beginning of an id that one run alone has names this run', async () => {
  daemon.on('GET /v1/lookup', found('run', UUID));
  const { stdout, stderr, exitCode } = await cli('show', '6f1c');
  expect({ exitCode, stderr: stderr.split('\n')[0] }).toEqual({
    exitCode: 0,
    stderr: `6f1c is run ${UUID}`,
  });
  expect(stdout).toContain(UUID);
  expect(Object.fromEntries(daemon.requests[0]!.query)).toEqual({
    q: '6f1c',
    limit: '10',
  });
});

test('a beginning that several runs have is an error that lists them', async () => {
  daemon.on('GET /v1/lookup', found('run', UUID, '6f1c0000-5b1e-4a55-9d3c-0c5f0a1b2c3d'));
  const { stderr, exitCode } = await cli('unwatch', '6f1c');
  expect(exitCode).toBe(2);
  expect(stderr).toContain(`several ids of runs begin or end with "6f1c"`);
  expect(stderr).toContain(`  - ${UUID}\n`);
  expect(paths()).toEqual(['GET /v1/lookup']);
});

test('a whole UUID needs no lookup, and its spelling is left to the daemon', async () => {
  await cli('show', UUID.toUpperCase());
  expect(paths()).toEqual([`GET /v1/watches/${UUID.toUpperCase()}`]);
});

test('watch of a UUID in another case is that of the run which has it, and asks nothing', async () => {
  daemon.on('GET /v1/lookup', found('run', UUID));
  const { stderr } = await onTerminal('', 'watch', UUID.toUpperCase());
  expect(stderr).not.toContain('Go on?');
  expect(daemon.requests.at(-1)?.body).toMatchObject({ watches: [{ run_id: UUID }] });
});

test('an id that equals one of those found is meant by itself', async () => {
  daemon.on('GET /v1/lookup', found('run', 'run-1', 'run-10'));
  daemon.on('DELETE /v1/watches/run-1', { status: 204 });
  expect(await cli('unwatch', 'run-1')).toMatchObject({
    exitCode: 0,
    stdout: 'no longer watched run-1\n',
  });
});

test('a daemon without lookup, or one that forbids it, takes the id as it was typed', async () => {
  daemon.on('DELETE /v1/watches/run-1', { status: 204 });
  expect(await cli('unwatch', 'run-1')).toMatchObject({ exitCode: 0 });
  daemon.on('GET /v1/lookup', problem(403, 'forbidden', 'no'));
  expect(await cli('unwatch', 'run-1')).toMatchObject({ exitCode: 0 });
});

test('deliveries takes the beginning of a delivery, and --event that of an event', async () => {
  daemon.on('GET /v1/lookup', ({ query }) =>
    query.get('kind') === 'event' ? found('event', 'evt_failed_x') : found('delivery', 'dlv_1'),
  );
  daemon.on('GET /v1/deliveries/dlv_1', {
    status: 200,
    body: { ...sampleDelivery(), attempts: [] },
  });
  expect(await cli('deliveries', 'dlv_')).toMatchObject({ exitCode: 0 });
  await cli('deliveries', '--event', 'evt_f');
  expect(daemon.requests.at(-2)?.query.get('event_id')).toBe('evt_failed_x');
});

test('redeliver takes the beginning of a delivery that one alone has', async () => {
  daemon.on('GET /v1/lookup', found('delivery', 'dlv_0f3a_failed'));
  daemon.on('POST /v1/deliveries/dlv_0f3a_failed/redeliver', {
    status: 202,
    body: { id: 'dlv_0f3a_failed', event_id: 'evt_1', state: 'pending' },
  });
  expect(await cli('redeliver', 'dlv_0f3a', 'dlv_0f3a_failed')).toEqual({
    exitCode: 0,
    stdout: 'dlv_0f3a_failed goes out again (evt_1)\n',
    stderr: 'dlv_0f3a is delivery dlv_0f3a_failed\n',
  });
});

test('redeliver of a beginning that several deliveries have sends nothing and lists them', async () => {
  daemon.on('GET /v1/lookup', found('delivery', 'dlv_0f3a', 'dlv_0f3b'));
  const { exitCode, stderr } = await cli('redeliver', 'dlv_0f');
  expect(exitCode).toBe(2);
  expect(stderr).toContain('several ids of deliveries begin with "dlv_0f": type more of it');
  expect(stderr).toContain('  - dlv_0f3a\n  - dlv_0f3b\n');
  expect(paths()).toEqual(['GET /v1/lookup']);
});

test('redeliver of what no delivery begins with says so', async () => {
  daemon.on('GET /v1/lookup', found('delivery'));
  expect(await cli('redeliver', 'dlv_zz')).toMatchObject({
    exitCode: 1,
    stderr: 'error: dlv_zz: there is no such delivery\n',
  });
});

test('unwatch --purge asks the daemon to erase what it knows', async () => {
  daemon.on(`DELETE /v1/watches/${UUID}`, { status: 204 });
  expect(await cli('unwatch', UUID, '--purge')).toMatchObject({ stdout: `purged ${UUID}\n` });
  expect(daemon.requests[0]?.query.get('purge')).toBe('true');
});

/** Each verb that changes something, with a beginning of 7 and one of 8 characters. */
const WRITING: [verb: string, short: string, long: string, id: string, done: string][] = [
  ['unwatch', '6f1c9a5', '6f1c9a52', UUID, `DELETE /v1/watches/${UUID}`],
  ['ack', '6f1c9a5', '6f1c9a52', UUID, `POST /v1/watches/${UUID}/acknowledge`],
  ['watch', '6f1c9a5', '6f1c9a52', UUID, 'POST /v1/watches/batch'],
  ['ack', 'alr_4n2', 'alr_4n2k', 'alr_4n2k9x', 'POST /v1/alerts/alr_4n2k9x/acknowledge'],
  ['silence expire', 'sil_0f2', 'sil_0f2a', 'sil_0f2a6b', 'DELETE /v1/silences/sil_0f2a6b'],
  ['redeliver', 'dlv_0f3', 'dlv_0f3a', 'dlv_0f3a6b', 'POST /v1/deliveries/dlv_0f3a6b/redeliver'],
];

/** Answers for the ids of {@link WRITING}. */
function answerWrites() {
  daemon.on('GET /v1/lookup', ({ query }) =>
    query.get('kind') === null ? found('run', UUID) : found('delivery', 'dlv_0f3a6b'),
  );
  const at = '2025-05-04T10:00:00.000Z';
  const silence = {
    id: 'sil_0f2a6b',
    matchers: {},
    starts_at: at,
    until: at,
    state: 'active',
    by: 'ana',
    comment: 'upgrade',
    key: null,
    created_at: at,
  };
  daemon.on('GET /v1/silences', { status: 200, body: { data: [silence], next_cursor: null } });
  daemon.on('GET /v1/alerts', {
    status: 200,
    body: { data: [{ id: 'alr_4n2k9x', state: 'firing' }], next_cursor: null },
  });
}

const writes = () => paths().filter((path) => !path.startsWith('GET '));

test.each(WRITING)(
  '%s refuses a beginning of seven characters, and names what it begins',
  async (verb, short, _long, id) => {
    answerWrites();
    const { exitCode, stderr } = await cli(...verb.split(' '), short);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(`"${short}" begins`);
    expect(stderr).toContain(id);
    expect(writes()).toEqual([]);
  },
);

test.each(WRITING)(
  '%s asks on a terminal before it takes a beginning for an id, and does nothing without a yes',
  async (verb, _short, long, id) => {
    answerWrites();
    const { exitCode, stderr } = await onTerminal('n\n', ...verb.split(' '), long);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(new RegExp(`^${long} is \\w+ ${id}\nGo on\\? \\[y/N\\] `));
    expect(stderr).toContain('nothing was changed');
    expect(writes()).toEqual([]);
  },
);

test.each(WRITING)(
  '%s goes on after a yes, with --yes, and off a terminal',
  async (verb, _short, long, _id, done) => {
    answerWrites();
    await onTerminal('y\n', ...verb.split(' '), long);
    await onTerminal('', ...verb.split(' '), long, '--yes');
    await cli(...verb.split(' '), long);
    expect(writes()).toEqual([done, done, done]);
  },
);

test('a verb that changes something takes the whole last part of an id, however short', async () => {
  daemon.on('GET /v1/lookup', found('run', 'acme/shop/123'));
  await cli('unwatch', '123', '--yes');
  expect(writes()).toEqual(['DELETE /v1/watches/acme%2Fshop%2F123']);
});

test('a verb that changes something does not ask for a whole id', async () => {
  daemon.on(`DELETE /v1/watches/${UUID}`, { status: 204 });
  const { exitCode, stderr } = await onTerminal('', 'unwatch', UUID);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
});
