import type { RunSnapshot } from '../core/run.ts';
import type { Stage } from '../core/stage.ts';
import type { Stay } from '../core/stall.ts';
import type { StoredWatch, Watch, WatchKey } from '../core/watch.ts';

/**
 * A watch as it is kept. What is usual is left unsaid, and so is what stands in the key: that makes
 * records half as long, and one that was written before there was a field is read as if the field
 * had said what is usual. Times are told from the registration on.
 */
type WatchRecord = {
  [Name in Exclude<keyof Watch, keyof WatchKey | 'run' | 'stay' | 'stages'>]:
    Watch[Name] | undefined;
} & Pick<Watch, 'registeredAt' | 'timeoutAt' | 'cadence'> & {
    run: RunRecord | undefined;
    stay: StayRecord | undefined;
    stages: StageRecord[] | undefined;
  };

/** Of a run, the id is said only where it is written in another way than in the key. */
type RunRecord = { [Name in keyof RunSnapshot]: RunSnapshot[Name] | undefined } & Pick<
  RunSnapshot,
  'status' | 'observed_at'
>;

/** The JSON text of a watch that is kept under its key. */
export function writeWatch(watch: Watch): string {
  const record: WatchRecord = {
    state: unless('active', watch.state),
    run: watch.run === null ? undefined : runRecord(watch.run, watch.runId),
    runAskedAt: sinceStart(watch.runAskedAt, watch.registeredAt),
    metadata: unlessEmpty(watch.metadata),
    subscriptions: unlessEmpty(watch.subscriptions),
    sequence: unless(0, watch.sequence),
    pastEnds: unlessEmpty(watch.pastEnds),
    polls: unless(0, watch.polls),
    profile: unless('normal', watch.profile),
    maxDelayMs: unless(null, watch.maxDelayMs),
    registeredAt: watch.registeredAt,
    lastPolledAt: sinceStart(watch.lastPolledAt, watch.registeredAt),
    nextPollAt: sinceStart(watch.nextPollAt, watch.registeredAt),
    timeoutAt: watch.timeoutAt - watch.registeredAt,
    endedAt: sinceStart(watch.endedAt, watch.registeredAt),
    trouble: unless(null, watch.trouble),
    unreachable: unless(false, watch.unreachable),
    missing: unless(null, watch.missing),
    gone: unless(null, watch.gone),
    unknownStatuses: unlessEmpty(watch.unknownStatuses),
    notice: unless(null, watch.notice),
    waiting: unless(null, watch.waiting),
    stay: watch.stay === null ? undefined : stayRecord(watch.stay, watch.registeredAt),
    stages: unlessEmpty(watch.stages.map((stage) => stageRecord(stage, watch.registeredAt))),
    cadence: watch.cadence,
  };
  return JSON.stringify(record);
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
    observed_at: run.observed_at,
  };
}

/** A stay in few letters: when it began, after the registration, and a second number once it is stalled. */
type StayRecord = [sinceMs: number, stalled?: 1];

function stayRecord({ since, stalled }: Stay, registeredAt: number): StayRecord {
  return stalled ? [since - registeredAt, 1] : [since - registeredAt];
}

function readStay([sinceMs, stalled]: StayRecord, registeredAt: number): Stay {
  return { since: registeredAt + sinceMs, stalled: stalled === 1 };
}

/** A stage in few letters: when it began, after the registration, and when it was seen, after that. */
type StageRecord = [state: string, sinceMs: number, seenMs: number | null, secondMs: number];

function stageRecord({ state, since, seenAt, secondMs }: Stage, registeredAt: number): StageRecord {
  return [state, since - registeredAt, seenAt === null ? null : seenAt - since, secondMs];
}

function readStage([state, sinceMs, seenMs, secondMs]: StageRecord, registeredAt: number): Stage {
  const since = registeredAt + sinceMs;
  return { state, since, seenAt: seenMs === null ? null : since + seenMs, secondMs };
}

function sinceStart(time: number | null, registeredAt: number): number | undefined {
  return time === null ? undefined : time - registeredAt;
}

function timeOf(sinceStartMs: number | null | undefined, registeredAt: number): number | null {
  return typeof sinceStartMs === 'number' ? registeredAt + sinceStartMs : null;
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

/** @param text what Redis keeps of a watch: version, number and record, a space between them */
export function readWatch({ source, runId }: WatchKey, text: string | null): StoredWatch | null {
  if (text === null) return null;
  const record = JSON.parse(text.slice(text.indexOf('{'))) as WatchRecord;
  const watch = {
    source,
    runId,
    state: either(record.state, 'active'),
    run: record.run === undefined ? null : readRun(record.run, runId),
    runAskedAt: timeOf(record.runAskedAt, record.registeredAt),
    metadata: either(record.metadata, {}),
    subscriptions: either(record.subscriptions, []),
    sequence: either(record.sequence, 0),
    pastEnds: either(record.pastEnds, []),
    polls: either(record.polls, 0),
    profile: either(record.profile, 'normal'),
    maxDelayMs: either(record.maxDelayMs, null),
    registeredAt: record.registeredAt,
    lastPolledAt: timeOf(record.lastPolledAt, record.registeredAt),
    nextPollAt: timeOf(record.nextPollAt, record.registeredAt),
    timeoutAt: record.registeredAt + record.timeoutAt,
    endedAt: timeOf(record.endedAt, record.registeredAt),
    trouble: either(record.trouble, null),
    unreachable: either(record.unreachable, false),
    missing: either(record.missing, null),
    gone: either(record.gone, null),
    unknownStatuses: either(record.unknownStatuses, []),
    notice: either(record.notice, null),
    waiting: either(record.waiting, null),
    stay: record.stay === undefined ? null : readStay(record.stay, record.registeredAt),
    stages: (record.stages ?? []).map((stage) => readStage(stage, record.registeredAt)),
    cadence: record.cadence,
  };
  return { version: Number(text.slice(0, text.indexOf(' '))), watch };
}

/** Its fields in the order in which users see them. */
function readRun(record: RunRecord, runId: string): RunSnapshot {
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
    observed_at: record.observed_at,
  };
}
