import { suppressedText } from '../core/alert/suppression.ts';
import { groupBy } from '../core/arrays.ts';
import { isOutstanding } from '../core/delivery/state.ts';
import { valueOf } from '../core/records.ts';
import { placeText } from '../core/run/nodes.ts';
import { isAwaiting, isKnownStatus, percentText, timeOf, workBegan } from '../core/run/snapshot.ts';
import { shortText, spanText } from '../core/time.ts';
import type { EndpointView, EventView, TimelineView, WatchView } from './types.ts';

type Delivery = TimelineView['deliveries'][number];
type Alert = TimelineView['alerts'][number];
type Run = NonNullable<WatchView['run']>;

/** All that a sentence about a run is made of. */
export interface RunFacts {
  watch: WatchView;
  /** Null where the daemon keeps none. */
  timeline: TimelineView | null;
  /** By these an endpoint that takes nothing now is explained; of those that are not here, less is said. */
  endpoints: readonly EndpointView[];
  /** Milliseconds since the epoch. */
  now: number;
}

/** An endpoint, and the delivery by which it is notified of how the run stands. */
export interface NotifiedEndpoint {
  endpoint: string;
  /** Null where it is not known. */
  deliveryId: string | null;
  /** The alert that notifies it; null where the watch does. */
  alert: Pick<Alert, 'id' | 'rule'> | null;
}

/** One that has not been notified. */
export interface MissedEndpoint extends NotifiedEndpoint {
  /** Such as `waiting, next try in 8 min`. */
  why: string;
}

/** What happened to a run, where, and which endpoints know: its page and `show` begin with it. */
export interface RunSentence {
  /** `Failed`, before the place. */
  what: string;
  /** The nodes where it failed or stands; null where none is known. */
  place: string | null;
  /** What follows the place, such as ` after 6 s`; empty for nothing. */
  rest: string;
  /** Further sentences about the run, without their full stops. */
  notes: string[];
  notified: NotifiedEndpoint[];
  missed: MissedEndpoint[];
  /** What is said of endpoints where none of them is meant; null where some are, or nothing is known. */
  unsent: string | null;
}

/** A change that endpoints may be notified of, and how it is said. */
interface Course extends Pick<RunSentence, 'what' | 'rest' | 'notes'> {
  /** The type of the event that says so; null where none does. */
  event: string | null;
  /** A run goes on as it should: endpoints need not have been notified of that. */
  isUsual?: true;
}

/** The sentence about a run, in parts that a page can link and set off. */
export function runSentence(facts: RunFacts): RunSentence {
  const { watch, timeline } = facts;
  const events = presentAttempt(timeline?.events ?? []);
  const place = placeOf(watch.run, events);
  const { event, isUsual, what, rest, notes } = courseOf(facts, events, place);
  const about = event === null ? [] : lastOf(events, event);
  const ids = new Set(about.map(({ id }) => id));
  const deliveries = timeline?.deliveries.filter(({ event_id: id }) => ids.has(id)) ?? [];
  const byWatch = sentByWatch(deliveries, facts);
  const alerts = (timeline?.alerts ?? []).map((alert) => sentByAlert(alert, about, facts.now));
  const all = [byWatch, ...alerts];
  const notified = onePerEndpoint(all.flatMap((one) => one.notified));
  const known = new Set(notified.map(({ endpoint }) => endpoint));
  const missed = onePerEndpoint(all.flatMap((one) => one.missed)).filter(
    ({ endpoint }) => !known.has(endpoint),
  );
  const isSent = notified.length + missed.length > 0;
  return {
    what,
    place,
    rest,
    notes: [...alerts.flatMap(({ note }) => note ?? []), ...notes, ...acknowledgedNote(facts)],
    notified,
    missed,
    unsent: isSent ? null : unsentText(facts, about, isUsual === true),
  };
}

interface Sent {
  notified: NotifiedEndpoint[];
  missed: MissedEndpoint[];
}

