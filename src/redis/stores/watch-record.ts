import { isoTime } from '../../core/event/event.ts';
import type { ReadFieldName, RunSnapshot } from '../../core/run/snapshot.ts';
import {
  type Phase,
  finishedAt,
  type Watch,
  type WatchKey,
  type DwellState,
} from '../../core/watch/watch.ts';
import { MOST_POLLS, SLOT, slotOf, type PollHistory } from '../../core/watch/poll-history.ts';
import type { StoredWatch, WatchIdentity } from '../watch-change.ts';

/**
 * A watch as it is kept: one string of a head with fields of fixed width, a document, and, behind a
 * tab, the history of its last polls. The head holds the version, the number in indexes, and what
 * every poll writes. So a poll without a change writes head and slot in place and never the document.
 * Scripts read nothing of the document: the character behind version and number says whether the watch is
 * over, and is a control character where it is packed.
 *
 * version  number  polls  last polled  run asked  run observed  interval  failures  polls recorded
 */
const HEAD = { version: 12, number: 12, fields: 7, field: 10 };

/** Length of version and number. */
export const IDENTITY_LENGTH = HEAD.version + 1 + HEAD.number;

/** Version and number as a record begins with them. */
export function writeIdentity({ version, number }: WatchIdentity): string {
  return [version, number].map((one) => String(one).padStart(HEAD.version, '0')).join(' ');
}

/** The reverse of {@link writeIdentity}. */
export function readIdentity(text: string): WatchIdentity {
  const [version, number] = text.slice(0, IDENTITY_LENGTH).split(' ');
  return { version: Number(version), number: Number(number) };
}

/** How a record begins behind its identity, while it is live. */
export const ACTIVE = ' ';
const OVER = '.';

/** Whether a watch is over and live, by the beginning of its record. */
export function isOverLive(record: string): boolean {
  return record[IDENTITY_LENGTH] === OVER;
}

/** Where the document begins. */
const DOC_AT = IDENTITY_LENGTH + HEAD.fields * HEAD.field;

/** The part of the head behind version and number, in base 36; times count from the registration. */
export function writeHead(watch: Watch): string {
  const observedAt = watch.run === null ? null : Date.parse(watch.run.observed_at);
  const fields = [
    watch.polls,
    sinceStart(watch.lastPolledAt, watch.registeredAt),
    sinceStart(watch.runAskedAt, watch.registeredAt),
    sinceStart(observedAt, watch.registeredAt),
    Math.round(watch.cadence.intervalMs),
    watch.cadence.failures,
    watch.pollHistory.count,
  ];
  const text = fields.map((field) => (field?.toString(36) ?? '').padStart(HEAD.field)).join('');
  return (watch.state === 'active' ? ACTIVE : OVER) + text.slice(1);
}

function readHead(text: string): (number | null)[] {
  return Array.from({ length: HEAD.fields }, (_, at) => {
    const from = IDENTITY_LENGTH + at * HEAD.field;
    // The first character is no digit of a number.
    const value = Number.parseInt(text.slice(from + 1, from + HEAD.field), 36);
    return Number.isNaN(value) ? null : value;
  });
}

/**
 * The document of a watch. Usual values and those of the key are left out, which makes records half as
 * long. A missing field is read as its usual value, also in a record from before that field. Times
 * count from the registration on.
 */
type WatchRecord = {
  [Name in KeptAsItIs]: Watch[Name] | undefined;
} & Pick<Watch, 'registeredAt' | 'timeoutAt'> & {
    run: RunRecord | undefined;
    dwell: DwellRecord | undefined;
    phases: PhaseRecord[] | undefined;
  };

type KeptAsItIs = Exclude<keyof Watch, NotInDocument | 'run' | 'dwell' | 'phases'>;

/** What stands in the key, in the head, or in the schedule. */
type NotInDocument =
  | keyof WatchKey
  | 'polls'
  | 'pollHistory'
  | 'lastPolledAt'
  | 'runAskedAt'
  | 'cadence'
  | 'nextPollAt';

