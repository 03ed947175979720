import { z } from 'zod';
import type { ListedRun, ListOutcome, ListQuestion, RunPage } from '../core/run-list.ts';
import { invalid, readJson, troubleOfFailure, troubleOfStatus } from './judge.ts';
import type { StreamReply } from './reply.ts';
import { PageSkimmer } from './skim.ts';
import { toSnapshot, wireRunSchema } from './wire-run.ts';

/**
 * Largest answer that is read of a list, 16 MiB: the rest is not waited for. This bounds the
 * traffic; memory is bounded by what the skimmer keeps.
 */
const MAX_LIST_BYTES = 16_777_216;

/** A listed run may lack what only events show of it; a single read is there for that. */
const listedRunSchema = wireRunSchema.omit({ group_id: true });

const count = z.int().min(0).optional().catch(undefined);

/** `{items, total, page, size, pages}` by public documentation; only `items` must be there. */
const pageSchema = z.object(
  { items: z.array(listedRunSchema, 'expected a list'), page: count, size: count, pages: count },
  'expected an object',
);

type WirePage = z.output<typeof pageSchema>;

/** A list is an extra: being refused it says nothing about the key, nor about any run. */
const NOT_OFFERED: ReadonlySet<number> = new Set([400, 403, 404, 405, 422, 501]);

/** The path of a page of a list, query included. */
export function listPath({ workflowId, page, size }: ListQuestion): string {
  const list = workflowId === null ? 'runs' : `workflows/${encodeURIComponent(workflowId)}/runs`;
  return `v1/${list}?page=${page}&size=${size}`;
}

/** Takes in the body of a list while it comes. */
export class ListBody {
  readonly #skimmer = new PageSkimmer();
  #bytes = 0;

  /** @returns false when no more is wanted */
  readonly take = (piece: Buffer): boolean => {
    this.#bytes += piece.length;
    if (this.#bytes > MAX_LIST_BYTES) return false;
    this.#skimmer.push(piece);
    return !this.#skimmer.isFull;
  };

  /** What is left of it; of one that was cut off, null where no whole run is. */
  rest(isCut: boolean): { text: string | null; bytes: number } {
    const text = isCut ? this.#skimmer.textOfWholeRuns() : this.#skimmer.text();
    return { text, bytes: this.#bytes };
  }
}

/** What a reply comes to. @param now milliseconds since the epoch */
export function listOutcome(
  reply: StreamReply,
  body: ListBody,
  { question, now }: { question: ListQuestion; now: number },
): ListOutcome {
  const { status, headers } = reply;
  if (reply.kind === 'broken' && (status === null || status === 200)) {
    return troubleOfFailure(reply.failure);
  }
  if (status === 200) return readPage(reply, body, question);
  if (status !== null && NOT_OFFERED.has(status)) {
    return { kind: 'not_offered', status, message: `status ${status}` };
  }
  return troubleOfStatus({ status: status ?? 0, headers: headers ?? {} }, now);
}

function readPage(reply: StreamReply, body: ListBody, question: ListQuestion): ListOutcome {
  const isCut = reply.kind === 'answer' && reply.isCut;
  const { text, bytes } = body.rest(isCut);
  if (text === null) return invalid(`larger than ${bytes} bytes without a whole run in them`);
  const read = readJson({ text, bytes }, reply.headers ?? {}, pageSchema, 'a page of runs');
  if (read.kind === 'invalid_response') return read;
  return isAsked(read.value, question)
    ? { kind: 'page', page: pageOf(read.value, question, isCut) }
    : invalid('page, size: another page than the one that was asked for');
}

/** Servers that heed neither would show the same runs on every page. */
function isAsked({ items, page, size }: WirePage, question: ListQuestion): boolean {
  return (
    (page ?? question.page) === question.page &&
    (size ?? question.size) === question.size &&
    items.length <= question.size
  );
}

function pageOf({ items, pages }: WirePage, { page, size }: ListQuestion, isCut: boolean): RunPage {
  const isLast = pages === undefined ? items.length < size : page >= pages;
  return { runs: items.map(listedRun), isLast: isLast && !isCut, isCut };
}

function listedRun(item: z.output<typeof listedRunSchema>): ListedRun {
  const run = toSnapshot({ ...item, group_id: '' }, 0);
  const { id, workflow_id, status, progress, created_at, finished_at } = run;
  return { id, workflow_id, status, progress, created_at, finished_at };
}
