import { z } from 'zod';
import type { ListedRun, ListOutcome, ListQuestion, RunPage } from '../core/feed/run-list.ts';
import { invalid, readJson, requestNote, troubleOfFailure, troubleOfStatus } from './errors.ts';
import type { Reply } from './transport.ts';
import { RunSkimmer } from './skim.ts';
import { toSnapshot, unreadFields, wireRunSchema, type WireRun } from './run.ts';

/**
 * Largest answer that is read of a list, 16 MiB: the rest is not waited for. This bounds the
 * traffic; memory is bounded by what the skimmer keeps.
 */
const MAX_LIST_BYTES = 16_777_216;

/** Largest text that a page may leave, 1 MiB: 100 runs leave some 50 KiB. */
const MAX_KEPT_BYTES = 1_048_576;

/** What a list is used for of each run. */
const LISTED_FIELDS = [
  'id',
  'workflow_id',
  'status',
  'progress',
  'created_at',
  'finished_at',
] as const satisfies readonly (keyof ListedRun)[];

const FIELD_NAMES: ReadonlySet<string> = new Set(LISTED_FIELDS);

const count = z.int().min(0).optional().catch(undefined);

/** `{items, total, page, size, pages}` by public documentation; only `items` must be there. */
const pageSchema = z.object(
  { items: z.array(z.unknown(), 'expected a list'), page: count, size: count, pages: count },
  'expected an object',
);

type WirePage = z.output<typeof pageSchema>;

/** What was asked, and where to tell what the answer lacks. */
interface Asked {
  question: ListQuestion;
  /** Milliseconds since the epoch. */
  now: number;
  /** Called with the fields that runs lack, or have in a form that cannot be read. */
  onUnread: (fields: string[]) => void;
}

/** A list is an extra: being refused it says nothing about the key, nor about any run. */
const NOT_OFFERED: ReadonlySet<number> = new Set([400, 403, 404, 405, 422, 501]);

/** The path of a page of a list, query included. */
export function listPath({ workflowId, page, size }: ListQuestion): string {
  const list = workflowId === null ? 'runs' : `workflows/${encodeURIComponent(workflowId)}/runs`;
  return `v1/${list}?page=${page}&size=${size}`;
}

/** Takes in the body of a list while it comes. */
export class ListBody {
  readonly #skimmer = new RunSkimmer({
    fieldDepth: 3,
    fields: FIELD_NAMES,
    maxKeptBytes: MAX_KEPT_BYTES,
  });
  #bytes = 0;

  /** @returns false when no more is wanted: of another status than 200 nothing is */
  readonly take = (piece: Buffer, status: number): boolean => {
    if (status !== 200) return false;
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

/** What a reply comes to. */
export function listOutcome(reply: Reply, body: ListBody, asked: Asked): ListOutcome {
  const { status, headers } = reply;
  if (reply.kind === 'broken' && (status === null || status === 200)) {
    return troubleOfFailure(reply.failure);
  }
  if (status === 200) return readPage(reply, body, asked);
  if (status !== null && NOT_OFFERED.has(status)) {
    return {
      kind: 'not_offered',
      status,
      message: `status ${status}${requestNote(headers ?? {})}`,
    };
  }
  return troubleOfStatus({ status: status ?? 0, headers: headers ?? {} }, asked.now);
}

function readPage(reply: Reply, body: ListBody, asked: Asked): ListOutcome {
  const isCut = reply.kind === 'answer' && reply.isCut;
  const { text, bytes } = body.rest(isCut);
  if (text === null) return invalid(`larger than ${bytes} bytes without a whole run in them`);
  const read = readJson({ text, bytes }, reply.headers ?? {}, pageSchema, 'a page of runs');
  if (read.kind === 'invalid_response') return read;
  const { question } = asked;
  if (!isAsked(read.value, question)) {
    return invalid('page, size: another page than the one that was asked for');
  }
  const runs = runsOf(read.value.items, asked);
  if (runs.length === 0 && read.value.items.length > 0) {
    return invalid('not a page of runs: no item has both id and status');
  }
  return { kind: 'page', page: { runs, ...endOf(read.value, question, isCut), isCut, bytes } };
}

/** An item without id or status is left out: what is wrong with one must not hide the others. */
function runsOf(items: readonly unknown[], { onUnread }: Asked): ListedRun[] {
  return items.flatMap((item) => {
    const read = wireRunSchema.safeParse(item);
    if (!read.success) {
      onUnread(read.error.issues.map(({ path }) => String(path[0] ?? 'item')));
      return [];
    }
    onUnread(unreadFields(read.data).filter((field) => FIELD_NAMES.has(field)));
    return [listedRun(read.data)];
  });
}

/** Servers that ignore both would show the same runs on every page. */
function isAsked({ items, page, size }: WirePage, question: ListQuestion): boolean {
  return (
    (page ?? question.page) === question.page &&
    (size ?? question.size) === question.size &&
    items.length <= question.size
  );
}

function endOf(
  { items, pages }: WirePage,
  { page, size }: ListQuestion,
  isCut: boolean,
): Pick<RunPage, 'isLast'> {
  const isLast = pages === undefined ? items.length < size : page >= pages;
  return { isLast: isLast && !isCut };
}

function listedRun(item: WireRun): ListedRun {
  const run = toSnapshot(item, 0);
  const { id, workflow_id, status, progress, created_at, finished_at } = run;
  return { id, workflow_id, status, progress, created_at, finished_at };
}
