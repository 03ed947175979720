/*
 * What rules promise, as simply as it can be said: it shares no code with the engine. Times are milliseconds.
 */

const MINUTE = 60_000;
const DAY = 1_440 * MINUTE;

/** A rule of the model. */
export interface Spec {
  name: string;
  kind: 'each' | 'count' | 'consecutive' | 'rate' | 'absent' | 'deadline' | 'digest';
  events: readonly string[];
  groupBy: readonly string[];
  workflow: string | null;
  source: string | null;
  end: 'default' | 'twice' | 'after' | 'resumed';
  within: number;
  keepFiring: number;
  groupInterval: number;
  notify: readonly string[];
  escalate: readonly { after: number; unless: boolean; notify: string }[];
  isMuted: boolean;
}

/** What happens to a run, or to a source: what rules group by. */
export interface Happening {
  type: string;
  source: string;
  workflow: string;
  run: string;
}

const RUN_ENDS = ['run.completed', 'run.failed', 'run.stopped'];
const LAST = [...RUN_ENDS, 'run.gone'];

const MUTED_HOUR = 23;

/** Mutes of the model last for the hour before midnight. */
export function isMutedAt(spec: Spec, at: number): boolean {
  return spec.isMuted && new Date(at).getUTCHours() === MUTED_HOUR;
}

export function isAbout(
  spec: Spec,
  { source, workflow }: Pick<Happening, 'source' | 'workflow'>,
): boolean {
  return (
    (spec.source === null || spec.source === source) &&
    (spec.workflow === null || spec.workflow === workflow)
  );
}

function labelsFor(spec: Spec, about: Happening): Record<string, string> {
  const { type: event, source, workflow: workflow_id, run: run_id } = about;
  const all: Record<string, string> = { event, source, workflow_id, run_id };
  const names = spec.groupBy.includes('...')
    ? ['source', 'workflow_id', 'run_id']
    : [...spec.groupBy];
  return Object.fromEntries(names.map((name) => [name, all[name] ?? '']));
}

function sorted(labels: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(labels).toSorted(([a], [b]) => a.localeCompare(b));
}

export function keyFor(rule: string, labels: Readonly<Record<string, string>>): string {
  return `${rule} ${JSON.stringify(sorted(labels))}`;
}

/** Whether a rule says that alerts with these labels exist. */
export function makes(spec: Spec, labels: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(labelsFor(spec, { type: '', source: '', workflow: '', run: '' }));
  return (
    names.length === Object.keys(labels).length &&
    names.every((name) => labels[name] !== undefined) &&
    [undefined, spec.source ?? labels['source']].includes(labels['source']) &&
    [undefined, spec.workflow ?? labels['workflow_id']].includes(labels['workflow_id']) &&
    (labels['event'] === undefined ||
      ['absent', 'deadline'].includes(spec.kind) ||
      spec.events.includes(labels['event']))
  );
}

/** What ends an alert of single events: which of them, how many, and how long after the last match. */
function endsOf(spec: Spec): { by: string[]; times: number; settle: number; after: number } {
  const others = { times: 1, settle: 0, after: Infinity };
  if (spec.end === 'twice') return { ...others, by: ['run.completed'], times: 2 };
  if (spec.end === 'after') return { ...others, by: [], after: 60 * MINUTE };
  if (spec.end === 'resumed') return { ...others, by: ['run.resumed'] };
  if (spec.groupBy.includes('event')) return { ...others, by: [], after: DAY };
  if (spec.groupBy.includes('...')) {
    const after = spec.events.some((type) => LAST.includes(type)) ? DAY : Infinity;
    return { ...others, by: ['run.resumed', ...LAST], after };
  }
  if (spec.events.includes('run.failed')) {
    const settle = spec.groupInterval;
    return { by: ['run.completed'], times: 1, settle, after: 7 * DAY };
  }
  if (spec.events.includes('source.unreachable')) return { ...others, by: ['source.recovered'] };
  return { ...others, by: [], after: DAY };
}

/** Whether an event says anything to a rule. */
function isJudged(spec: Spec, type: string): boolean {
  if (spec.kind === 'absent') return type.startsWith('run.');
  if (spec.kind === 'deadline') return LAST.includes(type);
  if (spec.events.includes(type)) return true;
  if (spec.kind === 'each') return endsOf(spec).by.includes(type);
  return (spec.kind === 'consecutive' || spec.kind === 'rate') && RUN_ENDS.includes(type);
}

/** Why one alert is open. */
interface Cause {
  rule: string;
  labels: Record<string, string>;
  kind: Spec['kind'];
  /** Runs that it counts, and those that were not taken out. */
  runs: Set<string>;
  left: Set<string>;
  lastMatch: number;
  resolving: number;
  overAt: number | null;
  /** Since when its rule makes it no more. */
  goneSince: number | null;
  /** What it was about, the last first. */
  abouts: Pick<Happening, 'source' | 'workflow'>[];
}

