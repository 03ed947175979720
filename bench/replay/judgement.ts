import { rounded, type Figure } from '../support/figures.ts';
import type { Comparison } from './table.ts';

/** The result of one part of the judgement. */
export interface Judgement {
  tables: Record<string, Comparison>;
  gates: Figure[];
}

export function atMost(name: string, unit: string, value: number, bound: number): Figure {
  return { name, value: rounded(value), unit, target: { atMost: rounded(bound) } };
}
