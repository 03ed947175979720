import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { TracedRun } from './workload.ts';

const line = z
  .object({
    workflow: z.string().min(1),
    created: z.number(),
    started: z.number().nullish(),
    finished: z.number(),
    status: z.enum(['completed', 'failed', 'stopped']),
    progress: z.array(z.tuple([z.number(), z.number()])).default([]),
  })
  .transform(({ started, ...run }) => ({ ...run, started: started ?? run.created }))
  .refine(({ created, started, finished }) => created <= started && started <= finished, {
    error: 'expected created ≤ started ≤ finished',
  });

/**
 * Reads runs from a file of JSON lines, times in seconds:
 * `{"workflow":"a","created":0,"started":2.5,"finished":61.0,"status":"completed","progress":[[10.2,25]]}`
 * Throws an Error that names file and line where one is no such run.
 */
export async function readTrace(path: string): Promise<TracedRun[]> {
  const lines = (await readFile(path, 'utf8')).split('\n');
  const runs = lines.flatMap((text, at) =>
    text.trim() === '' ? [] : [readRun(text, `${path}:${at + 1}`)],
  );
  if (runs.length === 0) throw new Error(`${path}: expected at least one run as a line of JSON`);
  return runs;
}

function readRun(text: string, where: string): TracedRun {
  const result = line.safeParse(parse(text, where));
  if (!result.success) {
    const [issue] = result.error.issues;
    const path = issue?.path.join('.') ?? '';
    throw new Error(`${where}: ${path === '' ? '' : `${path}: `}${issue?.message}`);
  }
  const progress = result.data.progress.toSorted(([one], [other]) => one - other);
  return { ...result.data, progress };
}

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${where}: expected JSON: ${String(error)}`, { cause: error });
  }
}
