import { isTerminalStatus } from '../core/run/snapshot.ts';
import type { Answer } from './http-io.ts';
import { BODY_MISSING, complaintsOf, invalid, notUuid, problem } from './noxus-error.ts';
import type { RunRegistry } from './run-registry.ts';
import { bulkDeleteSchema, type BulkDeleteRequest } from './start-input.ts';
import type { PublicRun } from './wire-run.ts';

/** `DELETE /v1/runs/{run_id}`: a run in flight is not deleted but stands in `errors`. */
export function deleteRun(runs: RunRegistry, runId: string): Answer {
  const answer = runs.read(runId);
  switch (answer.kind) {
    case 'not_found':
      return problem(404, 'Run not found');
    case 'rejected':
      return invalid(notUuid(['path', 'run_id'], runId));
    case 'run':
      return outcome(deleteAll(runs, [answer.run]));
  }
}

/** `POST /v1/runs/bulk/delete`: by ids, or all that ended and were created before `to_date`. */
export function bulkDelete(runs: RunRegistry, body: unknown): Answer {
  if (body === undefined) return invalid(BODY_MISSING);
  const parsed = bulkDeleteSchema.safeParse(body);
  if (!parsed.success) return invalid(...complaintsOf(parsed.error, body));
  const { run_ids: ids, filters, expected_count: expected, dry_run: dryRun } = parsed.data;
  if (!isGiven(ids) && !isGiven(filters)) {
    return problem(400, 'run_ids or filters must be given');
  }
  const { found, errors } = select(runs, parsed.data);
  const ended = found.filter(({ status }) => isTerminalStatus(status)).length;
  if (typeof expected === 'number' && expected !== ended) {
    return problem(409, `expected ${expected} runs, but ${ended} match`);
  }
  if (dryRun) return outcome({ matched: ended, succeeded: 0, errors: {} });
  const { matched, succeeded, errors: refused } = deleteAll(runs, found);
  return outcome({ matched, succeeded, errors: { ...errors, ...refused } });
}

/** FastAPI takes null for a field that is left out. */
function isGiven<Value>(value: Value | null | undefined): value is Value {
  return value !== null && value !== undefined;
}

interface Selection {
  found: PublicRun[];
  errors: Record<string, string>;
}

function select(runs: RunRegistry, { run_ids: ids, filters }: BulkDeleteRequest): Selection {
  if (isGiven(ids)) {
    const found: PublicRun[] = [];
    const errors: Record<string, string> = {};
    for (const id of new Set(ids)) {
      const answer = runs.read(id);
      if (answer.kind === 'run') found.push(answer.run);
      else errors[id] = 'Run not found';
    }
    return { found, errors };
  }
  const until = filters?.to_date;
  const before = isGiven(until) ? Date.parse(until) : Infinity;
  const found = runs
    .all(filters?.workflow_id ?? null)
    .filter((run) => isTerminalStatus(run.status) && Date.parse(run.created_at) < before);
  return { found, errors: {} };
}

interface Deletion {
  matched: number;
  succeeded: number;
  /** Why a run was not deleted, by its id. */
  errors: Record<string, string>;
}

function deleteAll(runs: RunRegistry, found: PublicRun[]): Deletion {
  const errors: Record<string, string> = {};
  let succeeded = 0;
  for (const { id, status } of found) {
    if (isTerminalStatus(status) && runs.delete(id)) succeeded += 1;
    else errors[id] = `Run is still in flight (${status})`;
  }
  return { matched: succeeded, succeeded, errors };
}

function outcome({ matched, succeeded, errors }: Deletion): Answer {
  const failed = Object.keys(errors).length;
  return { status: 200, body: JSON.stringify({ matched, succeeded, failed, errors }) };
}
