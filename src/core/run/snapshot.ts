/** The statuses of a run that runwatch knows. */
export const KNOWN_STATUSES = [
  'queued',
  'running',
  'failed',
  'completed',
  'stopped',
  'awaiting_human_feedback',
] as const;

export type KnownStatus = (typeof KNOWN_STATUSES)[number];

type TerminalStatus = 'completed' | 'failed' | 'stopped';

/** The kinds of fields of a run, by their values. Times are ISO 8601 UTC with milliseconds. */
interface RunFieldKinds {
  /** As in the watch, see {@link canonicalRunId}. */
  id: string;
  /** One of {@link KNOWN_STATUSES}, or any other text from a source. */
  status: string;
  text: string | null;
  integer: number | null;
  time: string | null;
  /** When the answer came that shows the run so. */
  observed: string;
}

export type RunFieldKind = keyof RunFieldKinds;

/** A field of a run, and how it is shown to people. */
interface RunField {
  readonly kind: RunFieldKind;
  /** What it is called on the page of a run. */
  readonly label: string;
  /** The head of its column in lists of runs; null where they leave it to the page of a run. */
  readonly column: string | null;
}

/**
 * The fields of a run that runwatch reads, in the order of answers and events. All else follows: what is
 * read of a source, the record in Redis, the API, `show` and the dashboard. Nothing else of a run leaves what
 * reads it.
 */
export const RUN_FIELDS = {
  id: { kind: 'id', label: 'run', column: 'RUN' },
  workflow_id: { kind: 'text', label: 'workflow', column: 'WORKFLOW' },
  group_id: { kind: 'text', label: 'group', column: null },
  workflow_version_id: { kind: 'text', label: 'version', column: null },
  status: { kind: 'status', label: 'status', column: 'STATUS' },
  /** Unbounded for Noxus, normally 0–100. */
  progress: { kind: 'integer', label: 'progress', column: 'PROGRESS' },
  created_at: { kind: 'time', label: 'created', column: null },
  started_at: { kind: 'time', label: 'started', column: null },
  finished_at: { kind: 'time', label: 'finished', column: null },
  source: { kind: 'text', label: 'started from', column: null },
  user_id: { kind: 'text', label: 'started by', column: null },
  conversation_id: { kind: 'text', label: 'conversation', column: null },
  observed_at: { kind: 'observed', label: 'observed', column: null },
} as const satisfies Record<string, RunField>;

type Fields = typeof RUN_FIELDS;

/**
 * The snapshot: what we keep of a run, in the shape users see. Only id and status are certain; any other
 * field is null where the source gives none.
 */
export type RunSnapshot = {
  -readonly [Name in keyof Fields]: RunFieldKinds[Fields[Name]['kind']];
} & {
  /** What the source itself calls the status: of sources of type http alone, and only a word that they declare. */
  source_status?: string | undefined;
  /** Which attempt of the run this is, counted from 1: only of sources of type http that declare it. */
  attempt?: number | undefined;
};

export type RunFieldName = keyof Fields;

/** The fields that a source gives. */
export type ReadFieldName = Exclude<RunFieldName, 'observed_at'>;

/** The fields that lists of runs have a column for. */
export type ListedFieldName = {
  [Name in RunFieldName]: Fields[Name]['column'] extends string ? Name : never;
}[RunFieldName];

export const RUN_FIELD_NAMES = Object.keys(RUN_FIELDS) as RunFieldName[];

/** What {@link statusLabel} gives. */
export const STATUS_LABELS = [...KNOWN_STATUSES, 'unseen', 'unknown'] as const;

export function isKnownStatus(status: string): boolean {
  return isDocumented(status) || isAwaiting(status);
}

function isDocumented(status: string): boolean {
  return (KNOWN_STATUSES as readonly string[]).includes(status);
}

/** A status as a metric's label: unknown statuses share one, to bound the labels. */
export function statusLabel(run: Pick<RunSnapshot, 'status'> | null): string {
  if (run === null) return 'unseen';
  return isDocumented(run.status) ? run.status : 'unknown';
}

/**
 * True where the run waits for something from outside: a human, or an event (`awaiting_event`, from
 * an older SDK of Noxus).
 */
export function isAwaiting(status: string): boolean {
  return status.startsWith('awaiting_');
}

/** Terminal runs never change again, so polling them is pointless; another attempt is like another run. */
export function isTerminalStatus(status: string): status is TerminalStatus {
  return status === 'completed' || status === 'failed' || status === 'stopped';
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Whether an id is a UUID, in whatever case. */
export function isUuid(id: string): boolean {
  return UUID.test(id);
}

/** The one spelling of a run id: a UUID is the same in any case, so lower case is kept. */
export function canonicalRunId(runId: string): string {
  return isUuid(runId) ? runId.toLowerCase() : runId;
}

/**
 * Progress for display: within 0 and 100, or a dash where the source gives none.
 * @param unit text after the number
 */
export function percentText(progress: number | null | undefined, unit = '%'): string {
  if (progress === null || progress === undefined) return '–';
  return `${Math.min(Math.max(progress, 0), 100)}${unit}`;
}

/**
 * The result of one poll of a run. Only `run`, `not_found` and `rejected` say something about the
 * run. Every other result means that its state is unknown; it never counts as a failed run.
 */
export type PollResult =
  | SeenRun
  /** 404 in the source's own format: deleted, not visible yet, or never there. */
  | { kind: 'not_found' }
  /** 422 about the run id: the source says that no run can have this id. */
  | { kind: 'rejected'; message: string }
  | FetchTrouble;

/** A run that a source has shown. */
interface SeenRun {
  kind: 'run';
  run: RunSnapshot;
  /** What the answer calls its workflow. */
  workflowName?: string;
  /** For how long this run need not be read, by the source's own account. */
  retryAfterMs?: number;
}

/** A result that says nothing about the run. */
export type FetchTrouble =
  /** 401: the source rejects the API key. */
  | { kind: 'unauthorized'; message: string }
  /** 403: the API key lacks the right to read this run, or any. */
  | { kind: 'forbidden'; message: string }
  /** 429, or 503 with `Retry-After`. `retryAfterMs` is null where the source gave no time. */
  | { kind: 'rate_limited'; retryAfterMs: number | null; message: string }
  /** Network errors, timeouts and every other status, including a proxy's 404. */
  | { kind: 'unavailable'; message: string }
  /**
   * A 200 with a body that is not a run: HTML, cut JSON, no id or status, too large, another run's
   * id.
   */
  | { kind: 'invalid_response'; message: string };

export type TroubleKind = FetchTrouble['kind'];

/** A time of a snapshot or event as milliseconds since the epoch; null where there is none. */
export function timeOf(text: string | null | undefined): number | null {
  const at = text ? Date.parse(text) : NaN;
  return Number.isNaN(at) ? null : at;
}

/** By which a source says when a run began to work. */
export type WorkTimes = Pick<RunSnapshot, 'created_at' | 'started_at' | 'attempt'>;

/**
 * When the present attempt of a run came to be. Only the first one did so with the run; of a later one no source
 * says more than its start.
 */
export function attemptBeganAt({ started_at, created_at, attempt = 1 }: WorkTimes) {
  return attempt > 1 ? started_at : created_at;
}

/** When a run began to work: `started_at`, else `created_at` as an estimate. Null with neither. */
export function workBeganAt(run: WorkTimes) {
  return run.started_at ?? attemptBeganAt(run);
}

/** {@link workBeganAt} as milliseconds since the epoch. */
export function workBegan(run: WorkTimes): number | null {
  return timeOf(workBeganAt(run));
}
