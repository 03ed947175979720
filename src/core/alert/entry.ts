import type { RunwatchEvent } from '../event/event.ts';
import { attemptBeganAt, type RunSnapshot } from '../run/snapshot.ts';
import { isRestart } from '../watch/attempt.ts';
import { watchId, type ChangedWatch, type Watch } from '../watch/watch.ts';
import { meets, roleOf, workflowOf, type AlertEvent, type AlertedRun, type Rule } from './rule.ts';

/**
 * What rules have to judge, with the names of the rules. It is written in the step that writes the
 * event, and judged once.
 */
export type AlertEntry =
  | { kind: 'event'; event: AlertEvent; rules: string[] }
  /** A user watches a run no more: it leaves the alerts of rules that are about it. */
  | { kind: 'left'; event: AlertEvent; rules: string[] }
  /** A run is watched that has deadlines: when they end, milliseconds since the epoch; null while unknown. */
  | { kind: 'deadlines'; watch: string; deadlines: { rule: string; at: number | null }[] };

/** What an event of a watch has that rules see. */
export function alertEventOf({ id, type, data }: RunwatchEvent): AlertEvent {
  const { source, metadata } = data.watch;
  const links = { name: data.workflow_name ?? null, url: data.run_url ?? null };
  const finishedAt = Date.parse(data.run?.finished_at ?? '');
  return {
    id,
    type,
    at: Date.parse(data.detected_at),
    source,
    metadata,
    run: alertedRun(data.run_id, data.run, links),
    ...(Number.isFinite(finishedAt) && { finishedAt }),
  };
}

/** What an event about runwatch itself has that rules see. */
export function systemAlertEvent(event: {
  id: string;
  type: string;
  at: number;
  data: Readonly<Record<string, unknown>>;
}): AlertEvent {
  const { id, type, at, data } = event;
  const source = typeof data['source'] === 'string' ? data['source'] : '';
  const workflowId = data['workflow_id'];
  const about = { id, type, at, source, metadata: {}, run: null };
  return typeof workflowId === 'string' ? { ...about, workflowId } : about;
}

export function alertedRun(
  runId: string,
  run: Pick<RunSnapshot, 'workflow_id' | 'status'> | null,
  { name, url }: Pick<AlertedRun, 'name' | 'url'>,
): AlertedRun {
  return { runId, workflowId: run?.workflow_id ?? null, name, url, status: run?.status ?? null };
}

/** The time that a workflow's runs usually take, ms; null where too little is known. */
export type UsualDuration = (
  workflow: { source: string; workflowId: string | null },
  percentile: number,
) => number | null;

/** What of an event `when` of a rule is about. */
type IndexedEvent = Omit<AlertEvent, 'id' | 'at'>;

/**
 * Rules by one thing that an event must have for them: a workflow, an entry of metadata, or a source. A
 * thousand rules, each of its own workflows or team, cost an event of none of them some look-ups
 * (`bench -- rules`).
 */
class RuleIndex {
  private readonly byTrait = new Map<string, Rule[]>();
  private readonly ofAll: Rule[] = [];

  constructor(rules: readonly Rule[]) {
    for (const rule of rules) {
      const traits = traitsNeeded(rule);
      if (traits === null) this.ofAll.push(rule);
      for (const trait of new Set(traits)) {
        const same = this.byTrait.get(trait);
        if (same === undefined) this.byTrait.set(trait, [rule]);
        else same.push(rule);
      }
    }
  }

  /** The rules that have no condition which an event does not meet. */
  meeting(event: IndexedEvent): Rule[] {
    const found = traitsOf(event).flatMap((trait) => this.byTrait.get(trait) ?? []);
    return [...found, ...this.ofAll].filter((rule) => meets(rule, event));
  }
}

/** Traits of which an event must have one, of the kind that fewest events share; null for none. */
function traitsNeeded({ when }: Rule): string[] | null {
  if (when === undefined) return null;
  if (when.workflow_id !== undefined) return when.workflow_id.map(workflowTrait);
  const [entry] = Object.entries(when.metadata ?? {});
  if (entry !== undefined) return entry[1].map((value) => metadataTrait(entry[0], value));
  return when.source?.map(sourceTrait) ?? null;
}

function traitsOf(event: IndexedEvent): string[] {
  const { source, metadata } = event;
  const workflow = workflowOf(event);
  return [
    ...(workflow === null ? [] : [workflowTrait(workflow)]),
    ...Object.entries(metadata).map(([key, value]) => metadataTrait(key, value)),
    sourceTrait(source),
  ];
}

const workflowTrait = (id: string) => `workflow ${id}`;
const metadataTrait = (key: string, value: string) => `metadata ${key}=${value}`;
const sourceTrait = (name: string) => `source ${name}`;

