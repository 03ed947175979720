/** A user has taken a run in hand: no reminders meanwhile. Times are milliseconds since the epoch. */
export interface Acknowledgement {
  by: string;
  comment: string | null;
  at: number;
  /** When it expires; null where only a change of state ends it. */
  until: number | null;
}

/** The acknowledgement if it is still in force. */
export function inForce(acknowledged: Acknowledgement | null, now: number): Acknowledgement | null {
  const until = acknowledged?.until ?? Infinity;
  return until > now ? acknowledged : null;
}

/** What a user says of it. */
export type AcknowledgeRequest = Pick<Acknowledgement, 'by' | 'comment' | 'until'>;

/** The acknowledgement after a request; one that says what is in force already changes nothing. */
export function acknowledgedBy(
  before: Acknowledgement | null,
  request: AcknowledgeRequest | null,
  now: number,
): Acknowledgement | null {
  if (request === null) return null;
  const { by, comment, until } = request;
  const isSame = before?.by === by && before.comment === comment && before.until === until;
  return isSame ? before : { by, comment, at: now, until };
}