/** What the alerts of rules are to be. */
export class AlertReference {
  readonly causes = new Map<string, Cause>();
  /** Of runs in a row: how the last ended, by group. */
  private readonly rows = new Map<string, string>();
  private areRowsKnown = true;

  /** A run ends, waits or goes on, or a source does. */
  happen(spec: Spec, about: Happening, now: number): void {
    if (!isAbout(spec, about)) return;
    const labels = labelsFor(spec, about);
    if (!makes(spec, labels)) return;
    const key = keyFor(spec.name, labels);
    const cause = this.causes.get(key);
    const isMatch = spec.events.includes(about.type);
    if (cause !== undefined && cause.kind !== spec.kind && isJudged(spec, about.type)) {
      this.forget(key);
    }
    if (spec.kind === 'each') {
      if (isMatch) this.match(spec, key, { labels, about, now });
      else if (cause !== undefined && endsOf(spec).by.includes(about.type)) cause.resolving += 1;
    } else if (
      spec.kind === 'consecutive' &&
      this.areRowsKnown &&
      (isMatch || RUN_ENDS.includes(about.type))
    ) {
      const row = ((this.rows.get(key) ?? '') + (isMatch ? 'x' : 'o')).slice(-2);
      this.rows.set(key, row);
      if (row === 'xx') this.match(spec, key, { labels, about, now });
    } else if (spec.kind === 'deadline' && LAST.includes(about.type)) {
      this.causes.get(key)?.left.delete(about.run);
    }
  }

  late(spec: Spec, about: Happening, now: number): void {
    if (spec.kind !== 'deadline' || !isAbout(spec, about)) return;
    const labels = labelsFor(spec, about);
    const key = keyFor(spec.name, labels);
    // The alert that another kind of rule opened ends first.
    if (this.causes.get(key)?.kind !== spec.kind) this.forget(key);
    this.match(spec, key, { labels, about, now });
  }

  /** A user cancels or purges a run. */
  leave(spec: Spec, about: Happening): void {
    if (!isAbout(spec, about)) return;
    for (const type of [about.type, ...spec.events]) {
      const labels = labelsFor(spec, { ...about, type });
      const key = keyFor(spec.name, labels);
      const cause = this.causes.get(key);
      if (cause === undefined) continue;
      const wasIn = cause.left.delete(about.run);
      cause.runs.delete(about.run);
      const isEmpty = wasIn && cause.left.size === 0 && cause.kind !== 'consecutive';
      if (isEmpty || labels['run_id'] === about.run) this.forget(key);
    }
  }

  /** Other rules or sources are in force: what the runs in a row were before them says nothing. */
  reload(): void {
    this.rows.clear();
    for (const [key, { kind }] of this.causes) if (kind === 'consecutive') this.causes.delete(key);
    this.areRowsKnown = false;
  }

  /** A time without any process: no one waits for rules to come back. */
  pass(ms: number): void {
    for (const cause of this.causes.values()) if (cause.goneSince !== null) cause.goneSince += ms;
  }

  /** An alert was ended by hand, or by the loss of its rule. */
  forget(key: string): void {
    this.causes.delete(key);
    this.rows.delete(key);
  }

  /** Whether an alert goes on, by what its rule says now. */
  isOpen(spec: Spec, cause: Cause, now: number): boolean {
    if (cause.kind === 'deadline') return cause.left.size > 0;
    if (cause.kind === 'consecutive') {
      const isCrossed = this.rows.get(keyFor(cause.rule, cause.labels)) === 'xx';
      if (isCrossed) cause.overAt = null;
      else cause.overAt ??= now;
      return cause.overAt === null || now < cause.overAt + spec.keepFiring;
    }
    const { times, settle, after } = endsOf(spec);
    if (cause.resolving >= times) cause.overAt ??= now;
    const settled = Math.max(
      (cause.overAt ?? Infinity) + spec.keepFiring,
      cause.lastMatch + settle,
    );
    return now < Math.min(settled, cause.lastMatch + after);
  }

  private match(
    spec: Spec,
    key: string,
    { labels, about, now }: { labels: Record<string, string>; about: Happening; now: number },
  ): void {
    const there = this.causes.get(key);
    const { source, workflow, run } = about;
    const { name: rule, kind } = spec;
    const cause = there ?? {
      rule,
      labels,
      kind,
      abouts: [],
      runs: new Set<string>(),
      left: new Set<string>(),
      lastMatch: now,
      resolving: 0,
      overAt: null,
      goneSince: null,
    };
    const abouts = [{ source, workflow }, ...cause.abouts];
    Object.assign(cause, { abouts, lastMatch: now, resolving: 0, overAt: null });
    if (run !== '') cause.runs.add(run);
    if (run !== '') cause.left.add(run);
    this.causes.set(key, cause);
  }
}
