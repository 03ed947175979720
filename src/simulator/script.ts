import { z } from 'zod';
import { isTerminalStatus } from '../core/run/snapshot.ts';
import { faultSchema } from './fault.ts';
import { DEFAULT_PRIVATE_BYTES, publicRun, type PublicRun } from './wire-run.ts';

const MAX_EVENT_BYTES = 1_048_576;

const interval = z.int().min(0).max(3_600_000);

/** The behaviour of a run's event stream. Broken streams are faults (`fault.ts`). */
export const streamSettingsSchema = z.strictObject({
  /** While the run is running, a `state` event this often, ms; 0: only at changes of its status. */
  state_every_ms: interval.exactOptional(),
  /** While the run is running, a `content` event of its running node this often, ms; 0: none. */
  content_every_ms: interval.exactOptional(),
  /** Padding of each `state` event, bytes. */
  state_bytes: z.int().min(0).max(MAX_EVENT_BYTES).exactOptional(),
  /** Statuses without an event; `*` for all. */
  silent_on: z.array(z.string().min(1).max(64)).max(20).exactOptional(),
  /** Whether the stream of a stopped run ends, or remains open without another event. */
  on_stop: z.enum(['end', 'stay']).exactOptional(),
  /** Whether `etag` resumes a stream; else each one begins with the present state. */
  resumes: z.boolean().exactOptional(),
});

export type StreamSettingsInput = z.input<typeof streamSettingsSchema>;
export type StreamSettings = Required<z.output<typeof streamSettingsSchema>>;

export const DEFAULT_STREAM_SETTINGS: StreamSettings = {
  state_every_ms: 1_000,
  content_every_ms: 200,
  state_bytes: 0,
  silent_on: [],
  on_stop: 'end',
  resumes: true,
};

const MAX_PRIVATE_BYTES = 8_388_608;

const offset = z.int().min(0).max(31_536_000_000);

export const runIdSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
    'expected 1 to 128 letters, digits, ".", "_" or "-", the first a letter or digit',
  );

export const statusSchema = z.string().min(1).max(64);
export const progressSchema = z.int();

/** A change of a run. Absent fields do not change. */
const stepSchema = z.strictObject({
  /** Milliseconds after the run was created. */
  after_ms: offset,
  status: statusSchema.optional(),
  progress: progressSchema.optional(),
});

/** A script without the identity of a run; a story consists of this. */
const plotSchema = z.strictObject({
  /** A run begins as `queued` at 0 %. While `running`, progress grows evenly to the next step's. */
  steps: z.array(stepSchema).max(1_000).default([]),
  /** The age of the run when it is added, ms. */
  age_ms: offset.optional(),
  /** `when_read`: the run remains in its first state until its first read, unless it has an age. */
  starts: z.enum(['at_once', 'when_read']).optional(),
  /** 404 before this, ms after creation: runs may become visible late. */
  visible_after_ms: offset.optional(),
  /** 404 from this on, ms after creation. */
  deleted_after_ms: offset.optional(),
  /** 422, always. */
  rejected: z.boolean().optional(),
  faults: z.array(faultSchema).max(100).optional(),
});

/** A scripted run as people write it. */
export const scriptSchema = plotSchema.extend({
  id: runIdSchema.optional(),
  workflow_id: z.uuid().optional(),
  workflow_version_id: z.uuid().nullable().optional(),
  single_node_id: z.string().max(128).nullable().optional(),
  /** The input of the run, repeated in its output; default: private filler. */
  input: z.record(z.string(), z.unknown()).optional(),
  /** Settings of its event stream that differ from the simulator's. */
  stream: streamSettingsSchema.optional(),
  created_at: z.iso.datetime({ offset: true }).optional(),
  /** `naive`: without a zone and with microseconds, as Python writes them. */
  timestamps: z.enum(['utc', 'naive']).optional(),
  /** The approximate size of `input` and `definitions` together. */
  private_bytes: z.int().min(0).max(MAX_PRIVATE_BYTES).optional(),
});

export type Plot = z.input<typeof plotSchema>;
export type ScriptInput = z.input<typeof scriptSchema>;

interface Step {
  after_ms: number;
  status: string;
  progress: number;
}

/** A complete scripted run: the steps in order, the first at 0 ms. */
export interface RunScript {
  id: string;
  workflow_id: string;
  workflow_version_id: string | null;
  single_node_id: string | null;
  /** Null where the run was not started by a client. */
  input: Record<string, unknown> | null;
  stream: NonNullable<ScriptInput['stream']>;
  created_at: string;
  steps: readonly [Step, ...Step[]];
  starts: 'at_once' | 'when_read';
  visible_after_ms: number;
  /** Infinity where it is never deleted. */
  deleted_after_ms: number;
  rejected: boolean;
  timestamps: 'utc' | 'naive';
  private_bytes: number;
}

/** The result of reading a run. */
export type RunAnswer = ReadRun | { kind: 'not_found' } | { kind: 'rejected' };

interface ReadRun {
  kind: 'run';
  run: PublicRun;
}

interface ScriptContext {
  now: number;
  /** The speed of the script; 2 plays it in half of the time. */
  speed: number;
  newId: () => string;
  /** The workflow of runs that name none. */
  workflowId: string;
}

