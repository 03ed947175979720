import { z } from 'zod';
import { withoutControls } from '../core/control-characters.ts';
import type { ListedRun, ListOutcome, ListQuestion, RunPage } from '../core/feed/run-list.ts';
import type {
  NamedWorkflow,
  WorkflowListOutcome,
  WorkflowsQuestion,
} from '../core/feed/workflow.ts';
import { givenWorkflow, workflowIdFrom } from '../core/run/id.ts';
import { invalid, readJson } from '../fetch/body.ts';
import { troubleOfFailure } from '../fetch/failure.ts';
import type { ReadContext, SourceRequest } from '../fetch/request.ts';
import { RunSkimmer } from '../fetch/skim.ts';
import type { Reply } from '../fetch/transport.ts';
import { requestNote, troubleOfStatus } from './errors.ts';
import { MAX_TEXT_LENGTH, toSnapshot, unreadFields, wireRunSchema } from './run.ts';

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
] as const satisfies readonly (keyof ListedRun)[];

const FIELD_NAMES: ReadonlySet<string> = new Set(LISTED_FIELDS);

/** What is used of each workflow. */
const WORKFLOW_FIELDS: ReadonlySet<string> = new Set(['id', 'name']);

/** Longest name of a workflow that is kept whole, characters. */
const MAX_NAME_LENGTH = 200;

const count = z.int().min(0).optional().catch(undefined);

/** `{items, total, page, size, pages}` by public documentation; only `items` must be there. */
const pageSchema = z.object(
  { items: z.array(z.unknown(), 'expected a list'), page: count, size: count, pages: count },
  'expected an object',
);

type WirePage = z.output<typeof pageSchema>;

/** What was asked, and what the answer is read by. */
interface AskedPage extends ReadContext {
  question: Pick<ListQuestion, 'page' | 'size'>;
}

/** Being refused a list or definition says nothing about the key, nor about any run. */
const NOT_OFFERED: ReadonlySet<number> = new Set([400, 403, 404, 405, 422, 501]);

/**
 * Reads a page of a list of runs: `GET /v1/workflows/{workflow_id}/runs`, or `GET /v1/runs` for those of
 * all workflows. However large the answer, little of it is held.
 */
export function pageRequest(question: ListQuestion): SourceRequest<ListOutcome> {
  const { workflowId, page, size } = question;
  const list =
    workflowId === null
      ? 'runs'
      : `workflows/${encodeURIComponent(givenWorkflow(workflowId))}/runs`;
  return {
    kind: 'list',
    method: 'GET',
    path: `v1/${list}?page=${page}&size=${size}`,
    mayRepeat: false,
    openAnswer() {
      const body = new ListBody(FIELD_NAMES);
      const read = (reply: Reply, context: ReadContext) =>
        listOutcome(reply, body, { question, ...context });
      return { take: body.take, read };
    },
  };
}

/** Reads a page of the list of workflows: `GET /v1/workflows`. */
export function workflowsRequest(question: WorkflowsQuestion): SourceRequest<WorkflowListOutcome> {
  return {
    kind: 'list',
    method: 'GET',
    path: `v1/workflows?page=${question.page}&size=${question.size}`,
    mayRepeat: false,
    openAnswer() {
      const body = new ListBody(WORKFLOW_FIELDS);
      const read = (reply: Reply, context: ReadContext) =>
        workflowsOutcome(reply, body, { question, ...context });
      return { take: body.take, read };
    },
  };
}

/** Takes in the body of a list while it comes. */
class ListBody {
  readonly #skimmer: RunSkimmer;
  #bytes = 0;

