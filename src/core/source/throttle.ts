/** Longest pause that a source is granted by `Retry-After`; then one run is tried, ms. */
const LONGEST_PAUSE_MS = 900_000;

/** How long a source is left alone that asks for a pause without saying how long, ms. */
const DEFAULT_PAUSE_MS = 5_000;

/** A pause longer than this is worth an event, ms. */
const NOTABLE_PAUSE_MS = 60_000;

/** So many answers in a row, from as many runs, say something of the source as a whole. */
const ROW = 10;

/** Different runs that a source refuses before the key counts as refused. */
const REFUSED_RUNS = 3;

/** A row that comes within this time may be one hiccup, ms. */
const LEAST_ROW_MS = 2_000;

/** While the source has answered within this time, a 404 or 403 is a word on its run alone, ms. */
const ANSWERED_MS = 60_000;

/** When a source that does not answer is probed after it closed, and after each failed probe, ms. */
const PROBE_DELAYS_MS = [1_000, 2_000, 4_000, 8_000, 10_000];

/** Every so many probes ask for the list in place of a run: the runs that were tried may be deleted. */
const PROBES_PER_LIST = 3;

/** An answer of a source, as far as it says something of the source as a whole. */
export type SourceAnswer =
  /** A run, or a page of a list. */
  | { kind: 'valid' }
  /** 401 */
  | { kind: 'unauthorized'; message: string }
  /** 429, or 503 with `Retry-After` */
  | { kind: 'rate_limited'; retryAfterMs: number | null; message: string }
  /** What may concern one run alone, while the source answers for others. */
  | { kind: 'missing' | 'forbidden'; about: string; message: string }
  /** What is no answer of Noxus. */
  | { kind: 'trouble'; about: string; message: string };

/** Why nothing but probes is asked of a source. Times are milliseconds since the epoch. */
export interface ClosedSource {
  reason: 'unauthorized' | 'rate_limited' | 'unreachable';
  message: string;
  /** When it closed: answers to what was asked before do not count as those of probes. */
  at: number;
  /** When the next request may be made, one at a time; an integer. */
  probeAt: number;
  failedProbes: number;
}

/** What became known of a source. Times are milliseconds since the epoch. */
export interface SourceNews {
  type: 'source.unauthorized' | 'source.throttled' | 'source.unreachable' | 'source.recovered';
  since: number;
  message: string;
  /** When it is tried again; null where it answers. */
  until: number | null;
  at: number;
}

/** What is known of a source that does not simply answer. */
export interface SourceState {
  /** When the first answer came that was not valid, with none that was since. */
  since: number;
  /** Answers in a row that were not valid, the latest last: what each was about. */
  row: { about: string; isForbidden: boolean }[];
  closed: ClosedSource | null;
  /** What was said of it, each once, until it answers. */
  said: SourceNews['type'][];
  /** What is to be said and may not have been: the process that has to may have died. */
  unsaid: SourceNews[];
}

export interface ThrottlePolicy {
  /** How often a source that refuses the key is tried again, ms. */
  unauthorizedProbeMs: number;
  /** How long a source may give no valid answer before that is said, ms. */
  unreachableAfterMs: number;
}

export interface AnswerContext {
  policy: ThrottlePolicy;
  now: number;
  /** When the request was made that was answered. */
  askedAt: number;
  /** When the source last gave a valid answer; null where that is not known. */
  answeredAt: number | null;
  /** How many watches of the source are active. */
  active: number;
}

/**
 * What becomes of a source by one answer: the judge of 401, 403, 429, and of trouble, 404 and 403 en
 * masse. An outage is the source's, not each run's: nothing is asked then but one probe at a time.
 * @param state null for a source that answers
 */
export function afterAnswer(
  state: SourceState | null,
  answer: SourceAnswer,
  context: AnswerContext,
): SourceState | null {
  switch (answer.kind) {
    case 'valid':
      return afterValid(state, context);
    case 'unauthorized':
      return close(state, refusal(answer.message, context), context);
    case 'rate_limited':
      return afterRateLimited(state, answer, context);
    case 'missing':
    case 'forbidden':
    case 'trouble':
      return afterTrouble(state, answer, context);
  }
}

/** Whether the probe that is due asks for the source's list in place of a run. */
export function isListProbe({ failedProbes }: Pick<ClosedSource, 'failedProbes'>): boolean {
  return (failedProbes + 1) % PROBES_PER_LIST === 0;
}

/** The state once some of its news has been said; null where nothing is left to be known. */
export function withSaid(state: SourceState, said: readonly SourceNews[]): SourceState | null {
  const unsaid = state.unsaid.filter(
    ({ type, at }) => !said.some((one) => one.type === type && one.at === at),
  );
  const isOver = unsaid.length === 0 && state.closed === null && state.row.length === 0;
  return isOver ? null : { ...state, unsaid };
}

/** The state without its pause: everything may be asked again. */
export function resumed(state: SourceState): SourceState {
  return { ...state, closed: null, row: [] };
}

function afterValid(state: SourceState | null, context: AnswerContext): SourceState | null {
  const { now } = context;
  if (state === null || isBeforePause(state.closed, context)) return state;
  const wasSaid = state.said.includes('source.unreachable');
  const recovered: SourceNews = {
    type: 'source.recovered',
    since: state.since,
    message: 'Noxus answers again',
    until: null,
    at: now,
  };
  const unsaid = wasSaid ? [...state.unsaid, recovered] : state.unsaid;
  if (unsaid.length === 0) return null;
  return { since: state.since, row: [], closed: null, said: [], unsaid };
}

/** What was asked before a source refused more, and answered after, does not take that back. */
function isBeforePause(closed: ClosedSource | null, { askedAt }: AnswerContext): boolean {
  return closed !== null && closed.reason !== 'unreachable' && askedAt < closed.at;
}