function sentByWatch(deliveries: readonly Delivery[], facts: RunFacts): Sent {
  const sent: Sent = { notified: [], missed: [] };
  for (const [endpoint, its] of groupBy(deliveries, (one) => one.endpoint)) {
    const taken = its.find(isTaken);
    const last = its.at(-1);
    if (taken !== undefined) sent.notified.push({ endpoint, deliveryId: taken.id, alert: null });
    else if (last !== undefined) {
      const why = whyMissed(last, facts);
      sent.missed.push({ endpoint, deliveryId: last.id, alert: null, why });
    }
  }
  return sent;
}

/** What an alert has sent since the first of some events; a note where that is nothing. */
function sentByAlert(
  alert: Alert,
  about: readonly EventView[],
  now: number,
): Sent & { note: string | null } {
  const counted = about.find(({ id }) => alert.event_ids.includes(id));
  if (counted === undefined) return { notified: [], missed: [], note: null };
  const since = Date.parse(counted.data.detected_at);
  const sent = alert.notified.filter(({ at }) => Date.parse(at) >= since);
  const { id, rule } = alert;
  const toEndpoint = ({ endpoint, delivery_id: deliveryId }: Alert['notified'][number]) => {
    return { endpoint, deliveryId, alert: { id, rule } };
  };
  return {
    notified: sent.filter((one) => one.delivery_state === 'delivered').map(toEndpoint),
    missed: sent
      .filter((one) => one.delivery_state !== null && one.delivery_state !== 'delivered')
      .map((one) => Object.assign(toEndpoint(one), { why: one.delivery_text })),
    note:
      sent.length > 0
        ? null
        : `Alert ${rule} has notified no endpoint of it ${whySuppressed(alert, now)}`,
  };
}

/** What keeps the notifications of an alert back: `while silenced by ana, for another 2 h`. */
function whySuppressed({ acknowledged, suppressed_by: by }: Alert, now: number): string {
  const reasons = by.map((one) => `${suppressedText(one)}${endText(one.until, now)}`);
  if (acknowledged !== null) {
    reasons.push(`acknowledged by ${acknowledged.by}${endText(acknowledged.until, now)}`);
  }
  return reasons.length === 0 ? 'yet' : `while ${reasons.join(' and ')}`;
}

function onePerEndpoint<One extends NotifiedEndpoint>(all: readonly One[]): One[] {
  const known = new Set<string>();
  return all.filter(({ endpoint }) => known.size < known.add(endpoint).size);
}

/** The whole sentence as text: `Failed at Write summary after 6 s. Notified: chat. Not notified: …`. */
export function runSentenceText(facts: RunFacts): string {
  const { what, place, rest, notes, notified, missed, unsent } = runSentence(facts);
  const at = place === null ? '' : ` at ${place}`;
  return [
    `${what}${at}${rest}`,
    ...(notified.length === 0 ? [] : [`Notified: ${endpointsText(notified, () => '')}`]),
    ...(missed.length === 0
      ? []
      : [`Not notified: ${endpointsText(missed, ({ why }) => ` (${why})`)}`]),
    ...(unsent === null ? [] : [unsent]),
    ...notes,
  ]
    .map((part) => `${part}.`)
    .join(' ');
}

/** Endpoints that a sentence names; of more it says how many. */
export const MOST_NAMED = 8;

function listText(names: readonly string[], separator = ', '): string {
  const more = names.length - MOST_NAMED;
  return names.slice(0, MOST_NAMED).join(separator) + (more > 0 ? ` and ${more} more` : '');
}

function endpointsText<One extends NotifiedEndpoint>(
  all: readonly One[],
  whyOf: (one: One) => string,
): string {
  const names = all.map((one) => {
    const by = one.alert === null ? '' : ` by alert ${one.alert.rule}`;
    return `${one.endpoint}${by}${whyOf(one)}`;
  });
  return listText(names, endpointSeparator(all));
}

/** What stands between endpoints: `ops; chat by alert failed-runs` leaves no doubt which one the alert notifies. */
export function endpointSeparator(all: readonly NotifiedEndpoint[]): string {
  return all.some(({ alert }) => alert !== null) ? '; ' : ', ';
}

/** The events since the run was begun again, or all. */
function presentAttempt(events: readonly EventView[]): readonly EventView[] {
  return events.slice(Math.max(0, lastIndexOf(events, ['run.restarted'])));
}

