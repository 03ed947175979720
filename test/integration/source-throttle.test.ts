import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { SourceAnswer, SourceChange } from '../../src/core/source/throttle.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import { reportingReader, type SourceReader } from '../../src/daemon/source-reader.ts';
import { SourceThrottle } from '../../src/poll/source-throttle.ts';
import { openStores } from '../support/stores.ts';

const policy = { unauthorizedProbeMs: 60_000, unreachableAfterMs: 120_000 };

const down = (run: number): SourceAnswer => ({
  kind: 'trouble',
  about: `run-${run}`,
  message: 'status 503',
});
const valid: SourceAnswer = { kind: 'valid' };
const refused: SourceAnswer = { kind: 'unauthorized', message: 'status 401' };

const stores = openStores();
let [turn, now] = [0, 0];

beforeEach(() => {
  turn += 1;
  now = Date.UTC(2026, 0, 1);
});

afterAll(() => stores.close());

/** The commands that were sent, by name. */
const commands: string[] = [];

const store: ConstructorParameters<typeof SourceThrottle>[0]['store'] = {
  read: (source) => (commands.push('read'), stores.sources.read(source)),
  put: (...change) => (commands.push('put'), stores.sources.put(...change)),
  answered: (...at) => (commands.push('answered'), stores.sources.answered(...at)),
};

/** What one process takes in of the source of this test. */
function throttle(
  raise: (change: SourceChange) => Promise<void> = async () => undefined,
  access = 'today',
) {
  const lines: string[] = [];
  const made = new SourceThrottle({
    source: `source-${turn}`,
    access,
    store,
    policy,
    active: () => 50,
    raise,
    log: {
      paused: () => void lines.push('paused'),
      authorized: () => void lines.push('authorized'),
    },
    onOpen: async () => void lines.push('open'),
    now: () => now,
  });
  const note = (answer: SourceAnswer, at: number, by = access) =>
    made.note(answer, { at, access: by });
  return {
    note,
    lines,
    saw: made.saw.bind(made),
    read: made.read.bind(made),
    resume: made.resume.bind(made),
    useAccess: made.useAccess.bind(made),
    freshen: made.freshen.bind(made),
    reader: (client: SourceReader) => reportingReader(client, made),
  };
}

const standing = () => stores.sources.read(`source-${turn}`);

describe('source throttles of several processes', () => {
  test('failing answers to all processes are one outage, raised once and ended by the first valid answer', async () => {
    const raised: string[] = [];
    const raise = async ({ type }: SourceChange) => void raised.push(type);
    const three = [throttle(raise), throttle(raise), throttle(raise)];
    const answers = Array.from({ length: 60 }, (_, run) => run);
    await Promise.all(answers.slice(0, 30).map((run) => three[run % 3]!.note(down(run), now)));
    now += 2_000;
    await Promise.all(answers.slice(30).map((run) => three[run % 3]!.note(down(run), now)));
    expect((await standing()).state?.closed).toMatchObject({ reason: 'unreachable' });
    now += 120_000;
    await Promise.all(three.map((one, at) => one.note(down(at), now)));
    expect(raised).toEqual(['source.unreachable']);
    now += 1_000;
    await Promise.all(three.map((one) => one.note(valid, now)));
    expect(raised).toEqual(['source.unreachable', 'source.recovered']);
    expect(await standing()).toMatchObject({ state: null, answeredAt: now, openSince: now });
    expect(three.flatMap(({ lines }) => lines)).toEqual(['open']);
  });

  test("the event of a dead process's change is raised by another process", async () => {
    const dying = throttle(async () => Promise.reject(new Error('killed')));
    await expect(dying.note(refused, now)).rejects.toThrow('killed');
    const raised: string[] = [];
    const other = throttle(async ({ type }) => void raised.push(type));
    now += 9_000;
    await other.note(refused, now);
    expect(raised).toEqual([]);
    now += 2_000;
    await other.note(refused, now);
    expect(raised).toEqual(['source.unauthorized']);
    await other.note(valid, now);
    expect(other.lines.sort()).toEqual(['authorized', 'open']);
    expect((await standing()).state).toBeNull();
  });

  test('a source without trouble costs one write of its last answer time', async () => {
    const one = throttle();
    await one.note(valid, now);
    const from = commands.length;
    for (let answer = 0; answer < 100; answer += 1) await one.note(valid, (now += 5));
    expect(commands.slice(from)).toEqual([]);
    await one.note(valid, (now += 500));
    expect(commands.slice(from)).toEqual(['answered']);
  });

  test('a refused key counts until a later request is answered', async () => {
    const one = throttle();
    const askedAt = now;
    await one.note({ kind: 'unauthorized', message: 'status 401' }, (now += 10));
    await one.note(valid, askedAt);
    expect((await standing()).state?.closed).toMatchObject({ reason: 'unauthorized' });
    expect(one.lines).toEqual([]);
    await one.note(valid, (now += 10));
    expect(one.lines.sort()).toEqual(['authorized', 'open']);
  });

  test('an answer to the key of before a reload says nothing of the source with its new key', async () => {
    // The reload comes while the refusal is written.
    const one = throttle(async () => one.useAccess('tomorrow'));
    const { note, freshen } = one;
    await note(refused, now);
    await freshen();
    expect((await standing()).state).toMatchObject({ closed: null });
    await note(refused, now, 'today');
    expect((await standing()).state).toMatchObject({ closed: null });
    await note(refused, now, 'tomorrow');
    await note(valid, now + 1, 'today');
    expect((await standing()).state?.closed).toMatchObject({ reason: 'unauthorized' });
  });

  test('an answer counts for the key with which its request was sent', async () => {
    const one = throttle();
    let answer: (result: PollResult) => void = () => undefined;
    const readRun = () => new Promise<PollResult>((resolve) => (answer = resolve));
    const read = one.reader({ readRun } as unknown as SourceReader).readRun('run-1');
    one.useAccess('tomorrow');
    answer({ kind: 'unauthorized', message: 'status 401' });
    await read;
    expect((await standing()).state).toBeNull();
  });

  test('a start with another key or URL forgets the pause and the failures of before, once', async () => {
    const raised: string[] = [];
    const before = throttle(async ({ type }) => void raised.push(type));
    await before.note(refused, now);
    const same = throttle();
    await same.freshen();
    expect((await standing()).state?.closed).toMatchObject({ reason: 'unauthorized' });
    const other = throttle(async ({ type }) => void raised.push(type), 'tomorrow');
    await other.freshen();
    expect((await standing()).state).toMatchObject({ closed: null, row: [] });
    expect(other.lines).toEqual(['open']);
    // Another process still has the old key.
    await before.note(refused, now);
    await other.freshen();
    expect((await standing()).state?.closed).toMatchObject({ reason: 'unauthorized' });
    expect(raised).toEqual(['source.unauthorized']);
  });

  test('a pause of a source can be ended by hand', async () => {
    const one = throttle();
    await one.note({ kind: 'rate_limited', retryAfterMs: 600_000, message: 'status 429' }, now);
    expect((await standing()).state?.closed?.probeAt).toBe(now + 600_000);
    await one.resume();
    expect((await standing()).state?.closed).toBeNull();
    expect(one.lines).toEqual(['paused', 'open']);
  });
});
