import type { BenchResult, Figure } from './figures.ts';

/** Plays the chosen ones of a bench's scenarios, one after another. */
export async function playCells(
  all: Record<string, () => Promise<Figure[]>>,
  chosen: readonly string[],
): Promise<BenchResult> {
  const figures: Figure[] = [];
  const seconds: Record<string, number> = {};
  for (const [name, play] of Object.entries(all)) {
    if (!chosen.includes(name)) continue;
    const startedAt = performance.now();
    figures.push(...(await play()));
    seconds[name] = Math.round((performance.now() - startedAt) / 1_000);
  }
  return { figures, details: { seconds } };
}
