import type { FetchTrouble, PollResult } from '../core/run/snapshot.ts';
import type { ProbeOutcome, ReadOptions, SourcePort } from '../core/source/port.ts';
import {
  fillTemplate,
  idProblemOf,
  ownIdOf,
  splitId,
  type IdParts,
  type IdTemplate,
  type RequestTemplate,
} from '../core/source/run-template.ts';
import { invalid } from '../fetch/body.ts';
import { createSourceClient, type SourceClientOptions } from '../fetch/client.ts';
import type { ErrorsDeclaration } from './answer.ts';
import {
  readDocument,
  type DocumentQuestion,
  type ReadDocument,
  type SendForDocument,
} from './documents.ts';
import { ListReader, type ListRequestDeclaration } from './listing.ts';
import {
  RunMapping,
  type AskedRun,
  type FieldsDeclaration,
  type FirstReading,
  type MappingDeclaration,
  type SecondDeclaration,
} from './mapping.ts';
import { RememberedDocuments } from './remembered.ts';
import { PathTree } from './scalar-reader.ts';
import { idTemplateOf, requestTemplateOf } from './traits.ts';

/** An API of runs with an id and a status, as the configuration declares it. */
export interface SourceDeclaration extends MappingDeclaration {
  readonly id: string;
  readonly run: FieldsDeclaration & { readonly get: string };
  readonly also?: (SecondDeclaration & { readonly get: string }) | undefined;
  readonly list?: ListRequestDeclaration | undefined;
  readonly errors: ErrorsDeclaration;
  readonly conditional: boolean;
  readonly probe?: string | undefined;
}

interface DeclaredOptions extends SourceClientOptions {
  declaration: SourceDeclaration;
}

/**
 * Opens an API that the configuration declares. Nothing is sent before it is asked.
 * @throws RunwatchError `invalid_source` when no request could ever be made with these options
 */
export function openDeclared(options: DeclaredOptions): SourcePort {
  const client = createSourceClient(options);
  const { now = Date.now } = options;
  const { declaration } = options;
  const reader = new RunReader(declaration, now, client.redact);
  const { probe, list } = declaration;
  const lists =
    list === undefined
      ? null
      : new ListReader(declaration, list, { ...options, redact: client.redact });
  const probeOnce =
    probe === undefined
      ? lists && (() => client.call((send) => lists.probe(send)))
      : () => client.call((send) => reader.probe(send, probe));
  return {
    readRun: (runId, { signal, ...call } = {}) =>
      client.call((send) => reader.readRun(send, runId, call), signal && { signal }),
    probe: probeOnce,
    readPage: lists && ((question) => client.call((send) => lists.readPage(send, question))),
    streams: null,
    names: null,
    stop: null,
    useHeaders(headers) {
      client.useHeaders(headers);
      // Other users may be shown other runs.
      reader.forget();
      lists?.forget();
    },
    close: () => client.close(),
  };
}

/** Reads runs of one source by one or two requests each. */
export class RunReader {
  readonly mapping: RunMapping;
  private readonly ids: IdTemplate;
  private readonly first: RequestTemplate;
  private readonly second: RequestTemplate | null;
  /** What was read last by the first requests, and by the second ones; null where nothing is kept. */
  private readonly remembered: { first: RememberedDocuments; second: RememberedDocuments } | null;

  constructor(
    private readonly declaration: SourceDeclaration,
    private readonly now: () => number,
    redact: (text: string) => string,
  ) {
    const { id, run, also, conditional } = declaration;
    this.mapping = new RunMapping(declaration, redact);
    this.ids = idTemplateOf(id);
    this.first = requestTemplateOf(run.get, this.ids);
    this.second = also === undefined ? null : requestTemplateOf(also.get, this.ids);
    this.remembered = conditional
      ? { first: new RememberedDocuments(), second: new RememberedDocuments() }
      : null;
  }

  async readRun(
    send: SendForDocument,
    runId: string,
    { onSent, onSecond, before = null }: Omit<ReadOptions, 'signal'>,
  ): Promise<PollResult> {
    const parts = splitId(this.ids, runId);
    if (parts === null) return { kind: 'rejected', message: idProblemOf(this.ids, runId) ?? '' };
    const path = fillTemplate(this.first, parts);
    const { tree } = this.mapping;
    const remembered = this.remembered?.first;
    const answer = await this.read(send, { path, tree, remembered, onSent });
    if (answer.kind === 'gone') return { kind: 'not_found' };
    if (answer.kind !== 'document') return answer;
    const asked = { runId, ownId: ownIdOf(this.ids, parts), before };
    const reading = this.mapping.readFirst(answer.values, asked);
    if ('problem' in reading) return invalid(reading.problem);
    const seen = await this.readAgain(send, reading, { parts, ownId: asked.ownId, onSecond });
    if ('kind' in seen) return seen;
    return this.seenRun(seen, { ...asked, now: this.now() }, answer.retryAfterMs);
  }

  async probe(send: SendForDocument, path: string): Promise<ProbeOutcome> {
    const outcome = await this.read(send, { path: path.slice(1), tree: NO_PATHS });
    if (outcome.kind === 'document') return { kind: 'answered' };
    if (outcome.kind !== 'gone') return outcome;
    return { kind: 'unavailable', message: `status ${outcome.status}: is the probe right?` };
  }

  forget(): void {
    this.remembered?.first.clear();
    this.remembered?.second.clear();
  }

  /** Both answers make the observation, or neither does. */
  private async readAgain(
    send: SendForDocument,
    first: FirstReading,
    {
      parts,
      ownId,
      onSecond,
    }: { parts: IdParts; ownId: string; onSecond: (() => void) | undefined },
  ): Promise<FirstReading | FetchTrouble> {
    if (this.second === null || !this.mapping.needsSecond(first)) return first;
    onSecond?.();
    const path = fillTemplate(this.second, parts);
    const { secondTree: tree } = this.mapping;
    const answer = await this.read(send, { path, tree, remembered: this.remembered?.second });
    if (answer.kind === 'document') {
      return this.mapping.withSecond(first, answer.values, { ownId });
    }
    return answer.kind === 'gone'
      ? { kind: 'unavailable', message: `also: status ${answer.status}` }
      : { ...answer, message: `also: ${answer.message}` };
  }

  private seenRun(seen: FirstReading, asked: AskedRun, retryAfterMs: number | null): PollResult {
    const { run, workflowName } = this.mapping.runOf(seen, asked);
    return {
      kind: 'run',
      run,
      ...(workflowName !== null && { workflowName }),
      ...(retryAfterMs !== null && { retryAfterMs }),
    };
  }

  private read(
    send: SendForDocument,
    question: Pick<DocumentQuestion, 'path' | 'tree' | 'remembered' | 'onSent'>,
  ): Promise<ReadDocument> {
    const { errors } = this.declaration;
    return readDocument(send, { ...question, errors, kind: 'run', mayRepeat: true });
  }
}

/** Nothing of an answer to a probe is kept. */
const NO_PATHS = new PathTree();
