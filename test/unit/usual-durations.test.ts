import { expect, test } from '@jest/globals';
import { entriesOf, RuleBook } from '../../src/core/alert/entry.ts';
import { binOf, NO_FIGURES } from '../../src/core/watch/run-figures.ts';
import { UsualDurations } from '../../src/alert/usual-durations.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { aRule } from '../support/fake-alerts.ts';

const MINUTE = 60_000;

/** A workflow with runs of ten minutes each. */
async function usualOf(runs: number) {
  const workflow = { source: 'default', workflowId: snapshot().workflow_id ?? '' };
  const figures = { ...NO_FIGURES, durations: { [binOf(10 * MINUTE)]: runs } };
  const since = async () => ({ since: 0, workflows: [{ ...workflow, figures, active: {} }] });
  const durations = new UsualDurations(
    testProcess({ stores: { runFigures: { since } }, now: () => NOON }),
  );
  await durations.refreshIfDue();
  return durations.usual;
}

/** When the deadline of a run of that workflow ends, ms after its creation. */
async function deadlineAfter(runs: number): Promise<number | null> {
  const limit = { kind: 'usual', percentile: 90, times: 2 } as const;
  const rule = aRule({ condition: { kind: 'deadline', reference: 'created_at', limit } });
  const book = new RuleBook([rule]);
  expect(book.needsUsual()).toBe(true);
  const created_at = new Date(NOON).toISOString();
  const after = newWatch({ run: snapshot({ created_at }) });
  const [entry] = entriesOf(book, { before: null, after, events: [] }, await usualOf(runs));
  if (entry?.kind !== 'deadlines') return null;
  const at = entry.deadlines[0]?.at ?? null;
  return at === null ? null : at - NOON;
}

test('a deadline of twice the usual duration goes by the runs of the workflow', async () => {
  const after = await deadlineAfter(20);
  expect(after).toBeGreaterThan(2 * 8 * MINUTE);
  expect(after).toBeLessThan(2 * 12 * MINUTE);
});

test('a deadline by the usual duration has none while few runs are known', async () => {
  expect(await deadlineAfter(4)).toBeNull();
});

test('another workflow has no usual duration', async () => {
  const usual = await usualOf(20);
  expect(usual({ source: 'default', workflowId: 'other' }, 90)).toBeNull();
  expect(usual({ source: 'default', workflowId: null }, 90)).toBeNull();
});

/** Counts how often the figures are read, with a clock that the test moves on. */
function countedReads() {
  const clock = { now: NOON, reads: 0 };
  const since = async () => {
    clock.reads += 1;
    return { since: 0, workflows: [] };
  };
  const process = testProcess({ stores: { runFigures: { since } }, now: () => clock.now });
  return { clock, durations: new UsualDurations(process) };
}

test('usual durations are read once in five minutes', async () => {
  const { clock, durations } = countedReads();
  for (let second = 0; second <= 600; second += 10) {
    clock.now = NOON + second * 1_000;
    await durations.refreshIfDue();
  }
  expect(clock.reads).toBe(3);
});

test('a workflow that is new is looked for at once, and once', async () => {
  const { clock, durations } = countedReads();
  await durations.refreshIfDue();
  for (let ask = 0; ask < 3; ask += 1) {
    durations.usual({ source: 'default', workflowId: 'new' }, 90);
    await durations.refreshIfDue();
  }
  expect(clock.reads).toBe(2);
});
