import { formatDuration } from '../time.ts';
import type { EndReason } from './alert.ts';

/** What happens to an alert. Its record has neither its beginning nor silences: these have records of their own. */
export const MOMENT_KINDS = [
  'began',
  'fired',
  'updated',
  'repeated',
  'escalated',
  'digested',
  'silenced',
  'muted',
  'inhibited',
  'acknowledged',
  'unacknowledged',
  'acknowledgement_expired',
  'resolved',
] as const;

type MomentKind = (typeof MOMENT_KINDS)[number];

/** Something that happened to an alert. Times are milliseconds since the epoch. */
export interface Moment {
  kind: MomentKind;
  at: number;
  /** Of several alike in a row, of which this is the last: how many, and when the first was. */
  times?: number;
  firstAt?: number;
  /** The user; of a mute the time interval, of an inhibition the rule of the alert that inhibits. */
  by?: string;
  comment?: string | null;
  until?: number | null;
  /** Of an escalation, ms from the first notification. */
  afterMs?: number;
  /** Why it has ended, where no event of its group says so. */
  reason?: EndReason;
  /** Its notification, and the endpoints that this was for. */
  eventId?: string;
  to?: readonly string[];
}

/** The most moments of an alert that are kept: the first, and the last ones. */
const MOST_MOMENTS = 50;

/** Kinds of which several in a row are one moment. */
const JOINED: ReadonlySet<MomentKind> = new Set(['updated', 'repeated']);

/** Kinds that last, and are found again each time that something would be sent. */
const LASTING: ReadonlySet<MomentKind> = new Set(['muted', 'inhibited']);

/** The moments of an alert with one more. What a user did and the notification of it are one. */
export function withMoment(before: readonly Moment[], moment: Moment): Moment[] {
  const last = before.at(-1);
  const earlier = before.slice(0, -1);
  if (last?.kind !== moment.kind) return bounded([...before, moment]);
  if (LASTING.has(moment.kind) && last.by === moment.by) return [...before];
  if (JOINED.has(moment.kind)) {
    const times = (last.times ?? 1) + 1;
    return [...earlier, { ...moment, times, firstAt: last.firstAt ?? last.at }];
  }
  const isSame = last.at === moment.at && last.eventId === undefined;
  return isSame ? [...earlier, { ...last, ...moment }] : bounded([...before, moment]);
}

function bounded(moments: readonly Moment[]): Moment[] {
  const [first, ...others] = moments;
  return first === undefined ? [] : [first, ...others.slice(1 - MOST_MOMENTS)];
}

const REASONS: Readonly<Record<EndReason, string>> = {
  rule_changed: 'its rule makes it no more',
  quiet: 'nothing has matched for long',
};

/** What a moment says, without its comment and its end: `acknowledged by ana`, `updated 12 times`. */
export function momentText({ kind, by, afterMs, times = 1, reason }: Omit<Moment, 'at'>): string {
  const who = by === undefined ? '' : ` by ${by}`;
  const after = afterMs === undefined ? '' : ` after ${formatDuration(afterMs)}`;
  const many = times === 1 ? '' : ` ${times} times`;
  const why = reason === undefined ? '' : `: ${REASONS[reason]}`;
  return `${WORDS[kind] ?? kind}${after}${who}${many}${why}`;
}

/** What is said otherwise than by its kind. */
const WORDS: Readonly<Partial<Record<MomentKind, string>>> = {
  repeated: 'still firing, repeated',
  digested: 'in the digest of what was held',
  unacknowledged: 'acknowledgement taken back',
  acknowledgement_expired: 'acknowledgement expired',
};