function lastIndexOf(events: readonly EventView[], types: readonly string[]): number {
  return events.findLastIndex(({ type }) => types.includes(type));
}

/** By which of these events a run leaves what an event of a type says, so that an earlier one is over. */
const LEFT_BY: Readonly<Record<string, readonly string[]>> = {
  'run.awaiting_human_feedback': ['run.resumed'],
  'run.stalled': ['run.recovered'],
  'watch.unreachable': ['watch.recovered'],
};

/** The events of a type that say how the run stands; the first and its reminders. */
function lastOf(events: readonly EventView[], type: string): readonly EventView[] {
  const left = lastIndexOf(events, LEFT_BY[type] ?? []);
  return events.slice(left + 1).filter((event) => event.type === type);
}

function placeOf(run: Run | null, events: readonly EventView[]): string | null {
  if (run?.status === 'completed') return null;
  const nodes = events.findLast(({ data }) => data.nodes)?.data.nodes;
  return nodes ? placeText(nodes, (name) => name) : null;
}

function courseOf(facts: RunFacts, events: readonly EventView[], place: string | null): Course {
  const { watch, now } = facts;
  const { run, state, error } = watch;
  const ago = `${shortText(now - Date.parse(watch.changed_at))} ago`;
  switch (state) {
    case 'finished':
      return run === null ? { what: 'Ended', rest: '', notes: [], event: null } : ended(run, place);
    case 'gone':
      return {
        ...lastSeen(`Gone ${ago}`, run),
        notes: error === null ? [] : [unstopped(error.message)],
        event: 'run.gone',
      };
    case 'expired':
      return { ...lastSeen(`Watch expired ${ago}`, run), notes: [LOST], event: 'watch.expired' };
    case 'cancelled':
      return { ...lastSeen(`Unwatched ${ago}`, run), notes: [LOST], event: null };
    case 'active':
      return error === null ? goingOn(facts, events) : inTrouble(facts, events, error);
  }
}

const LOST = 'What became of the run since is not known';

function ended(run: Run, place: string | null): Course {
  const { status, progress, finished_at: finished } = run;
  const [began, end] = [workBegan(run), timeOf(finished)];
  const after = began === null || end === null ? '' : ` after ${spanText(end - began)}`;
  const isCut = place === null && progress !== null && status !== 'completed';
  const at = isCut ? ` at ${percentText(progress, ' %')}` : '';
  const rest = `${at}${after}${attemptText(run)}`;
  return { what: capital(status), rest, notes: [], event: `run.${status}` };
}

/** A run that is watched, and can be read. */
function goingOn({ watch, now }: RunFacts, events: readonly EventView[]): Course {
  const { run } = watch;
  const since = ` for ${shortText(now - Date.parse(watch.changed_at))}`;
  if (run === null) {
    return { what: 'Not polled yet', rest: '', notes: [], event: null, isUsual: true };
  }
  const status = run.status.replaceAll('_', ' ');
  const details = `${progressText(run)}${attemptText(run)}`;
  const rest = details === '' ? since : `${details},${since}`;
  if (isAwaiting(run.status)) {
    const isHuman = run.status === 'awaiting_human_feedback';
    const what = isHuman ? 'Waiting for a human' : `Waiting (${status})`;
    return { what, rest, notes: [], event: 'run.awaiting_human_feedback' };
  }
  if (lastOf(events, 'run.stalled').length > 0) {
    return { what: `Stalled while ${status}`, rest, notes: [], event: 'run.stalled' };
  }
  const isAgain = events[0]?.type === 'run.restarted';
  const event = events.findLast(({ type }) => type !== 'run.progress')?.type ?? null;
  return {
    what: isAgain ? `Begun again, ${status}` : capital(status),
    rest,
    notes: isKnownStatus(run.status) ? [] : ['runwatch does not know this status'],
    event,
    isUsual: true,
  };
}

/** What a source does by which a run cannot be read; all else is no answer about it. */
const REFUSALS: Readonly<Record<string, string>> = {
  unauthorized: 'Refused by its source',
  forbidden: 'Refused by its source',
  not_found: 'Not found by its source',
  rejected: 'Rejected by its source',
};

