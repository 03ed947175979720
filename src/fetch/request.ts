import type { RequestKind } from '../core/source/request.ts';
import type { Reply, TakePiece } from './transport.ts';

/** A request to a source: how it is sent, and how its answer is read. */
export interface SourceRequest<Outcome> {
  readonly kind: RequestKind;
  readonly method: 'GET' | 'POST';
  /** Below the base URL, query included. */
  readonly path: string;
  /** Sent as JSON; absent, nothing is. */
  readonly body?: object;
  /** Sent beside the headers of the source. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether it is sent again at once after a failure that may pass: never what changes something. */
  readonly mayRepeat: boolean;
  /** Begins to take in an answer; each attempt has its own. */
  openAnswer(): Intake<Outcome>;
}

/** Takes in the body of an answer while it comes, and reads it at its end. */
export interface Intake<Outcome> {
  take: TakePiece;
  read: (reply: Reply, context: ReadContext) => Outcome;
}

/** What an answer is read by, besides the question. */
export interface ReadContext {
  /** Takes the credentials in the headers of the source out of a text, should the answer repeat them. */
  redact: (text: string) => string;
  /** Milliseconds since the epoch. */
  now: number;
  /** Called with the fields that an answer lacks, or has in a form that cannot be read. */
  onUnread: (fields: string[]) => void;
}