/** Of a run, the id is said only where it is written in another way than in the key. */
type RunRecord = {
  [Name in ReadFieldName]: RunSnapshot[Name] | undefined;
} & Pick<RunSnapshot, 'status' | 'source_status' | 'attempt'>;

/**
 * The JSON text of a watch behind its head.
 * @param before the text until now: fields that only a later version knows are kept
 */
export function writeDoc(watch: Watch, before?: string): string {
  const record: WatchRecord = {
    state: unless('active', watch.state),
    registeredBy: unlessEmpty(watch.registeredBy),
    run: watch.run === null ? undefined : runRecord(watch.run, watch.runId),
    subscriptions: unlessEmpty(watch.subscriptions),
    formerWebhooks: unlessEmpty(watch.formerWebhooks),
    batches: unlessEmpty(watch.batches),
    sequence: unless(0, watch.sequence),
    attempt: unless(null, watch.attempt),
    restartedAt: sinceStart(watch.restartedAt, watch.registeredAt),
    pastEnds: unlessEmpty(watch.pastEnds),
    isReopened: unless(false, watch.isReopened),
    held: unlessEmpty(watch.held),
    profile: unless('normal', watch.profile),
    maxDelayMs: unless(null, watch.maxDelayMs),
    registeredAt: watch.registeredAt,
    timeoutAt: watch.timeoutAt - watch.registeredAt,
    endedAt: sinceStart(watch.endedAt, watch.registeredAt),
    trouble: unless(null, watch.trouble),
    unreachable: unless(false, watch.unreachable),
    missing: unless(null, watch.missing),
    gone: unless(null, watch.gone),
    unknownStatuses: unlessEmpty(watch.unknownStatuses),
    unknownAt: unlessEmpty(watch.unknownAt),
    notice: unless(null, watch.notice),
    changedAt: sinceStart(
      unless(usualChangedAt(watch), watch.changedAt) ?? null,
      watch.registeredAt,
    ),
    acknowledged: unless(null, watch.acknowledged),
    waiting: unless(null, watch.waiting),
    waits: unless(null, watch.waits),
    foundWaiting: unless(false, watch.foundWaiting),
    doubt: unless(null, watch.doubt),
    dwell: watch.dwell === null ? undefined : dwellRecord(watch.dwell, watch.registeredAt),
    phases: unlessEmpty(watch.phases.map((phase) => phaseRecord(phase, watch.registeredAt))),
    metadata: unlessEmpty(watch.metadata),
  };
  const text = JSON.stringify(record);
  // Most polls change nothing of it.
  if (before === undefined || before === text) return text;
  const others = Object.entries(JSON.parse(before) as object).filter(([name]) => !(name in record));
  const { metadata, ...own } = record;
  // Last, so that a record can be read without: see `withoutMetadata`.
  return JSON.stringify({ ...own, ...Object.fromEntries(others), metadata });
}

/** How metadata begins. In a string these quotation marks would be escaped. */
const METADATA = ',"metadata":{';

/** The text of a live record without its metadata, which may be most of it. */
export function withoutMetadata(record: Buffer): string {
  const from = record.indexOf(METADATA, DOC_AT);
  if (from < 0) return record.toString();
  const polls = record.indexOf(POLLS_MARK, from);
  const rest = polls < 0 ? '' : record.toString('utf8', polls);
  return `${record.toString('utf8', 0, from)}}${rest}`;
}

/** Stands before the poll history; JSON text holds no such character. */
export const POLLS_MARK = '\t';

/** Slots that a record has room for: few watches are polled often, and room is not made for one at a time. */
const POLLS_ROOM = [0, 12, MOST_POLLS];

function roomFor({ count }: PollHistory): number {
  return POLLS_ROOM.find((room) => room >= count) ?? MOST_POLLS;
}

/** The poll history of a watch behind its document, with room for some more polls. */
export function writePolls({ pollHistory }: Watch): string {
  const room = roomFor(pollHistory);
  return room === 0 ? '' : POLLS_MARK + pollHistory.text.padEnd(room * SLOT);
}

