import type { Answer } from './http-io.ts';
import { BODY_MISSING, complaintsOf, invalid } from './noxus-error.ts';
import type { RunRegistry } from './run-registry.ts';
import { searchSchema, type SearchRequest } from './start-input.ts';
import type { PublicRun } from './wire-run.ts';

/** `POST /v1/runs/search`: the runs in which a text occurs, newest first. */
export function searchRuns(runs: RunRegistry, body: unknown): Answer {
  if (body === undefined) return invalid(BODY_MISSING);
  const parsed = searchSchema.safeParse(body);
  if (!parsed.success) return invalid(...complaintsOf(parsed.error, body));
  const { limit, offset } = parsed.data;
  const found = runs.all(null).filter((run) => occursIn(runs, run, parsed.data));
  const texts = found.slice(offset, offset + limit).map((run) => runs.fullWireText(run));
  return { status: 200, body: `{"items":[${texts.join(',')}],"total":${found.length}}` };
}

function occursIn(runs: RunRegistry, run: PublicRun, request: SearchRequest): boolean {
  const { query, exact, search_in: places } = request;
  const { input, output } = runs.ioOf(run);
  const parts = { run_id: run.id, input, output, other: run };
  const texts = (places ?? (['run_id', 'input', 'output'] as const)).map((place) =>
    JSON.stringify(parts[place]).toLowerCase(),
  );
  const words = exact ? [query] : query.split(/\s+/);
  return texts.some((text) => words.every((word) => text.includes(word.toLowerCase())));
}
