import { z } from 'zod';
import { withoutControls } from '../core/control-characters.ts';
import type { DefinitionOutcome } from '../core/feed/workflow.ts';
import { givenWorkflow } from '../core/run/id.ts';
import { readJson } from '../fetch/body.ts';
import type { SourceRequest } from '../fetch/request.ts';
import type { Reply } from '../fetch/transport.ts';
import { troubleOfExtra } from './listing.ts';

/** Largest answer that is read, 2 MiB. A definition holds prompts and tests, which are dropped. */
const MAX_BYTES = 2_097_152;

/** The most nodes that are read, and the longest name. */
const MOST_NODES = 1_000;
const MOST_LETTERS = 120;

const node = z
  .object({ id: z.string().min(1).max(128), name: z.string().trim().min(1) })
  .nullable()
  .catch(null);

const nodes = z.array(node).max(MOST_NODES).catch([]);

/** `{id, name, definition: {nodes: [{id, name, …}]}}` by what Noxus's SDK reads. */
const wireWorkflow = z.object({
  definition: z.object({ nodes }).catch({ nodes: [] }),
});

/** Reads the names of a workflow's nodes: `GET /v1/workflows/{workflow_id}`. */
export function definitionRequest(workflowId: string): SourceRequest<DefinitionOutcome> {
  return {
    kind: 'workflow',
    method: 'GET',
    path: `v1/workflows/${encodeURIComponent(givenWorkflow(workflowId))}`,
    mayRepeat: false,
    openAnswer() {
      const body = new WorkflowBody();
      return { take: body.take, read: (reply, { now }) => definitionOutcome(reply, body, now) };
    },
  };
}

/** Takes in the body of a workflow while it comes. */
class WorkflowBody {
  private readonly pieces: Buffer[] = [];
  private bytes = 0;

  /** @returns false when no more is wanted: of another status than 200 nothing is */
  readonly take = (piece: Buffer, status: number): boolean => {
    if (status !== 200) return false;
    this.bytes += piece.length;
    if (this.bytes > MAX_BYTES) return false;
    this.pieces.push(piece);
    return true;
  };

  read(): { text: string; bytes: number } {
    return { text: Buffer.concat(this.pieces).toString('utf8'), bytes: this.bytes };
  }
}

/** What a reply comes to. Values of nodes are private: only ids and names are kept. */
function definitionOutcome(reply: Reply, body: WorkflowBody, now: number): DefinitionOutcome {
  const trouble = troubleOfExtra(reply, now);
  if (trouble !== null) return trouble;
  const read = readJson(body.read(), reply.headers ?? {}, wireWorkflow, 'a workflow');
  if (read.kind === 'invalid_response') return read;
  const found = read.value.definition.nodes.flatMap((one) => {
    const name = one === null ? '' : withoutControls(one.name.slice(0, MOST_LETTERS)).trim();
    return one === null || name === '' ? [] : [[withoutControls(one.id), name] as const];
  });
  return { kind: 'definition', names: new Map(found) };
}
