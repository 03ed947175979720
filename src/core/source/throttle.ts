import type { ClockStep } from '../clock.ts';
import type { ListOutcome } from '../feed/run-list.ts';
import type { DefinitionOutcome, WorkflowListOutcome } from '../feed/workflow.ts';
import type { PollResult } from '../run/snapshot.ts';
import type { ProbeOutcome } from './port.ts';

/** Longest pause that `Retry-After` gives a source; then one run is tried, ms. */
const LONGEST_PAUSE_MS = 900_000;

/** The pause of a source that asks for one without a duration, ms. */
const DEFAULT_PAUSE_MS = 5_000;

/** A longer pause raises an event, ms. */
const NOTABLE_PAUSE_MS = 60_000;

/** This many answers in a row, about as many runs, say something of the source as a whole. */
const ROW = 10;

/** This many different runs must be refused before the key counts as refused. */
const REFUSED_RUNS = 3;

/** A row within this time may be one hiccup, ms. */
const LEAST_ROW_MS = 2_000;

/** If the source gave a valid answer within this time, a 404 or 403 concerns its run alone, ms. */
const ANSWERED_MS = 60_000;

/**
 * Delays of the probes of an unreachable source: after it closed, and after each failed probe, ms.
 */
const PROBE_DELAYS_MS = [1_000, 2_000, 4_000, 8_000, 10_000];

/** One probe in this many asks for no run: the runs that were tried may be deleted. */
const PROBES_PER_RUNLESS = 3;

/** An answer of a source, as far as it concerns the source as a whole. */
export type SourceAnswer =
  /** A run, or a page of a list. */
  | { kind: 'valid' }
  /** 401 */
  | { kind: 'unauthorized'; message: string }
  /** 429, or 503 with `Retry-After` */
  | { kind: 'rate_limited'; retryAfterMs: number | null; message: string }
  /** May concern one run alone, while the source answers for others. */
  | { kind: 'missing' | 'forbidden'; about: string; message: string }
  /** Not an answer of the source. */
  | { kind: 'trouble'; about: string; message: string };

/** A request whose answer is judged. */
export interface AskedRequest {
  /** When it was sent, milliseconds since the epoch. */
  at: number;
  /** A keyed fingerprint of the URL and API key that it was sent to and with. */
  access: string;
}

/** Why a source gets only probes. Times are milliseconds since the epoch. */
export interface ClosedSource {
  reason: 'unauthorized' | 'rate_limited' | 'unreachable';
  message: string;
  /** When it closed: answers to earlier requests do not count as those of probes. */
  at: number;
  /** When the next request may start, one at a time; an integer. */
  probeAt: number;
  failedProbes: number;
}

/** A change of a source that raises an event. Times are milliseconds since the epoch. */
export interface SourceChange {
  type: 'source.unauthorized' | 'source.throttled' | 'source.unreachable' | 'source.recovered';
  since: number;
  message: string;
  /** When it is tried again; null where it answers. */
  until: number | null;
  at: number;
}

/** The state of a source with recent invalid answers; a healthy source has none. */
export interface SourceState {
  /** When the first invalid answer since the last valid one came. */
  since: number;
  /** Invalid answers in a row, the latest last: what each was about. */
  row: { about: string; isForbidden: boolean }[];
  closed: ClosedSource | null;
  /** Changes already raised, each once until the source answers. */
  said: SourceChange['type'][];
  /** Changes possibly without an event so far, since the process in charge may have died. */
  unsaid: SourceChange[];
}

/** What all processes know of a source. Times are milliseconds since the epoch. */
export interface SourceRecord {
  /** Null for a source without trouble. */
  state: SourceState | null;
  /** The stored form of the state, which a write must find unchanged; '' for none. */
  text: string;
  /** The access with which the state was found; null without a state. */
  access: string | null;
  /** When it last gave a valid answer, accurate to about a second; null where unknown. */
  answeredAt: number | null;
  /** The access by which it did; null where unknown. */
  answeredBy: string | null;
  /** When it answered again after an outage; null if that is long ago. */
  openSince: number | null;
}

interface ThrottlePolicy {
  /** Interval of the probes of a source that refuses the key, ms. */
  unauthorizedProbeMs: number;
  /** How long a source may give no valid answer before `source.unreachable`, ms. */
  unreachableAfterMs: number;
}

export interface AnswerContext {
  /** What texts call the source. */
  label: string;
  policy: ThrottlePolicy;
  now: number;
  /** When the answered request was made. */
  askedAt: number;
  /** When the source last gave a valid answer; null where unknown. */
  answeredAt: number | null;
  /** How many watches of the source are active. */
  active: number;
}

