import type { ListOutcome, ListQuestion, RunPage } from '../core/feed/run-list.ts';
import type { ProbeOutcome } from '../core/source/port.ts';
import { fillTemplate, PAGE_PARTS, type RequestTemplate } from '../core/source/run-template.ts';
import { invalid } from '../fetch/body.ts';
import type { SourceClientOptions } from '../fetch/client.ts';
import type { ReadContext } from '../fetch/request.ts';
import type { ErrorsDeclaration } from './answer.ts';
import { readDocument, type ReadDocument, type SendForDocument } from './documents.ts';
import { ListMapping, type ListDeclaration } from './list-mapping.ts';
import { RunMapping, type MappingDeclaration } from './mapping.ts';
import { RememberedDocuments } from './remembered.ts';
import { hasPages, idTemplateOf, requestTemplateOf } from './traits.ts';

/** How runs are listed, as the configuration declares it. */
export interface ListRequestDeclaration extends ListDeclaration {
  readonly get: string;
  /** The most items of a page. */
  readonly size: number;
  /** The number of the newest page. */
  readonly first_page: number;
}

/** An API whose runs are listed. */
interface ListedSource extends MappingDeclaration {
  readonly id: string;
  readonly errors: ErrorsDeclaration;
  readonly conditional: boolean;
}

/** Largest page that is read, 16 MiB: the rest is not waited for. */
const MAX_BYTES = 16_777_216;

/** Being refused a list says nothing about the headers, nor about any run. */
const NOT_OFFERED = [400, 403, 404, 405, 410, 422, 501];

/** What a list is read with. */
type ListContext = Pick<SourceClientOptions, 'onUnreadField'> & Pick<ReadContext, 'redact'>;

type Question = Pick<ListQuestion, 'page' | 'size'>;

/** Reads pages of the list of one source. */
export class ListReader {
  private readonly mapping: ListMapping;
  private readonly template: RequestTemplate;
  private readonly hasPages: boolean;
  private readonly isSized: boolean;
  private readonly errors: ErrorsDeclaration;
  private readonly remembered: RememberedDocuments | undefined;
  /** What was said to be unread. */
  private readonly unread = new Set<string>();

  constructor(
    source: ListedSource,
    private readonly list: ListRequestDeclaration,
    private readonly context: ListContext,
  ) {
    const { errors, run, id, conditional } = source;
    const { redact } = context;
    this.mapping = new ListMapping(list, run, idTemplateOf(id), new RunMapping(source, redact));
    this.template = requestTemplateOf(list.get, PAGE_PARTS);
    this.hasPages = hasPages(list.get);
    this.isSized = list.get.includes('{size}');
    this.errors = { ...errors, gone: [...errors.gone, ...NOT_OFFERED] };
    this.remembered = conditional ? new RememberedDocuments() : undefined;
  }

  async readPage(
    send: SendForDocument,
    { page, size: wanted }: ListQuestion,
  ): Promise<ListOutcome> {
    const question = { page, size: this.isSized ? wanted : this.list.size };
    const answer = await this.read(send, question, this.remembered);
    return answer.kind === 'document' ? this.pageOf(answer, question) : answer;
  }

  /** The smallest page shows whether the source answers. */
  async probe(send: SendForDocument): Promise<ProbeOutcome> {
    const answer = await this.read(send, { page: 1, size: 1 });
    return answer.kind === 'document' ? { kind: 'answered' } : answer;
  }

  forget(): void {
    this.remembered?.clear();
  }

  private async read(send: SendForDocument, question: Question, remembered?: RememberedDocuments) {
    const { errors } = this;
    const { tree } = this.mapping;
    const answer = await readDocument(send, {
      kind: 'list',
      path: this.pathOf(question),
      tree,
      errors,
      limits: { bytes: MAX_BYTES, items: question.size },
      mayRepeat: false,
      remembered,
    });
    return answer.kind === 'gone' ? notOffered(answer.status) : answer;
  }

  private pathOf({ page, size }: Question): string {
    return fillTemplate(this.template, {
      size: String(size),
      page: String(page - 1 + this.list.first_page),
      offset: String((page - 1) * size),
    });
  }

  private pageOf(
    { list, bytes }: Extract<ReadDocument, { kind: 'document' }>,
    { size }: Question,
  ): ListOutcome {
    if (list === null) return invalid(`${this.list.items} (list.items): no list stands there`);
    const { items, cutBy } = list;
    if (this.hasPages && cutBy === 'count') {
      return invalid(`list: more than the ${size} items of a page, so that pages overlap`);
    }
    if (this.hasPages && !this.isSized && cutBy === 'bytes') {
      return invalid(`the page is too large: given up after ${bytes} bytes`);
    }
    const { runs, unread } = this.mapping.runsOf(items);
    this.note(unread);
    // A source that repeats a credential gives no id by it.
    const { redact } = this.context;
    const shown = runs.filter(({ id }) => redact(id) === id);
    if (shown.length === 0 && items.length > 0) {
      return invalid('list: no item has both an id and a status');
    }
    const isLast = this.hasPages && cutBy === null && items.length < size;
    const isCut = this.isSized && cutBy === 'bytes';
    const page: RunPage = { runs: shown, isLast, isCut, bytes };
    return { kind: 'page', page };
  }

  /** Each key is said to be unread once, however many items lack it. */
  private note(keys: readonly string[]): void {
    for (const key of keys) {
      if (this.unread.has(key)) continue;
      this.unread.add(key);
      this.context.onUnreadField?.(key);
    }
  }
}

function notOffered(status: number): Extract<ListOutcome, { kind: 'not_offered' }> {
  const hint = status === 403 ? 'the headers lack the right to list runs' : 'is list.get right?';
  return { kind: 'not_offered', status, message: `status ${status}: ${hint}` };
}
