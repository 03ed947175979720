import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  budgetFor,
  createLifecycle,
  endOnFault,
  ignoreOtherSignals,
  startOrUndo,
  untilStoppedBySignal,
} from '../../src/lifecycle.ts';
import type { Release } from '../../src/lifecycle.ts';
import { collectLog } from '../support/collect-log.ts';

const never: Release = () => new Promise(() => {});

describe('lifecycle', () => {
  test('a stop releases in reverse order, each after the one before has ended', async () => {
    const lifecycle = createLifecycle(collectLog());
    const steps: string[] = [];
    for (const name of ['redis', 'queue', 'server']) {
      lifecycle.onStop(name, async () => {
        steps.push(`${name} begins`);
        await Promise.resolve();
        steps.push(`${name} ends`);
      });
    }
    expect(await lifecycle.stop(1_000)).toEqual({ late: [], failed: [] });
    expect(steps).toEqual([
      'server begins',
      'server ends',
      'queue begins',
      'queue ends',
      'redis begins',
      'redis ends',
    ]);
  });

  test('a releaser that fails is named, and the others are still called', async () => {
    const log = collectLog();
    const lifecycle = createLifecycle(log);
    const released: string[] = [];
    lifecycle.onStop('redis', () => void released.push('redis'));
    lifecycle.onStop('throws', () => {
      throw new Error('at once');
    });
    lifecycle.onStop('rejects', () => Promise.reject(new Error('later')));
    expect(await lifecycle.stop(1_000)).toEqual({ late: [], failed: ['rejects', 'throws'] });
    expect(released).toEqual(['redis']);
    expect(log.lines.map((line) => line['releaser'])).toEqual(['rejects', 'throws']);
  });

  test('a second stop only returns the report of the first', async () => {
    const lifecycle = createLifecycle(collectLog());
    let calls = 0;
    lifecycle.onStop('redis', () => void (calls += 1));
    const [one, two] = await Promise.all([lifecycle.stop(1_000), lifecycle.stop(5)]);
    expect(two).toBe(one);
    expect(calls).toBe(1);
  });

  test('the stop signal aborts before the first releaser is called', async () => {
    const lifecycle = createLifecycle(collectLog());
    let seen = false;
    lifecycle.onStop('worker', () => void (seen = lifecycle.stopping.aborted));
    expect(lifecycle.stopping.aborted).toBe(false);
    await lifecycle.stop(1_000);
    expect(seen).toBe(true);
  });

  describe('lifecycle with a test clock', () => {
    beforeEach(() => void jest.useFakeTimers());
    afterEach(() => void jest.useRealTimers());

    test('a stop cuts off any step that hangs, so that the rest fits the deadline', async () => {
      const lifecycle = createLifecycle(collectLog());
      const budgets: number[] = [];
      lifecycle.onStop('redis', (ms) => void budgets.push(ms));
      lifecycle.onStop('queue', (ms) => {
        budgets.push(ms);
        return never(ms);
      });
      lifecycle.onStop('worker', (ms) => {
        budgets.push(ms);
        return never(ms);
      });
      const began = performance.now();
      const report = lifecycle.stop(20_000);
      await jest.advanceTimersByTimeAsync(20_000);
      expect(await report).toEqual({ late: ['worker', 'queue'], failed: [] });
      expect(budgets).toEqual([19_500, 250, 250]);
      expect(performance.now() - began).toBe(20_000);
    });
  });

  test('a failed start undoes its steps, then passes its error on', async () => {
    const lifecycle = createLifecycle(collectLog());
    const released: string[] = [];
    const start = startOrUndo(lifecycle, 1_000, async () => {
      lifecycle.onStop('redis', () => void released.push('redis'));
      lifecycle.onStop('queue', () => void released.push('queue'));
      throw new Error('port in use');
    });
    await expect(start).rejects.toThrow('port in use');
    expect(released).toEqual(['queue', 'redis']);
  });

  test('a stop during the start cuts it off, and undoes its last step too', async () => {
    const lifecycle = createLifecycle(collectLog());
    const released: string[] = [];
    const release = (name: string) => () => void released.push(name);
    lifecycle.onStop('redis', release('redis'));
    const stop = lifecycle.stop(1_000);
    expect(() => lifecycle.onStop('server', release('server'))).toThrow(
      expect.objectContaining({ code: 'stopping' }),
    );
    await stop;
    expect(() => lifecycle.onStop('worker', release('worker'))).toThrow('worker');
    await lifecycle.stop(1_000);
    expect(released).toEqual(['redis', 'server', 'worker']);
  });
});

