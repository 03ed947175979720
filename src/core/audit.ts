/** How a user asked for it: by a page of the dashboard, the command line, an AI client, or another program. */
export const AUDIT_WAYS = ['dashboard', 'cli', 'mcp', 'api'] as const;

export type AuditWay = (typeof AUDIT_WAYS)[number];

/** What users do that the audit log has. */
export const AUDITED_ACTIONS = [
  'alert.acknowledge',
  'alert.unacknowledge',
  'alert.resolve',
  'failures.acknowledge',
  'failures.unacknowledge',
  'run.acknowledge',
  'run.unacknowledge',
  'run.stop',
  'run.purge',
  'silence.add',
  'silence.expire',
  'endpoint.pause',
  'endpoint.resume',
  'endpoint.retry',
  'endpoint.rotate',
  'endpoint.secret',
  'delivery.redeliver',
  'deliveries.redeliver',
  'webhooks.end',
  'source.resume',
  'batch.close',
  'batch.delete',
] as const;

type AuditedAction = (typeof AUDITED_ACTIONS)[number];

/** Something that a user did, as the audit log keeps it. */
export interface AuditRecord {
  id: string;
  /** Milliseconds since the epoch. */
  at: number;
  /** The name of the token; null where none was needed. */
  by: string | null;
  via: AuditWay;
  action: AuditedAction;
  /** What it was done to: an id or a name, and `<source>/<run>` of a run. */
  target: string;
  /** The sources that it concerns; none where it may concern any. */
  sources: readonly string[];
  /** What else was given: never a secret. */
  details: Readonly<Record<string, string>>;
}

/** Which records a listing has; absent fields leave nothing out. Times are milliseconds since the epoch. */
export interface AuditFilter {
  since?: number | undefined;
  /** Only before this time. */
  until?: number | undefined;
  by?: string | undefined;
  /** Only what concerns these sources and no others. */
  sources?: readonly string[] | undefined;
}

/** The longest text of a detail. */
const MAX_TEXT = 500;

/** Details as they are kept: without those that were not given, long texts cut. */
export function auditDetails(
  given: Readonly<Record<string, string | null | undefined>>,
): AuditRecord['details'] {
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) =>
      value === null || value === undefined ? [] : [[name, shortened(value)]],
    ),
  );
}

function shortened(value: string): string {
  if (value.length <= MAX_TEXT) return value;
  // Not between the halves of a character.
  return `${value.slice(0, MAX_TEXT - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** Whether a record is one that a filter means. */
export function matchesAudit(record: AuditRecord, { by, sources }: AuditFilter): boolean {
  if (by !== undefined && record.by !== by) return false;
  if (sources === undefined) return true;
  return record.sources.length > 0 && record.sources.every((source) => sources.includes(source));
}
