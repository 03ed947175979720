import * as fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import { KNOWN_STATUSES } from '../../src/core/run/snapshot.ts';
import {
  type ScriptInput,
  completeScript,
  postponed,
  runAt,
  withStatus,
} from '../../src/simulator/script.ts';
import type { PublicRun } from '../../src/simulator/wire-run.ts';
import { FaultTable } from '../../src/simulator/fault.ts';

const T0 = Date.parse('2026-01-01T00:00:00.000Z');

function scripted(input: ScriptInput, speed = 1) {
  return completeScript(input, {
    now: T0,
    speed,
    newId: () => 'run-1',
    workflowId: '0b9e6f74-25c1-4d0e-8a5b-7c3f1d2e9a60',
  });
}

function seen(script: ReturnType<typeof scripted>, elapsedMs: number): PublicRun {
  const answer = runAt(script, elapsedMs);
  if (answer.kind !== 'run') throw new Error(`expected a run, got ${answer.kind}`);
  return answer.run;
}

const waits = scripted({
  steps: [
    { after_ms: 1_000, status: 'running', progress: 0 },
    { after_ms: 5_000, status: 'awaiting_human_feedback', progress: 40 },
    { after_ms: 7_000, status: 'running' },
    { after_ms: 10_000, status: 'completed', progress: 100 },
  ],
});

describe('a scripted run', () => {
  test.each([
    [0, 'queued', 0],
    [999, 'queued', 0],
    [1_000, 'running', 0],
    [3_050, 'running', 20],
    [4_999, 'running', 39],
    [5_000, 'awaiting_human_feedback', 40],
    [6_999, 'awaiting_human_feedback', 40],
    [7_000, 'running', 40],
    [8_500, 'running', 70],
    [10_000, 'completed', 100],
    [99_999_999, 'completed', 100],
  ])('a scripted run, %i ms after its creation, is %s at %i %%', (elapsed, status, progress) => {
    expect(seen(waits, elapsed)).toMatchObject({ status, progress });
  });

  test('a scripted run has the times of its creation, start and end once they have come', () => {
    expect(seen(waits, 0)).toMatchObject({
      created_at: '2026-01-01T00:00:00.000Z',
      started_at: null,
      finished_at: null,
    });
    expect(seen(waits, 9_000)).toMatchObject({
      started_at: '2026-01-01T00:00:01.000Z',
      finished_at: null,
    });
    expect(seen(waits, 20_000)).toMatchObject({ finished_at: '2026-01-01T00:00:10.000Z' });
  });

  test('a scripted run ends when its status did, whatever its progress does later', () => {
    const script = scripted({
      steps: [
        { after_ms: 100, status: 'failed' },
        { after_ms: 200, progress: 7 },
      ],
    });
    expect(seen(script, 300)).toMatchObject({
      progress: 7,
      finished_at: '2026-01-01T00:00:00.100Z',
    });
  });

  test("a scripted run's progress moves evenly only while it is running", () => {
    const script = scripted({
      steps: [
        { after_ms: 1_000, status: 'awaiting_human_feedback', progress: 20 },
        { after_ms: 2_000, status: 'completed', progress: 100 },
      ],
    });
    expect([500, 1_500, 2_000].map((elapsed) => seen(script, elapsed).progress)).toEqual([
      0, 20, 100,
    ]);
  });

  test("a scripted run's steps may come in any order", () => {
    const script = scripted({
      steps: [
        { after_ms: 200, status: 'completed' },
        { after_ms: 100, status: 'running' },
      ],
    });
    expect(seen(script, 150).status).toBe('running');
    expect(seen(script, 200).status).toBe('completed');
  });

  test('a scripted run plays at the requested speed', () => {
    const script = scripted({ steps: [{ after_ms: 1_000, status: 'failed' }] }, 10);
    expect(seen(script, 99).status).toBe('queued');
    expect(seen(script, 100)).toMatchObject({
      status: 'failed',
      finished_at: '2026-01-01T00:00:00.100Z',
    });
  });

  test('a scripted run is absent before it is visible, and once it is deleted', () => {
    const script = scripted({ visible_after_ms: 100, deleted_after_ms: 200 });
    const answers = [-1, 99, 100, 199, 200, 9_999].map((elapsed) => runAt(script, elapsed).kind);
    expect(answers).toEqual(['not_found', 'not_found', 'run', 'run', 'not_found', 'not_found']);
  });

  test('a scripted run is rejected at all times where the script says so', () => {
    const script = scripted({ rejected: true });
    expect([0, 1e9].map((elapsed) => runAt(script, elapsed).kind)).toEqual([
      'rejected',
      'rejected',
    ]);
  });

  test('a scripted run may be old when it is added', () => {
    expect(scripted({ age_ms: 60_000 }).created_at).toBe('2025-12-31T23:59:00.000Z');
  });

  test('a scripted run writes times without a zone on request', () => {
    expect(seen(scripted({ timestamps: 'naive' }), 0).created_at).toBe(
      '2026-01-01T00:00:00.000000',
    );
  });

  test('a scripted run keeps a status set by hand, and its script stops', () => {
    const script = withStatus(waits, 3_050, { status: 'stopped' });
    expect(seen(script, 3_049)).toMatchObject({ status: 'running' });
    expect(seen(script, 1e9)).toMatchObject({
      status: 'stopped',
      progress: 20,
      finished_at: '2026-01-01T00:00:03.050Z',
    });
  });

  test('a scripted run keeps its pace after a wait in its first state', () => {
    const script = postponed(waits, 60_000);
    expect(seen(script, 60_999).status).toBe('queued');
    expect(seen(script, 61_000).status).toBe('running');
    expect(seen(script, 70_000).status).toBe('completed');
  });

  test('a scripted run always has a status of its script and a whole progress between those of its steps', () => {
    const step = fc.record({
      after_ms: fc.integer({ min: 0, max: 10_000 }),
      status: fc.constantFrom(...KNOWN_STATUSES),
      progress: fc.integer({ min: -1_000, max: 1_000 }),
    });
    const anyScript = fc.array(step, { maxLength: 8 });
    fc.assert(
      fc.property(anyScript, fc.integer({ min: 0, max: 12_000 }), (steps, elapsed) => {
        const { status, progress } = seen(scripted({ steps }), elapsed);
        const all = [0, ...steps.map((one) => one.progress)];
        expect(['queued', ...steps.map((one) => one.status)]).toContain(status);
        expect(Number.isInteger(progress)).toBe(true);
        expect(progress).toBeGreaterThanOrEqual(Math.min(...all));
        expect(progress).toBeLessThanOrEqual(Math.max(...all));
      }),
    );
  });
});

