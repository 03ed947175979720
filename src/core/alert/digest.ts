import { alertId, type Alert, type Digest, type DigestItem, type Notification } from './alert.ts';
import { ownerOf, type Rule } from './rule.ts';

/** Alerts that a digest keeps as a whole; of more it knows how many. */
const MOST_HELD = 50;

/** Alerts that a digest names. */
const MOST_NAMED = 20;

/** An alert that is held while its rule is muted. */
export interface HeldAlert {
  alert: Alert;
  /** Whether a notification of it was sent before the mute. */
  isNotified: boolean;
  /** Its events since. */
  count: number;
  until: number;
  byType: Readonly<Record<string, number>>;
}

/** What the mute intervals of a rule have held. Times are milliseconds since the epoch. */
export interface MuteDigest {
  since: number;
  until: number;
  alerts: HeldAlert[];
  /** Events of alerts beyond those. */
  beyond: number;
  byType: Record<string, number>;
}

/** A digest with one more alert, or with the newer state of one that it has. */
export function withHeld(before: MuteDigest | null, held: HeldAlert, now: number): MuteDigest {
  const digest = before ?? { since: now, until: held.until, alerts: [], beyond: 0, byType: {} };
  const earlier = digest.alerts.find(({ alert }) => alert.id === held.alert.id);
  const byType = { ...digest.byType };
  for (const [type, count] of Object.entries(held.byType)) {
    byType[type] = (byType[type] ?? 0) + count;
  }
  const until = Math.max(digest.until, held.until);
  if (earlier !== undefined) {
    const merged = { ...held, isNotified: earlier.isNotified, count: earlier.count + held.count };
    const alerts = digest.alerts.map((one) => (one === earlier ? merged : one));
    return { ...digest, until, alerts, byType };
  }
  if (digest.alerts.length === MOST_HELD) {
    return { ...digest, until, beyond: digest.beyond + held.count, byType };
  }
  return { ...digest, until, alerts: [...digest.alerts, held], byType };
}

/**
 * The notifications at the end of a mute: one for all alerts that were held, and one for each that was
 * notified before the mute and has resolved since.
 */
export function digestNotifications(digest: MuteDigest, rule: Rule, now: number): Notification[] {
  const { notify } = rule;
  const over = digest.alerts.filter(isOver).map(({ alert }) => endOf(alert, notify));
  const covered = digest.alerts.filter((held) => !isOver(held));
  const [only] = covered;
  if (only === undefined) return over;
  const summary: Digest = {
    reason: 'muted',
    since: digest.since,
    until: digest.until,
    alerts: covered.slice(0, MOST_NAMED).map(({ alert }) => itemOf(alert)),
    byType: digest.byType,
  };
  const isAlone = covered.length === 1 && digest.beyond === 0;
  return [
    ...over,
    {
      notify,
      isRepeat: false,
      escalation: null,
      kind: isAlone && only.isNotified ? ('updated' as const) : ('firing' as const),
      alert: isAlone ? only.alert : together(digest, covered, { rule, now }),
      digest: summary,
    },
  ];
}

function endOf(alert: Alert, notify: readonly string[]): Notification {
  return { kind: 'resolved', alert, notify, isRepeat: false, digest: null, escalation: null };
}

/** Whether the alert was notified before the mute, and has resolved since. */
function isOver({ isNotified, alert }: HeldAlert): boolean {
  return isNotified && alert.state === 'resolved';
}

export function itemOf({ id, labels, state, count, runs }: Alert): DigestItem {
  return { id, labels, state, count, name: runs[0]?.name ?? null };
}

/** Several alerts as one. */
function together(
  digest: MuteDigest,
  covered: readonly HeldAlert[],
  { rule, now }: { rule: Rule; now: number },
): Alert {
  const runs = covered.flatMap(({ alert }) => alert.runs).toSorted((a, b) => b.at - a.at);
  const labels = {};
  return {
    id: alertId(rule.name, labels, `digest ${digest.since} ${digest.until}`),
    rule: rule.name,
    labels,
    state: covered.every(({ alert }) => alert.state === 'resolved') ? 'resolved' : 'firing',
    severity: rule.severity,
    owner: ownerOf(rule, labels, runs),
    annotations: rule.annotations,
    count: covered.reduce((sum, { count }) => sum + count, digest.beyond),
    runs: runs.slice(0, rule.maxRuns),
    startedAt: digest.since,
    updatedAt: now,
    resolvedAt: null,
    acknowledged: null,
    notified: [],
  };
}