/**
 * The slot of a watch's last poll and its byte offset in the record, where the document has not changed.
 * @returns null where the record has no room for it, or more than the slot has changed
 */
export function slotInPlace(
  { watch, doc = '' }: StoredWatch,
  { pollHistory }: Watch,
): { at: number; slot: string } | null {
  const { count } = watch.pollHistory;
  if (pollHistory.count === count) return { at: 0, slot: '' };
  if (pollHistory.count !== count + 1 || roomFor(watch.pollHistory) !== roomFor(pollHistory))
    return null;
  const from = slotOf(count) * SLOT;
  const pollsAt = DOC_AT + Buffer.byteLength(doc) + POLLS_MARK.length;
  return { at: pollsAt + from, slot: pollHistory.text.slice(from, from + SLOT) };
}

/**
 * The whole record behind version and number.
 * @param before the record until now, see {@link writeDoc}
 */
export function writeRest(watch: Watch, before?: string): string {
  const doc = before === undefined ? undefined : partsOf(before).doc;
  return writeHead(watch) + writeDoc(watch, doc) + writePolls(watch);
}

function runRecord(run: RunSnapshot, runId: string): RunRecord {
  return {
    id: unless(runId, run.id),
    workflow_id: unless(null, run.workflow_id),
    group_id: unless(null, run.group_id),
    workflow_version_id: unless(null, run.workflow_version_id),
    status: run.status,
    progress: unless(null, run.progress),
    created_at: unless(null, run.created_at),
    started_at: unless(null, run.started_at),
    finished_at: unless(null, run.finished_at),
    source: unless(null, run.source),
    user_id: unless(null, run.user_id),
    conversation_id: unless(null, run.conversation_id),
    ...(run.source_status !== undefined && { source_status: run.source_status }),
    ...(run.attempt !== undefined && { attempt: run.attempt }),
  };
}

/**
 * A dwell time in few letters: when it began, after the registration, and a second number once it is
 * stalled: 1, or 2 where a notice of its workflow stands for its event.
 */
type DwellRecord = [sinceMs: number, stalled?: 1 | 2];

function dwellRecord(
  { since, stalled, isInNotice }: DwellState,
  registeredAt: number,
): DwellRecord {
  if (!stalled) return [since - registeredAt];
  return [since - registeredAt, isInNotice === true ? 2 : 1];
}

function readDwell([sinceMs, stalled]: DwellRecord, registeredAt: number): DwellState {
  const dwell = { since: registeredAt + sinceMs, stalled: stalled !== undefined };
  return stalled === 2 ? { ...dwell, isInNotice: true } : dwell;
}

/** A phase in few letters: when it began, after the registration, and when it was seen, after that. */
type PhaseRecord = [state: string, sinceMs: number, seenMs: number | null, secondMs: number];

function phaseRecord({ state, since, seenAt, secondMs }: Phase, registeredAt: number): PhaseRecord {
  return [state, since - registeredAt, seenAt === null ? null : seenAt - since, secondMs];
}

function readPhase([state, sinceMs, seenMs, secondMs]: PhaseRecord, registeredAt: number): Phase {
  const since = registeredAt + sinceMs;
  return { state, since, seenAt: seenMs === null ? null : since + seenMs, secondMs };
}

function sinceStart(time: number | null, registeredAt: number): number | undefined {
  return time === null ? undefined : time - registeredAt;
}

function timeOf(sinceStartMs: number | null | undefined, registeredAt: number): number | null {
  return typeof sinceStartMs === 'number' ? registeredAt + sinceStartMs : null;
}

/** The end of the run where its time is known, else the registration. */
function usualChangedAt(watch: Watch): number {
  return finishedAt(watch) ?? watch.registeredAt;
}

/** JSON leaves out what is undefined. */
function unless<Value>(usual: Value, value: Value): Value | undefined {
  return value === usual ? undefined : value;
}

