import { isAmong, ruleWants } from '../event/patterns.ts';
import type { AlertEvent } from './rule.ts';
import { valueOf } from '../records.ts';

/** What a silence is about; all that are given must match, of several values one. */
export interface Matchers {
  rule?: readonly string[];
  workflowId?: readonly string[];
  source?: readonly string[];
  /** Event types or families. */
  event?: readonly string[];
  metadata?: Readonly<Record<string, readonly string[]>>;
}

/** Times are milliseconds since the epoch. */
export interface Silence {
  id: string;
  matchers: Matchers;
  startsAt: number;
  until: number;
  by: string;
  comment: string;
  createdAt: number;
  /** The key by which it was created once. */
  key: string | null;
  /** The name of the token that created it; absent for none. */
  token?: string;
}

/** Why no silence is added: there are too many in all, or of its token. */
export type SilenceRefusal = 'full' | 'share';

export type SilenceState = 'pending' | 'active' | 'expired';

export function silenceState({ startsAt, until }: Silence, now: number): SilenceState {
  if (now >= until) return 'expired';
  return now >= startsAt ? 'active' : 'pending';
}

/** What a silence sees of an event. */
export type SilencedEvent = { rule: string } & Pick<AlertEvent, 'type' | 'source' | 'metadata'> & {
    workflowId: string | null;
  };

/** Whether a silence is about an event of a rule. */
export function matchesSilence(matchers: Matchers, event: SilencedEvent): boolean {
  const { rule, workflowId, source, event: types, metadata = {} } = matchers;
  return (
    isAmong(rule, event.rule) &&
    isAmong(workflowId, event.workflowId) &&
    isAmong(source, event.source) &&
    (types === undefined || ruleWants(types, event.type)) &&
    Object.entries(metadata).every(([key, values]) => isAmong(values, valueOf(event.metadata, key)))
  );
}

/** The silences in force that match an event. */
export function silencesOf(
  silences: readonly Silence[],
  event: SilencedEvent,
  now: number,
): Silence[] {
  return silences.filter(
    (one) => silenceState(one, now) === 'active' && matchesSilence(one.matchers, event),
  );
}

/** Until when silences suppress what is about an event; null where none does. */
export function silencedUntil(
  silences: readonly Silence[],
  event: SilencedEvent,
  now: number,
): number | null {
  const ends = silencesOf(silences, event, now).map(({ until }) => until);
  return ends.length === 0 ? null : Math.max(...ends);
}