function refusal(message: string, { policy, now }: AnswerContext): ClosedSource {
  const probeAt = Math.ceil(now + policy.unauthorizedProbeMs);
  return { reason: 'unauthorized', message, at: now, probeAt, failedProbes: 0 };
}

function afterRateLimited(
  state: SourceState | null,
  { retryAfterMs, message }: Extract<SourceAnswer, { kind: 'rate_limited' }>,
  context: AnswerContext,
): SourceState {
  const { now } = context;
  const probeAt = Math.ceil(now + grantedPauseMs(retryAfterMs));
  return close(
    state,
    { reason: 'rate_limited', message, at: now, probeAt, failedProbes: 0 },
    context,
  );
}

/**
 * Closes a source; one that has closed for longer stays closed for as long, and one that closes again
 * for the same reason has been closed since the first time.
 */
function close(
  state: SourceState | null,
  closed: ClosedSource,
  context: AnswerContext,
): SourceState {
  const before = state ?? newState(context.now);
  const isLonger = (before.closed?.probeAt ?? 0) > closed.probeAt;
  const at = before.closed?.reason === closed.reason ? before.closed.at : closed.at;
  const next = { ...before, row: [], closed: isLonger ? before.closed : { ...closed, at } };
  return saying(next, context);
}

/** For how long a source is left alone that asks for a pause. */
export function grantedPauseMs(retryAfterMs: number | null): number {
  return Math.min(Math.max(retryAfterMs ?? DEFAULT_PAUSE_MS, 0), LONGEST_PAUSE_MS);
}

function newState(now: number): SourceState {
  return { since: now, row: [], closed: null, said: [], unsaid: [] };
}

function afterTrouble(
  state: SourceState | null,
  answer: Extract<SourceAnswer, { about: string }>,
  context: AnswerContext,
): SourceState | null {
  const { now, askedAt } = context;
  if (state?.closed) {
    if (askedAt < state.closed.at) return state;
    const closed = afterProbe(state.closed, answer, context);
    return saying({ ...state, closed }, context);
  }
  if (answer.kind === 'missing' && hasAnswered(context)) return state;
  const before = state ?? newState(now);
  const entry = { about: answer.about, isForbidden: answer.kind === 'forbidden' };
  const row = [...before.row, entry].slice(-ROW);
  const next = { ...before, row };
  if (now - before.since < LEAST_ROW_MS) return next;
  if (isRefused(row, context)) return close(next, refusal(answer.message, context), context);
  if (!isOutage(row, context)) return next;
  const probeAt = Math.ceil(now + probeDelay(0));
  const closed = {
    reason: 'unreachable' as const,
    message: answer.message,
    at: now,
    probeAt,
    failedProbes: 0,
  };
  return saying({ ...next, closed }, context);
}

/** A closed source whose probe had no valid answer either; one that had asked for a pause is down now. */
function afterProbe(
  closed: ClosedSource,
  { message }: { message: string },
  { policy, now }: AnswerContext,
): ClosedSource {
  const failedProbes = closed.failedProbes + 1;
  if (closed.reason === 'unauthorized') {
    return { ...closed, failedProbes, probeAt: Math.ceil(now + policy.unauthorizedProbeMs) };
  }
  const probeAt = Math.ceil(now + probeDelay(failedProbes));
  return { ...closed, reason: 'unreachable', message, failedProbes, probeAt };
}

function probeDelay(failedProbes: number): number {
  return PROBE_DELAYS_MS[Math.min(failedProbes, PROBE_DELAYS_MS.length - 1)] ?? 0;
}

function hasAnswered({ answeredAt, now }: AnswerContext): boolean {
  return answeredAt !== null && now - answeredAt < ANSWERED_MS;
}

/** Several different runs are refused, with no valid answer in between: it is the key. */
function isRefused(row: SourceState['row'], { active }: AnswerContext): boolean {
  const refused = new Set(row.filter(({ isForbidden }) => isForbidden).map(({ about }) => about));
  return (
    row.every(({ isForbidden }) => isForbidden) &&
    refused.size >= Math.max(2, Math.min(REFUSED_RUNS, active))
  );
}

/**
 * All of the last answers were trouble, of as many runs as there are. Where some runs are asked so
 * seldom that this would take long, as many answers of fewer runs will do.
 */
function isOutage(row: SourceState['row'], context: AnswerContext): boolean {
  if (row.every(({ isForbidden }) => isForbidden) && hasAnswered(context)) return false;
  const about = new Set(row.map((one) => one.about)).size;
  return about >= Math.min(ROW, Math.max(1, context.active)) || (row.length === ROW && about > 1);
}

/** Adds what is worth saying of a source that is closed, each once until it answers. */
function saying(state: SourceState, { policy, now }: AnswerContext): SourceState {
  const { closed } = state;
  const type = closed && newsOf(state, closed, policy, now);
  if (closed === null || type === null || state.said.includes(type)) return state;
  const news = {
    type,
    since: state.since,
    message: closed.message,
    until: closed.probeAt,
    at: now,
  };
  return { ...state, said: [...state.said, type], unsaid: [...state.unsaid, news] };
}

function newsOf(
  { since }: SourceState,
  closed: ClosedSource,
  { unreachableAfterMs }: ThrottlePolicy,
  now: number,
): SourceNews['type'] | null {
  switch (closed.reason) {
    case 'unauthorized':
      return 'source.unauthorized';
    case 'rate_limited':
      return closed.probeAt - closed.at > NOTABLE_PAUSE_MS ? 'source.throttled' : null;
    case 'unreachable':
      return now - since >= unreachableAfterMs ? 'source.unreachable' : null;
  }
}
