import type { RequestKind } from '../core/source/request.ts';
import type { SourceRequest } from '../fetch/request.ts';
import {
  DocumentBody,
  outcomeOf,
  type Document,
  type DocumentLimits,
  type DocumentOutcome,
  type ErrorsDeclaration,
} from './answer.ts';
import type { RememberedDocuments, RememberedDocument } from './remembered.ts';
import type { PathTree } from './scalar-reader.ts';

/** Sends a request for a document. */
export type SendForDocument = (
  request: SourceRequest<DocumentOutcome>,
  onSent?: () => void,
) => Promise<DocumentOutcome>;

/** A document that is asked for, and what of it is read. */
export interface DocumentQuestion {
  kind: RequestKind;
  /** Below the base URL, query included. */
  path: string;
  tree: PathTree;
  errors: ErrorsDeclaration;
  limits?: DocumentLimits | undefined;
  /** Whether it is asked for again at once after a failure that may pass. */
  mayRepeat: boolean;
  /** What was read last by such requests; absent where nothing is kept. */
  remembered?: RememberedDocuments | undefined;
  onSent?: (() => void) | undefined;
}

export type ReadDocument =
  | ({
      kind: 'document';
      retryAfterMs: number | null;
      /** How many bytes the answer had; 0 where the document was as before. */
      bytes: number;
    } & Document)
  | Exclude<DocumentOutcome, { kind: 'document' | 'unchanged' }>;

/** Reads a document; one that has not changed is as it was. */
export async function readDocument(
  send: SendForDocument,
  question: DocumentQuestion,
): Promise<ReadDocument> {
  const { path, remembered, onSent } = question;
  const known = remembered?.get(path) ?? null;
  const outcome = await send(requestOf(question, known), onSent);
  if (outcome.kind === 'unchanged') return asBefore(known, outcome.retryAfterMs);
  if (outcome.kind !== 'document') return outcome;
  const { tag, ...document } = outcome;
  const { values, list } = document;
  const isWhole = list === null || list.cutBy === null;
  if (tag === null || !isWhole) remembered?.delete(path);
  else remembered?.put(path, { tag, values, list });
  return document;
}

function asBefore(known: RememberedDocument | null, retryAfterMs: number | null): ReadDocument {
  const { values, list } = known ?? { values: [], list: null };
  return { kind: 'document', values, list, retryAfterMs, bytes: 0 };
}

function requestOf(
  { kind, path, tree, errors, limits, mayRepeat }: DocumentQuestion,
  known: RememberedDocument | null,
): SourceRequest<DocumentOutcome> {
  return {
    kind,
    method: 'GET',
    path,
    mayRepeat,
    ...(known !== null && { headers: { 'if-none-match': known.tag } }),
    openAnswer() {
      const body = new DocumentBody(tree, limits);
      return {
        take: body.take,
        read: (reply, { now }) =>
          outcomeOf(reply, body, { errors, isConditional: known !== null, now }),
      };
    },
  };
}