/** The rules of a configuration, and what they have to judge. */
export class RuleBook {
  private readonly byName: ReadonlyMap<string, Rule>;
  private readonly judging: RuleIndex;
  private readonly withDeadline: RuleIndex;

  /**
   * @param all those of the configuration
   * @param own others that are judged, too
   */
  constructor(
    readonly all: readonly Rule[],
    own: readonly Rule[] = [],
  ) {
    const judged = [...all, ...own];
    this.byName = new Map(judged.map((rule) => [rule.name, rule]));
    this.judging = new RuleIndex(judged);
    this.withDeadline = new RuleIndex(all.filter(({ condition }) => condition.kind === 'deadline'));
  }

  /** Whether a rule fires for what did not happen, so that events must not be missing. */
  needsAll(): boolean {
    return this.all.some(({ condition: { kind } }) => kind === 'absent' || kind === 'deadline');
  }

  /** Whether a deadline goes by how long runs usually take. */
  needsUsual(): boolean {
    return this.all.some(
      ({ condition }) => condition.kind === 'deadline' && condition.limit.kind === 'usual',
    );
  }

  named(name: string): Rule | undefined {
    return this.byName.get(name);
  }

  /** What rules have to judge of an event; null where none has. */
  entryOf(event: AlertEvent): AlertEntry | null {
    const rules = this.judging.meeting(event).filter((rule) => roleOf(rule, event.type) !== null);
    if (rules.length === 0) return null;
    return { kind: 'event', event, rules: rules.map(({ name }) => name) };
  }

  /** The deadlines of a watch that a change sets: when its run was first seen, or started, or began anew. */
  deadlinesOf(before: Watch | null, after: Watch, usual: UsualDuration): AlertEntry | null {
    const { run } = after;
    // Each attempt has deadlines of its own.
    const earlier = before === null || isRestart(before, after) ? null : before.run;
    const isNew =
      run?.created_at !== earlier?.created_at || run?.started_at !== earlier?.started_at;
    if (!isNew || run === null || after.state !== 'active') return null;
    const deadlines = this.withDeadline.meeting(watchEvent(after)).flatMap((rule) => {
      const from = beginningOf(rule, run);
      if (from === null || beginningOf(rule, earlier) === from) return [];
      return [{ rule: rule.name, at: deadlineOf(rule, after, usual) }];
    });
    return deadlines.length === 0 ? null : { kind: 'deadlines', watch: watchId(after), deadlines };
  }

  /** What rules have to judge of a run that a user watches no more; null where none is about it. */
  leftBy(watch: Watch): Extract<AlertEntry, { kind: 'left' }> | null {
    const event = watchEvent(watch);
    const rules = this.judging.meeting(event).map(({ name }) => name);
    return rules.length === 0 ? null : { kind: 'left', event: { ...event, id: '', at: 0 }, rules };
  }
}

/** When a run is beyond the deadline of a rule, milliseconds since the epoch; null where none is known. */
export function deadlineOf(
  rule: Rule,
  { source, run }: Pick<Watch, 'source' | 'run'>,
  usual: UsualDuration,
): number | null {
  const from = beginningOf(rule, run);
  if (run === null || from === null) return null;
  const ms = limitMs(rule, { source, workflowId: run.workflow_id }, usual);
  return ms === null ? null : Date.parse(from) + ms;
}

/** When the deadline of a rule begins: with the present attempt of a run, of which the first alone has `created_at`. */
export function beginningOf({ condition }: Rule, run: RunSnapshot | null): string | null {
  if (condition.kind !== 'deadline' || run === null) return null;
  return condition.reference === 'created_at' ? attemptBeganAt(run) : run.started_at;
}

/** A run as rules see it, without an event. */
function watchEvent({ source, metadata, runId, run }: Watch) {
  return { type: '', source, metadata, run: alertedRun(runId, run, NO_LINKS) };
}

/** What rules have to judge of a change of a watch. */
export function entriesOf(
  book: RuleBook,
  { before, after, events }: ChangedWatch & { events: readonly RunwatchEvent[] },
  usual: UsualDuration,
): AlertEntry[] {
  const judged = events.map((event) => book.entryOf(alertEventOf(event)));
  const deadlines = book.deadlinesOf(before?.watch ?? null, after, usual);
  const isLeft = before?.watch.state === 'active' && after.state === 'cancelled';
  const left = isLeft ? book.leftBy(after) : null;
  return [...judged, deadlines, left].filter((entry) => entry !== null);
}

const NO_LINKS = { name: null, url: null };

function limitMs(
  { condition }: Rule,
  workflow: Parameters<UsualDuration>[0],
  usual: UsualDuration,
): number | null {
  if (condition.kind !== 'deadline') return null;
  const { limit } = condition;
  if (limit.kind === 'interval') return limit.ms;
  const usualMs = usual(workflow, limit.percentile);
  return usualMs === null ? null : usualMs * limit.times;
}