/** A run that cannot be read now; that leads once it is more than a hiccup. */
function inTrouble(
  facts: RunFacts,
  events: readonly EventView[],
  { code, message, since }: NonNullable<WatchView['error']>,
): Course {
  const { run } = facts.watch;
  const length = shortText(facts.now - Date.parse(since));
  const refusal = valueOf(REFUSALS, code);
  const isUnreachable = lastOf(events, 'watch.unreachable').length > 0;
  if (run !== null && refusal === undefined && !isUnreachable) {
    const note = `No answer about it for ${length}: ${unstopped(message)}`;
    return { ...goingOn(facts, events), notes: [note] };
  }
  return {
    ...lastSeen(`${refusal ?? 'No answer about it'} for ${length}`, run),
    notes: [unstopped(message)],
    event: 'watch.unreachable',
  };
}

/** How the run stood when it was last seen. */
function lastSeen(what: string, run: Run | null): Pick<Course, 'what' | 'rest'> {
  if (run === null) return { what: `${what}, never seen`, rest: '' };
  const status = run.status.replaceAll('_', ' ');
  return { what: `${what}, last seen ${status}`, rest: progressText(run) };
}

function progressText({ progress }: Run): string {
  return progress === null ? '' : `, ${percentText(progress, ' %')}`;
}

function attemptText({ attempt = 1 }: Run): string {
  return attempt > 1 ? `, attempt ${attempt}` : '';
}

function capital(status: string): string {
  const text = status.replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function unstopped(message: string): string {
  return message.replace(/\.\s*$/, '');
}

function acknowledgedNote({ watch: { acknowledged }, now }: RunFacts): string[] {
  if (acknowledged === null) return [];
  const { by, at, comment, until } = acknowledged;
  const why = comment === null ? '' : `: ${unstopped(comment)}`;
  const ago = shortText(now - Date.parse(at));
  return [`Acknowledged by ${by} ${ago} ago${endText(until, now)}${why}`];
}

function endText(until: string | null, now: number): string {
  return until === null ? '' : `, for another ${shortText(Date.parse(until) - now)}`;
}

function isTaken({ state, attempts }: Delivery): boolean {
  return state === 'delivered' || attempts.some(({ error }) => error === null);
}

/** Why an endpoint has not been notified, and when that is tried next. */
function whyMissed(delivery: Delivery, facts: Pick<RunFacts, 'endpoints' | 'now'>): string {
  const { state, attempt_count: attempts } = delivery;
  if (isOutstanding(state)) return waitingText(delivery, facts);
  if (state === 'dead') {
    return `given up after ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}`;
  }
  return state === 'superseded'
    ? 'left out, the run had moved on'
    : 'left out, it was disabled or is not configured any more';
}

/**
 * How a delivery waits that is still to be attempted: `waiting, next try in 8 min`.
 * @param facts.endpoints say whether its endpoint takes deliveries now
 */
function waitingText(
  { endpoint, next_attempt_at: due }: Pick<Delivery, 'endpoint' | 'next_attempt_at'>,
  { endpoints, now }: Pick<RunFacts, 'endpoints' | 'now'>,
): string {
  const health = endpoints.find(({ name }) => name === endpoint)?.health;
  if (health?.state === 'paused' || health?.state === 'disabled') {
    return `waiting, it is ${health.state}`;
  }
  const times = [health?.next_probe_at ?? due, health?.throttled_until];
  const next = Math.max(
    ...times.flatMap((at) => (at === null || at === undefined ? [] : [Date.parse(at)])),
  );
  if (!Number.isFinite(next)) return 'waiting';
  return next - now < 1_000
    ? 'waiting, next try now'
    : `waiting, next try in ${shortText(next - now)}`;
}

/** What is said where nothing was sent. */
function unsentText(
  { watch, timeline }: RunFacts,
  about: readonly EventView[],
  isUsual: boolean,
): string | null {
  if (!isUsual)
    return about.length > 0 && timeline?.truncated === false
      ? 'Sent to no endpoint of the watch'
      : null;
  const names = watch.subscriptions.map((one) => ('endpoint' in one ? one.endpoint : one.url));
  return names.length === 0 ? 'Notifies no endpoint' : `Notifies ${listText(names)}`;
}