test('step budgets never exceed the total, and always leave something for the next step', () => {
  const times = fc.array(fc.nat({ max: 30_000 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 600_000 }), times, (timeoutMs, wanted) => {
      let left = timeoutMs;
      wanted.forEach((ms, index) => {
        const after = wanted.length - 1 - index;
        const budget = budgetFor(left, after);
        expect(budget).toBeLessThanOrEqual(left);
        left -= Math.min(ms, budget);
        const share = Math.min(250, timeoutMs / wanted.length);
        expect(left).toBeGreaterThanOrEqual(Math.floor(after * share));
      });
    }),
  );
});

function supervise(stop: () => Promise<unknown>) {
  const source = new EventEmitter();
  const exits: number[] = [];
  const clock = { ms: 0 };
  const reloads: string[] = [];
  const terminal = { isGone: false };
  const code = untilStoppedBySignal({
    source,
    stop,
    hangUp() {
      if (!terminal.isGone) reloads.push('reload');
      return !terminal.isGone;
    },
    exitNow: (status) => exits.push(status),
    log: collectLog(),
    now: () => clock.ms,
  });
  return {
    code,
    exits,
    clock,
    reloads,
    terminal,
    signal: (name: string) => source.emit(name, name),
  };
}

describe('signals', () => {
  test.each(['SIGTERM', 'SIGINT'])(
    '%s stops in good order, and the exit code is 0',
    async (name) => {
      let stops = 0;
      const { code, exits, signal } = supervise(async () => (stops += 1));
      expect(stops).toBe(0);
      signal(name);
      expect(await code).toBe(0);
      expect(stops).toBe(1);
      expect(exits).toEqual([]);
    },
  );

  test.each([
    ['SIGTERM', 'SIGTERM', 0],
    ['SIGTERM', 'SIGINT', 0],
    ['SIGINT', 'SIGTERM', 0],
    ['SIGINT', 'SIGINT', 150],
  ])('%s and then %s ends the process at once with 1', (first, second, laterMs) => {
    const { exits, clock, signal } = supervise(() => new Promise(() => {}));
    signal(first);
    expect(exits).toEqual([]);
    clock.ms += laterMs;
    signal(second);
    expect(exits).toEqual([1]);
  });

  test.each(['SIGUSR1', 'SIGUSR2', 'SIGALRM'])('%s is logged, and does nothing else', (name) => {
    const source = new EventEmitter();
    const log = collectLog();
    ignoreOtherSignals({ source, log });
    source.emit(name);
    expect(log.lines).toMatchObject([{ level: 'info', signal: name }]);
  });

  test('SIGHUP reads the configuration again, and stops only when the terminal is gone', async () => {
    const { code, reloads, terminal, signal } = supervise(async () => undefined);
    signal('SIGHUP');
    signal('SIGHUP');
    expect(reloads).toEqual(['reload', 'reload']);
    terminal.isGone = true;
    signal('SIGHUP');
    expect(await code).toBe(0);
  });

  test('the echo of one Ctrl-C, as npm passes it on, is no second signal', () => {
    const { exits, clock, signal } = supervise(() => new Promise(() => {}));
    signal('SIGINT');
    clock.ms += 5;
    signal('SIGINT');
    expect(exits).toEqual([]);
    clock.ms += 500;
    signal('SIGINT');
    expect(exits).toEqual([1]);
  });
});

test('an error that nothing caught is logged once, hands back what is claimed, and ends with 1', async () => {
  const source = new EventEmitter();
  const log = collectLog();
  const steps: string[] = [];
  const ended = new Promise<void>((resolve) => {
    endOnFault({
      source,
      log,
      stop: async () => void steps.push('stopped'),
      exitNow(code) {
        steps.push(`exit ${code}`);
        resolve();
      },
    });
  });
  source.emit('uncaughtException', new Error('NOPERM'));
  source.emit('uncaughtException', new Error('another'));
  await ended;
  expect(steps).toEqual(['stopped', 'exit 1']);
  expect(log.lines).toMatchObject([{ level: 'fatal', err: new Error('NOPERM') }]);
});