function kinds(table: FaultTable, runId: string | null, times: number) {
  return Array.from(
    { length: times },
    () => table.take(runId, runId === null ? 'list' : 'run')?.kind ?? null,
  );
}

/** The faults of 2,000 requests of which a quarter is to be reset. */
function hits(seed: number) {
  const table = new FaultTable();
  table.add({ kind: 'reset', probability: 0.25, seed });
  return kinds(table, 'a', 2_000);
}

describe('the faults of a simulator', () => {
  test('simulator faults hit every request until they are cleared', () => {
    const table = new FaultTable();
    table.add({ kind: 'reset' });
    expect(kinds(table, 'a', 2)).toEqual(['reset', 'reset']);
    expect(kinds(table, null, 1)).toEqual(['reset']);
    table.clear();
    expect(kinds(table, 'a', 1)).toEqual([null]);
  });

  test('simulator faults with a count are used up', () => {
    const table = new FaultTable();
    table.add({ kind: 'html', count: 2 });
    expect(kinds(table, 'a', 3)).toEqual(['html', 'html', null]);
    expect(table.size).toBe(0);
  });

  test('simulator faults of one run do not affect others or the listings', () => {
    const table = new FaultTable();
    table.add({ kind: 'html', run_id: 'a' });
    expect(kinds(table, 'b', 1)).toEqual([null]);
    expect(kinds(table, null, 1)).toEqual([null]);
    expect(kinds(table, 'a', 1)).toEqual(['html']);
  });

  test('simulator faults of one run come before those of all, and older before newer', () => {
    const table = new FaultTable();
    table.add({ kind: 'reset', count: 1 });
    table.add({ kind: 'garbage', count: 1 });
    table.add({ kind: 'html', run_id: 'a', count: 1 });
    expect(kinds(table, 'a', 4)).toEqual(['html', 'reset', 'garbage', null]);
  });

  test('simulator faults with a probability hit their share of requests, the same ones for the same seed', () => {
    const share = hits(1).filter((kind) => kind !== null).length / 2_000;
    expect(share).toBeGreaterThan(0.2);
    expect(share).toBeLessThan(0.3);
    expect(hits(1)).toEqual(hits(1));
    expect(hits(1)).not.toEqual(hits(2));
  });

  test('simulator faults are bounded in number', () => {
    const table = new FaultTable();
    for (let index = 0; index < 10_000; index += 1)
      table.add({ kind: 'reset', run_id: `${index}` });
    expect(() => table.add({ kind: 'reset' })).toThrow('at most 10000 faults');
  });
});
