import { describe, expect, test } from '@jest/globals';
import { FaultTable } from '../../src/simulator/fault.ts';

function kinds(table: FaultTable, runId: string | null, times: number) {
  return Array.from({ length: times }, () => table.take(runId)?.kind ?? null);
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