/**
 * The source's state after one answer: judges 401, 403 and 429, and failures, 404 and 403 of many
 * runs. An outage belongs to the source, not to each run: it then gets only one probe at a time.
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

/** Whether the next probe reads the source's list in place of a run. */
export function isRunlessProbe({ failedProbes }: Pick<ClosedSource, 'failedProbes'>): boolean {
  return (failedProbes + 1) % PROBES_PER_RUNLESS === 0;
}

/** The state once some changes have had their event; null where nothing is left to keep. */
export function withSaid(state: SourceState, said: readonly SourceChange[]): SourceState | null {
  const unsaid = state.unsaid.filter(
    ({ type, at }) => !said.some((one) => one.type === type && one.at === at),
  );
  const isOver = unsaid.length === 0 && state.closed === null && state.row.length === 0;
  return isOver ? null : { ...state, unsaid };
}

/** The state without its pause, so that all requests may start again. */
export function resumed(state: SourceState): SourceState {
  return { ...state, closed: null, row: [] };
}

/**
 * The state once a step was taken out of the clock by which its times may have been written. What has been lies
 * ahead only by that clock, and so does a probe that is further off than any pause lasts. A nearer one may have been
 * set by a clock that did not follow the step: a source that asked for a pause must not be asked before its end.
 * @param context.now by the clock without the step
 */
export function movedBack(
  state: SourceState,
  { ms }: ClockStep,
  { now, policy }: Pick<AnswerContext, 'now' | 'policy'>,
): SourceState {
  const back = (at: number) => (at > now ? at - ms : at);
  const { closed } = state;
  const moved = { ...state, since: back(state.since) };
  if (closed === null) return moved;
  const isAhead = closed.at > now || closed.probeAt > now + longestPauseMs(closed, policy);
  const probeAt = isAhead ? closed.probeAt - ms : closed.probeAt;
  return { ...moved, closed: { ...closed, at: back(closed.at), probeAt } };
}

/** The longest time from an answer to the next probe of a source that is closed for this reason. */
function longestPauseMs(
  { reason }: Pick<ClosedSource, 'reason'>,
  { unauthorizedProbeMs }: ThrottlePolicy,
): number {
  switch (reason) {
    case 'rate_limited':
      return LONGEST_PAUSE_MS;
    case 'unauthorized':
      return unauthorizedProbeMs;
    case 'unreachable':
      return Math.max(...PROBE_DELAYS_MS);
  }
}

function afterValid(state: SourceState | null, context: AnswerContext): SourceState | null {
  const { now, label } = context;
  if (state === null || isBeforePause(state.closed, context)) return state;
  const wasSaid = state.said.includes('source.unreachable');
  const recovered: SourceChange = {
    type: 'source.recovered',
    since: state.since,
    message: `${label} answers again`,
    until: null,
    at: now,
  };
  const unsaid = wasSaid ? [...state.unsaid, recovered] : state.unsaid;
  if (unsaid.length === 0) return null;
  return { since: state.since, row: [], closed: null, said: [], unsaid };
}

/** An answer to a request from before the source closed does not reopen it. */
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
 * Closes a source. Of two closings the one with the later probe wins. Closing again for the same
 * reason keeps the first start.
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

/** The pause that a source gets for its `Retry-After`. */
export function grantedPauseMs(retryAfterMs: number | null): number {
  return Math.min(Math.max(retryAfterMs ?? DEFAULT_PAUSE_MS, 0), LONGEST_PAUSE_MS);
}

/** What people read of an answer that asks for a pause. */
export function pauseMessage(status: number, retryAfterMs: number | null): string {
  const until = retryAfterMs === null ? '' : `, asks for ${Math.ceil(retryAfterMs / 1_000)} s`;
  return `status ${status}${until}`;
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
  const closed = state?.closed ?? null;
  if (state !== null && closed !== null && closed.reason !== 'rate_limited') {
    if (askedAt < closed.at) return state;
    return saying({ ...state, closed: afterProbe(closed, answer, context) }, context);
  }
  if (closed !== null && askedAt < closed.probeAt) return state;
  return afterRow(
    closed === null || state === null ? state : afterPause(state, now),
    answer,
    context,
  );
}