  constructor(fields: ReadonlySet<string>) {
    this.#skimmer = new RunSkimmer({ fieldDepth: 3, fields, maxKeptBytes: MAX_KEPT_BYTES });
  }

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

/** What a reply to a list of runs comes to. */
function listOutcome(reply: Reply, body: ListBody, asked: AskedPage): ListOutcome {
  const read = readItems(reply, body, asked, 'run');
  if (read.kind !== 'items') return read;
  const { items, ...page } = read;
  const runs = runsOf(items, asked);
  if (runs.length === 0 && items.length > 0) {
    return invalid('not a page of runs: no item has both id and status');
  }
  const { isLast, isCut, bytes } = page;
  return { kind: 'page', page: { runs, isLast, isCut, bytes } };
}

/** What a reply to the list of workflows comes to. An item without id or name is left out. */
function workflowsOutcome(reply: Reply, body: ListBody, asked: AskedPage): WorkflowListOutcome {
  const read = readItems(reply, body, asked, 'workflow');
  if (read.kind !== 'items') return read;
  const { items, isLast, isCut } = read;
  return {
    kind: 'page',
    page: { workflows: items.flatMap(named), items: items.length, isLast, isCut },
  };
}

const workflowSchema = z.object({
  id: z
    .string()
    .min(1)
    .max(MAX_TEXT_LENGTH)
    .transform((id) => workflowIdFrom(withoutControls(id))),
  name: z.string().transform((name) => withoutControls(name.slice(0, MAX_NAME_LENGTH), ' ').trim()),
});

function named(item: unknown): NamedWorkflow[] {
  const { data } = workflowSchema.safeParse(item);
  return data === undefined || data.name === '' ? [] : [data];
}

/** The items of a page, unread, and where it ends. */
interface PageItems {
  kind: 'items';
  items: unknown[];
  isLast: boolean;
  isCut: boolean;
  bytes: number;
}

/** @param what is listed, for messages */
function readItems(
  reply: Reply,
  body: ListBody,
  { question, now }: AskedPage,
  what: string,
): PageItems | Exclude<ListOutcome, { kind: 'page' }> {
  return troubleOfExtra(reply, now) ?? pageItems(reply, body, question, what);
}

/** What a reply without a 200 comes to, of what runs are watched without; null for a 200. */
export function troubleOfExtra(
  reply: Reply,
  now: number,
): Exclude<ListOutcome, { kind: 'page' }> | null {
  const { status, headers } = reply;
  if (reply.kind === 'broken' && (status === null || status === 200)) {
    return troubleOfFailure(reply.failure);
  }
  if (status === 200) return null;
  if (status !== null && NOT_OFFERED.has(status)) {
    return {
      kind: 'not_offered',
      status,
      message: `status ${status}${requestNote(headers ?? {})}`,
    };
  }
  return troubleOfStatus({ status: status ?? 0, headers: headers ?? {} }, now);
}

function pageItems(
  reply: Reply,
  body: ListBody,
  question: AskedPage['question'],
  what: string,
): PageItems | ReturnType<typeof invalid> {
  const isCut = reply.kind === 'answer' && reply.isCut;
  const { text, bytes } = body.rest(isCut);
  if (text === null) return invalid(`larger than ${bytes} bytes without a whole ${what} in them`);
  const read = readJson({ text, bytes }, reply.headers ?? {}, pageSchema, `a page of ${what}s`);
  if (read.kind === 'invalid_response') return read;
  if (!isAsked(read.value, question)) {
    return invalid('page, size: another page than the one that was asked for');
  }
  const { items } = read.value;
  return { kind: 'items', items, ...endOf(read.value, question, isCut), isCut, bytes };
}

/** An item without id or status is left out: what is wrong with one must not hide the others. */
function runsOf(items: readonly unknown[], { onUnread }: AskedPage): ListedRun[] {
  return items.flatMap((item) => {
    const read = wireRunSchema.safeParse(item);
    if (!read.success) {
      onUnread(read.error.issues.map(({ path }) => String(path[0] ?? 'item')));
      return [];
    }
    const run = toSnapshot(read.data, 0);
    onUnread(unreadFields(read.data, run).filter((field) => FIELD_NAMES.has(field)));
    const { id, workflow_id, status, progress, created_at } = run;
    return [{ id, workflow_id, status, progress, created_at }];
  });
}

/** Servers that ignore both would show the same runs on every page. */
function isAsked({ items, page, size }: WirePage, question: AskedPage['question']): boolean {
  return (
    (page ?? question.page) === question.page &&
    (size ?? question.size) === question.size &&
    items.length <= question.size
  );
}

function endOf(
  { items, pages }: WirePage,
  { page, size }: AskedPage['question'],
  isCut: boolean,
): Pick<RunPage, 'isLast'> {
  const isLast = pages === undefined ? items.length < size : page >= pages;
  return { isLast: isLast && !isCut };
}
