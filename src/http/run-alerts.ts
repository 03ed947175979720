import type { z } from 'zod';
import type { Alerting } from '../alert/alerting.ts';
import type { TokenConfig } from '../config/schema.ts';
import { isSilent } from '../core/alert/failures.ts';
import type { OpenAlert } from '../core/alert/group.ts';
import { groupsOfRun, overflowKey } from '../core/alert/judgement.ts';
import { roleOf, type Rule } from '../core/alert/rule.ts';
import type { WatchHistory } from '../core/watch/timeline.ts';
import { readSent, sentBy } from './alert-detail.ts';
import { shownAlerts } from './alerts.ts';
import { mayConcern } from './auth.ts';
import type { timelineSchema } from './schemas/timeline.ts';

type TimelineAlert = z.output<typeof timelineSchema>['alerts'][number];
type RunHistory = Pick<WatchHistory, 'watch' | 'events'>;

/** Alerts of a run that are shown; of more, those that changed last. */
const MOST_ALERTS = 20;

/** The alerts that go on and have a run among their runs, as far as the token may see them, the newest last. */
export async function alertsOfRun(
  alerting: Alerting,
  history: RunHistory,
  token: TokenConfig | null,
): Promise<TimelineAlert[]> {
  const found = await readAlerts(alerting, history, token);
  if (found.length === 0) return [];
  const alerts = found.map(({ open }) => open.alert);
  const eventIds = alerts.flatMap(({ notified }) => notified.map(({ eventId }) => eventId));
  const [shown, deliveries] = await Promise.all([
    shownAlerts(alerting, alerts, token),
    readSent(alerting.process, new Set(eventIds)),
  ]);
  const sentTo = sentBy(deliveries, token);
  return found.flatMap(({ rule, open }, at) => {
    const alert = shown[at];
    if (alert === undefined) return [];
    const { id, state, acknowledged, suppressed_by, notified } = alert;
    return {
      id,
      rule: rule.name,
      state,
      acknowledged,
      suppressed_by,
      notified: notified.map((one) => Object.assign(one, sentTo(one.event_id, one.endpoint))),
      event_ids: countedOf(rule, open, history),
    };
  });
}

interface RuleAlert {
  rule: Rule;
  open: OpenAlert;
}

async function readAlerts(
  { process, rules: { book } }: Alerting,
  { watch }: RunHistory,
  token: TokenConfig | null,
): Promise<RuleAlert[]> {
  const left = book.leftBy(watch);
  const wanted = new Map<string, Rule>();
  for (const name of left?.rules ?? []) {
    const rule = book.named(name);
    if (left === null || rule === undefined || isSilent(name)) continue;
    for (const key of groupsOfRun(rule, left.event).keys()) wanted.set(key, rule);
    wanted.set(overflowKey(name, watch.source), rule);
  }
  const groups = await process.stores.alerts.groups([...wanted.keys()]);
  return [...wanted]
    .flatMap(([key, rule]) => {
      const open = groups.get(key)?.group?.open;
      return open?.runIds.includes(watch.runId) ? [{ rule, open }] : [];
    })
    .filter(({ open }) => mayConcern(token, open.alert.labels['source'] ?? ''))
    .toSorted((a, b) => a.open.alert.updatedAt - b.open.alert.updatedAt)
    .slice(-MOST_ALERTS);
}

/**
 * The ids of events of a run that its alert has counted. What comes after the run's newest event there is
 * still to be judged; another run of the same id, of another source, has other times.
 */
function countedOf(
  rule: Rule,
  { alert }: OpenAlert,
  { watch: { runId }, events }: RunHistory,
): string[] {
  const matching = events
    .filter(({ type }) => roleOf(rule, type) === 'match')
    .map(({ id, data }) => ({ id, at: Date.parse(data.detected_at) }));
  // Unknown where newer runs have taken its place among those that the rule shows.
  const newestAt = alert.runs.find((run) => run.runId === runId)?.at;
  if (newestAt === undefined) return matching.map(({ id }) => id);
  if (matching.every(({ at }) => at !== newestAt)) return [];
  return matching.filter(({ at }) => at <= newestAt).map(({ id }) => id);
}
