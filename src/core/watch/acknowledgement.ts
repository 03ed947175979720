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
