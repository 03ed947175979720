/**
 * A user has taken a run or an alert in hand. While that is in force, no reminders of the run's wait are sent, and
 * what needs a person (`http/attention`) leaves the run out. It ends at its time, when the user takes it back, or with
 * the state of the run, by what an observation finds (`observe.ts`) and by what ends a watch (`withChangedState` in
 * `watch.ts`). What it means for an alert is said by `core/alert/group.ts`. Times are milliseconds since the epoch.
 */
export interface Acknowledgement {
  by: string;
  comment: string | null;
  at: number;
  /** When it expires; null where only a change of state ends it. */
  until: number | null;
}

/** The acknowledgement if it is still in force. */
export function inForce(acknowledged: Acknowledgement | null, now: number): Acknowledgement | null {
  return expiryOf(acknowledged) > now ? acknowledged : null;
}

/** When it ends by itself; Infinity for never. */
export function expiryOf(acknowledged: Acknowledgement | null): number {
  return acknowledged?.until ?? Infinity;
}

/** The acknowledgement after a poll. @param isSameState whether the run is in the state that it was in before */
export function acknowledgedAfter(
  before: Acknowledgement | null,
  isSameState: boolean,
  now: number,
): Acknowledgement | null {
  return isSameState ? inForce(before, now) : null;
}

/** After which times of a wait reminders are sent, ms: none while it is acknowledged. */
export function remindersUnder(
  acknowledged: Acknowledgement | null,
  remindAfterMs: readonly number[],
): readonly number[] {
  return acknowledged === null ? remindAfterMs : [];
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