/** An open source after one more answer that failed. */
function afterRow(
  state: SourceState | null,
  answer: Extract<SourceAnswer, { about: string }>,
  context: AnswerContext,
): SourceState | null {
  const { now } = context;
  if (answer.kind === 'missing' && hasAnswered(context)) return state;
  const before = troubledSince(state, now);
  const entry = { about: answer.about, isForbidden: answer.kind === 'forbidden' };
  const row = [...before.row, entry].slice(-ROW);
  const next = { ...before, row };
  if (now - before.since < LEAST_ROW_MS) return next;
  if (isRefused(row, context)) return close(next, refusal(answer.message, context), context);
  if (!isOutage(row, context)) return next;
  return saying({ ...next, closed: outage(answer.message, now) }, context);
}

function outage(message: string, now: number): ClosedSource {
  const probeAt = Math.ceil(now + probeDelay(0));
  return { reason: 'unreachable', message, at: now, probeAt, failedProbes: 0 };
}

/** The state in which a first failed answer of a row counts from now on. */
function troubledSince(state: SourceState | null, now: number): SourceState {
  if (state === null) return newState(now);
  return state.row.length === 0 && state.said.length === 0 ? { ...state, since: now } : state;
}

/**
 * A source after its pause, since it throttles no more. The trouble of one run is no outage of the
 * source, and the pause that it asked for is no time without an answer.
 */
function afterPause(state: SourceState, now: number): SourceState {
  return { ...state, since: now, row: [], closed: null };
}

/** A closed source after a probe that failed too. */
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
  return { ...closed, message, failedProbes, probeAt };
}

function probeDelay(failedProbes: number): number {
  return PROBE_DELAYS_MS[Math.min(failedProbes, PROBE_DELAYS_MS.length - 1)] ?? 0;
}

function hasAnswered({ answeredAt, now }: AnswerContext): boolean {
  return answeredAt !== null && now - answeredAt < ANSWERED_MS;
}

/** Several different runs were refused without a valid answer between, so the key is refused. */
function isRefused(row: SourceState['row'], { active }: AnswerContext): boolean {
  const refused = new Set(row.filter(({ isForbidden }) => isForbidden).map(({ about }) => about));
  return (
    row.every(({ isForbidden }) => isForbidden) &&
    refused.size >= Math.max(2, Math.min(REFUSED_RUNS, active))
  );
}

/**
 * All of the last answers were failures, about as many runs as there are. Where rare polls would
 * make this take long, as many answers about fewer runs suffice.
 */
function isOutage(row: SourceState['row'], context: AnswerContext): boolean {
  if (row.every(({ isForbidden }) => isForbidden) && hasAnswered(context)) return false;
  const about = new Set(row.map((one) => one.about)).size;
  return about >= Math.min(ROW, Math.max(1, context.active)) || (row.length === ROW && about > 1);
}

/** Adds the events due for a closed source, each once until it answers. */
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
): SourceChange['type'] | null {
  switch (closed.reason) {
    case 'unauthorized':
      return 'source.unauthorized';
    case 'rate_limited':
      return closed.probeAt - closed.at > NOTABLE_PAUSE_MS ? 'source.throttled' : null;
    case 'unreachable':
      return now - since >= unreachableAfterMs ? 'source.unreachable' : null;
  }
}

/** Stands for the run in answers about none; no run id has a space. */
const NO_RUN = 'no run';

/** What a poll result shows about its source. */
export function answerAboutRun(outcome: PollResult, runId: string): SourceAnswer {
  switch (outcome.kind) {
    case 'run':
      return { kind: 'valid' };
    case 'not_found':
      return { kind: 'missing', about: runId, message: 'status 404' };
    case 'rejected':
      return { kind: 'missing', about: runId, message: outcome.message };
    case 'unauthorized':
    case 'rate_limited':
      return outcome;
    case 'forbidden':
      return { kind: 'forbidden', about: runId, message: outcome.message };
    case 'unavailable':
    case 'invalid_response':
      return { kind: 'trouble', about: runId, message: outcome.message };
  }
}

/** What the answer to a probe, or to a read of a list, shows about its source. */
export function answerAboutProbe(outcome: ListOutcome | ProbeOutcome): SourceAnswer {
  switch (outcome.kind) {
    case 'answered':
    case 'page':
      return { kind: 'valid' };
    case 'unauthorized':
    case 'rate_limited':
      return outcome;
    case 'not_offered':
      return { kind: 'missing', about: NO_RUN, message: outcome.message };
    case 'forbidden':
    case 'unavailable':
    case 'invalid_response':
      return { kind: 'trouble', about: NO_RUN, message: outcome.message };
  }
}

/** What the answer about workflows and their nodes shows about its source: at most that it asks for a pause. */
export function answerAboutExtra(
  outcome: WorkflowListOutcome | DefinitionOutcome,
): SourceAnswer | null {
  return outcome.kind === 'rate_limited' ? outcome : null;
}
