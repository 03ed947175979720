import { expect, test } from '@jest/globals';
import { startPeriodic } from '../../src/periodic.ts';
import { liveHeapBytes } from '../support/heap.ts';
import { waitFor } from '../support/wait-for.ts';

const TURNS = 50_000;

test('fifty thousand turns of a periodic task leave nothing in memory', async () => {
  let turns = 0;
  const task = async (): Promise<void> => {
    turns += 1;
    // Lets the event loop turn: without that, the garbage collector sees nothing as unused.
    if (turns % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve));
    if (turns < TURNS) periodic.trigger();
  };
  const before = liveHeapBytes();
  const periodic = startPeriodic(() => Promise.resolve().then(task), never());
  await waitFor(() => turns >= TURNS);
  expect(liveHeapBytes() - before).toBeLessThan(500_000);
  await periodic.stop();
});

test('a periodic task that throws, at once or later, runs again and ends nothing', async () => {
  const errors: unknown[] = [];
  let turns = 0;
  const task = (): Promise<void> => {
    turns += 1;
    if (turns === 1) throw new Error('at once');
    return turns === 2 ? Promise.reject(new Error('later')) : Promise.resolve();
  };
  const onError = (error: unknown) => void errors.push(error);
  const periodic = startPeriodic(task, { everyMs: 1, onError });
  await waitFor(() => turns >= 3);
  await periodic.stop();
  expect(errors).toEqual([new Error('at once'), new Error('later')]);
});

test('a periodic task triggered while it runs runs once more, and stop waits for it', async () => {
  let turns = 0;
  let finish: () => void = () => undefined;
  const task = (): Promise<void> => {
    turns += 1;
    return new Promise((resolve) => (finish = resolve));
  };
  const periodic = startPeriodic(task, never());
  periodic.trigger();
  periodic.trigger();
  finish();
  await waitFor(() => turns === 2);
  let isStopped = false;
  const stopped = periodic.stop().then(() => (isStopped = true));
  await Promise.resolve();
  expect(isStopped).toBe(false);
  finish();
  await stopped;
  expect(turns).toBe(2);
});

function never() {
  const onError = (error: unknown) => {
    throw error;
  };
  return { everyMs: 3_600_000, onError };
}