/** Fills in the defaults of a script, and scales its times by the speed. */
export function completeScript(input: ScriptInput, context: ScriptContext): RunScript {
  const scaled = (ms: number) => Math.round(ms / context.speed);
  const createdAt = input.created_at ?? context.now - (input.age_ms ?? 0);
  return {
    id: input.id ?? context.newId(),
    workflow_id: input.workflow_id ?? context.workflowId,
    ...startOf(input),
    created_at: new Date(createdAt).toISOString(),
    steps: completeSteps(input.steps ?? [], scaled),
    starts: startsOf(input),
    visible_after_ms: scaled(input.visible_after_ms ?? 0),
    deleted_after_ms: scaled(input.deleted_after_ms ?? Infinity),
    rejected: input.rejected ?? false,
    timestamps: input.timestamps ?? 'utc',
    private_bytes: input.private_bytes ?? DEFAULT_PRIVATE_BYTES,
  };
}

/** A run with an age has started already. */
function startsOf({ age_ms: ageMs = 0, starts = 'at_once' }: ScriptInput): RunScript['starts'] {
  return ageMs > 0 ? 'at_once' : starts;
}

/** The request that started the run. */
function startOf(input: ScriptInput) {
  return {
    workflow_version_id: input.workflow_version_id ?? null,
    single_node_id: input.single_node_id ?? null,
    input: input.input ?? null,
    stream: input.stream ?? {},
  };
}

function completeSteps(
  steps: NonNullable<ScriptInput['steps']>,
  scaled: (ms: number) => number,
): [Step, ...Step[]] {
  const first: Step = { after_ms: 0, status: 'queued', progress: 0 };
  const complete: [Step, ...Step[]] = [first];
  let last = first;
  for (const step of [...steps].sort((a, b) => a.after_ms - b.after_ms)) {
    last = {
      after_ms: scaled(step.after_ms),
      status: step.status ?? last.status,
      progress: step.progress ?? last.progress,
    };
    complete.push(last);
  }
  return complete;
}

/**
 * The run as a client can read it at some moment.
 * @param elapsedMs milliseconds since `created_at`
 */
export function runAt(script: RunScript, elapsedMs: number): RunAnswer {
  if (script.rejected) return { kind: 'rejected' };
  if (!isVisible(script, elapsedMs)) return { kind: 'not_found' };
  return { kind: 'run', run: publicRunAt(script, elapsedMs) };
}

/** The run as it is at some moment, whether it can be read or not. */
export function publicRunAt(script: RunScript, elapsedMs: number): PublicRun {
  const { status, progress, since } = stateAt(script, elapsedMs);
  const started = script.steps.find((step) => step.status !== 'queued');
  return publicRun(script, {
    status,
    progress,
    startedAfterMs: started && started.after_ms <= elapsedMs ? started.after_ms : null,
    finishedAfterMs: isTerminalStatus(status) ? since : null,
  });
}

/** Whether the run can be read; cheaper than {@link runAt}, for long lists. */
export function isVisible(script: RunScript, elapsedMs: number): boolean {
  const { rejected, visible_after_ms: from, deleted_after_ms: until } = script;
  return !rejected && elapsedMs >= from && elapsedMs < until;
}

/** The index of the step that a run has reached. */
export function stepAt(steps: readonly Step[], elapsedMs: number): number {
  return Math.max(
    0,
    steps.findLastIndex((step) => step.after_ms <= elapsedMs),
  );
}

/** The state of a run; `since` is the start of its status, ms since creation. */
export function stateAt({ steps }: RunScript, elapsedMs: number) {
  const index = stepAt(steps, elapsedMs);
  const step = steps[index] ?? steps[0];
  const next = steps[index + 1];
  const since = enteredAt(steps, index, step.status);
  if (next === undefined || step.status !== 'running') {
    return { status: step.status, progress: step.progress, since };
  }
  const share = (elapsedMs - step.after_ms) / (next.after_ms - step.after_ms);
  const progress = step.progress + Math.trunc((next.progress - step.progress) * share);
  return { status: step.status, progress, since };
}

/** The start of a step's status, since steps may change only the progress. */
function enteredAt(steps: readonly Step[], index: number, status: string): number {
  const before = steps.slice(0, index).findLastIndex((step) => step.status !== status);
  return steps[before + 1]?.after_ms ?? 0;
}

/** The script after a status was set by hand, which drops the remaining steps. */
export function withStatus(
  script: RunScript,
  elapsedMs: number,
  change: { status: string; progress?: number | undefined },
): RunScript {
  const [first, ...later] = script.steps;
  const played = later.filter((step) => step.after_ms <= elapsedMs);
  const step = {
    after_ms: Math.max(0, elapsedMs),
    status: change.status,
    progress: change.progress ?? stateAt(script, elapsedMs).progress,
  };
  return {
    ...script,
    steps: [first, ...played, step],
    deleted_after_ms: script.deleted_after_ms <= elapsedMs ? script.deleted_after_ms : Infinity,
    starts: 'at_once',
  };
}

/** The script with its steps postponed, while the run remained in its first state. */
export function postponed(script: RunScript, byMs: number): RunScript {
  const [first, ...later] = script.steps;
  const moved = later.map(({ after_ms, status, progress }) => ({
    after_ms: after_ms + byMs,
    status,
    progress,
  }));
  return {
    ...script,
    steps: [first, ...moved],
    starts: 'at_once',
    visible_after_ms: script.visible_after_ms === 0 ? 0 : script.visible_after_ms + byMs,
    deleted_after_ms: script.deleted_after_ms + byMs,
  };
}
