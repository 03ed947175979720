import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { configSchema } from '../../src/config/schema.ts';
import { RunwatchError } from '../../src/core/errors.ts';
import type { SourceAnswer } from '../../src/core/source/throttle.ts';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import type { SourcePort } from '../../src/core/source/port.ts';
import type { SystemEvent } from '../../src/process.ts';
import type { BudgetStore, SourceStore } from '../../src/redis/stores/source-store.ts';
import { tokensOf } from '../../src/redis/leases.ts';
import { SourceLimiter } from '../../src/source/limiter.ts';
import { SourceReader } from '../../src/source/reader.ts';
import { SourceThrottle } from '../../src/source/throttle.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { closeSource, openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const config = configSchema.parse({
  data_dir: '/nowhere',
  polling: { unauthorized_probe: '60s', unreachable_after: '120s' },
});

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

const sources: Pick<SourceStore, 'read' | 'put' | 'answered'> = {
  read: (source) => (commands.push('read'), stores.sources.read(source)),
  put: (...change) => (commands.push('put'), stores.sources.put(...change)),
  answered: (...at) => (commands.push('answered'), stores.sources.answered(...at)),
};

/** What one process takes in of the source of this test. */
function throttle(
  raise: (event: SystemEvent) => Promise<void> = async () => undefined,
  access = 'today',
) {
  const lines: string[] = [];
  const log = pino(
    { base: null },
    {
      write(line: string) {
        const { msg } = JSON.parse(line) as { msg: string };
        lines.push(msg.replace('source.', ''));
      },
    },
  );
  const source = testSource({
    process: testProcess({ config, stores: { sources }, log, now: () => now, raise }),
    name: `source-${turn}`,
    limiter: { active: () => 50 },
    opened: async () => void lines.push('open'),
    refreshHeaders: () => undefined,
  });
  const made = new SourceThrottle(source, access);
  Object.assign(source, { throttle: made });
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
    reader: (port: SourcePort) => new SourceReader(source, port),
  };
}

const standing = () => stores.sources.read(`source-${turn}`);

describe('source throttles of several processes', () => {
  test('failing answers to all processes are one outage, raised once and ended by the first valid answer', async () => {
    const raised: string[] = [];
    const raise = async ({ type }: SystemEvent) => void raised.push(type);
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

  test('the time of an answer is noted again at once where the clock was set back', async () => {
    const one = throttle();
    await one.note(valid, now);
    await one.note(valid, (now -= 3_600_000));
    expect(await standing()).toMatchObject({ answeredAt: now });
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
    const read = one.reader({ readRun } as unknown as SourcePort).readRun('run-1');
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

describe('a probe that nothing has claimed', () => {
  const { redis, keys } = stores;
  let names = 0;

  /** A source that one process probes. @param answer gives that of each probe */
  function probed(answer: NonNullable<SourcePort['probe']>) {
    const clock = { backMs: 0, monotonic: 0 };
    const lines: string[] = [];
    const name = `probed-${(names += 1)}`;
    const budgets: Pick<BudgetStore, 'admit' | 'giveBack'> = {
      admit: (...request) => stores.budgets.admit(...request),
      giveBack: (...request) => stores.budgets.giveBack(...request),
    };
    const process = testProcess({
      config,
      stores: { sources: stores.sources, budgets },
      log: pino({}, { write: (line: string) => void lines.push(line) }),
      now: () => Date.now() - clock.backMs,
      monotonic: () => clock.monotonic,
      newToken: tokensOf(name),
    });
    const source = testSource({ process, name, deadlineMs: 600_000 });
    const limiter = new SourceLimiter(process, name, { requests: 5, perMs: 1_000 });
    const judge = new SourceThrottle(source, 'today');
    Object.assign(source, { limiter, throttle: judge });
    let asked = 0;
    const probe = () => ((asked += 1), answer());
    const reader = new SourceReader(source, { probe } as SourcePort);
    const { probe: lease } = keys.sourceAdmission(name);
    return {
      name,
      clock,
      lines,
      budgets,
      judge,
      limiter,
      reader,
      asked: () => asked,
      isHeld: async () => (await redis.exists(lease)) === 1,
    };
  }

  test('a probe is sent again after five seconds also where the clock was set back meanwhile', async () => {
    const { reader, clock, asked } = probed(async () => ({ kind: 'answered' }));
    reader.probeSoon();
    await waitFor(() => asked() === 1);
    clock.backMs = 7_200_000;
    clock.monotonic = 4_999;
    reader.probeSoon();
    clock.monotonic = 5_000;
    reader.probeSoon();
    await waitFor(() => asked() === 2);
  });

  test.each(['aborted', 'host_exhausted'])(
    'a probe without an answer (%s) holds up no other one',
    async (code) => {
      const wasHeld: boolean[] = [];
      const { name, reader, isHeld } = probed(async () => {
        wasHeld.push(await isHeld());
        throw new RunwatchError('no answer', { code });
      });
      await closeSource(stores.sources, name, Date.now());
      reader.probeSoon();
      await waitFor(async () => wasHeld.length > 0 && !(await isHeld()));
      expect(wasHeld).toEqual([true]);
    },
  );

  test('a probe that is given up as the process stops is no fault', async () => {
    const { name, lines, reader, asked, isHeld } = probed(async () => {
      throw new RunwatchError('the read was given up', { code: 'aborted' });
    });
    await closeSource(stores.sources, name, Date.now());
    reader.probeSoon();
    await waitFor(async () => asked() === 1 && !(await isHeld()));
    expect(lines).toEqual([]);
  });

  test('a permit that comes too late for a probe holds up no other one', async () => {
    const { name, limiter, clock, budgets, isHeld } = probed(async () => ({ kind: 'answered' }));
    await closeSource(stores.sources, name, Date.now());
    const wasHeld: boolean[] = [];
    budgets.admit = async (...request) => {
      const count = await stores.budgets.admit(...request);
      wasHeld.push(await isHeld());
      clock.monotonic += 60_000;
      return count;
    };
    expect(await limiter.claim(600_000)).toBeNull();
    await waitFor(async () => !(await isHeld()));
    expect(wasHeld).toEqual([true]);
  });

  test('a valid answer to a probe opens a source that another process has closed', async () => {
    const { name, reader, judge } = probed(async () => ({ kind: 'answered' }));
    await judge.note(valid, judge.asks());
    await closeSource(stores.sources, name, Date.now());
    reader.probeSoon();
    await waitFor(async () => (await stores.sources.read(name)).state === null);
  });
});