function unlessEmpty<Value extends object>(value: Value): Value | undefined {
  return Object.keys(value).length === 0 ? undefined : value;
}

/** What was said, else what is usual. */
function either<Value>(said: Value | undefined, usual: Value): Value {
  return said ?? usual;
}

/** What stands behind the head of a record. */
function partsOf(text: string): { doc: string; history: string } {
  const [doc = '', history = ''] = text.slice(DOC_AT).split(POLLS_MARK);
  return { doc, history };
}

/**
 * Reads what Redis keeps of a watch that is live; `openPacked` of `history-plan.ts` reads the others.
 */
export function readWatch({ source, runId }: WatchKey, text: string): StoredWatch {
  const { doc, history } = partsOf(text);
  const record = JSON.parse(doc) as WatchRecord;
  const { registeredAt } = record;
  const [polls, lastPolled, runAsked, observed, intervalMs, failures, count] = readHead(text);
  const watch: Watch = {
    source,
    runId,
    registeredBy: either(record.registeredBy, []),
    state: either(record.state, 'active'),
    run:
      record.run === undefined ? null : readRun(record.run, runId, registeredAt + (observed ?? 0)),
    changedAt: 0,
    acknowledged: either(record.acknowledged, null),
    runAskedAt: timeOf(runAsked, registeredAt),
    metadata: either(record.metadata, {}),
    subscriptions: either(record.subscriptions, []),
    formerWebhooks: either(record.formerWebhooks, []),
    batches: either(record.batches, []),
    sequence: either(record.sequence, 0),
    attempt: either(record.attempt, null),
    restartedAt: timeOf(record.restartedAt, registeredAt),
    pastEnds: either(record.pastEnds, []),
    isReopened: either(record.isReopened, false),
    held: either(record.held, []),
    polls: polls ?? 0,
    pollHistory: { count: count ?? 0, text: history.trimEnd() },
    profile: either(record.profile, 'normal'),
    maxDelayMs: either(record.maxDelayMs, null),
    registeredAt,
    lastPolledAt: timeOf(lastPolled, registeredAt),
    nextPollAt: null,
    timeoutAt: registeredAt + record.timeoutAt,
    endedAt: timeOf(record.endedAt, registeredAt),
    trouble: either(record.trouble, null),
    unreachable: either(record.unreachable, false),
    missing: either(record.missing, null),
    gone: either(record.gone, null),
    unknownStatuses: either(record.unknownStatuses, []),
    unknownAt: either(record.unknownAt, []),
    notice: either(record.notice, null),
    waiting: either(record.waiting, null),
    waits: either(record.waits, null),
    foundWaiting: either(record.foundWaiting, false),
    doubt: either(record.doubt, null),
    dwell: record.dwell === undefined ? null : readDwell(record.dwell, registeredAt),
    phases: (record.phases ?? []).map((phase) => readPhase(phase, registeredAt)),
    cadence: { intervalMs: intervalMs ?? 0, failures: failures ?? 0 },
  };
  watch.changedAt = timeOf(record.changedAt, registeredAt) ?? usualChangedAt(watch);
  return { ...readIdentity(text), watch, doc };
}

/** Its fields in the order in which users see them. */
function readRun(record: RunRecord, runId: string, observedAt: number): RunSnapshot {
  return {
    id: either(record.id, runId),
    workflow_id: either(record.workflow_id, null),
    group_id: either(record.group_id, null),
    workflow_version_id: either(record.workflow_version_id, null),
    status: record.status,
    progress: either(record.progress, null),
    created_at: either(record.created_at, null),
    started_at: either(record.started_at, null),
    finished_at: either(record.finished_at, null),
    source: either(record.source, null),
    user_id: either(record.user_id, null),
    conversation_id: either(record.conversation_id, null),
    observed_at: isoTime(observedAt),
    ...(record.source_status !== undefined && { source_status: record.source_status }),
    ...(record.attempt !== undefined && { attempt: record.attempt }),
  };
}
