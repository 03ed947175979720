import { checkRules } from '../config/cross-check.ts';
import { writtenNames } from '../config/held-part.ts';
import type { ConfigProblem } from '../config/problems.ts';
import { intervalOf, type RuleConfig } from '../config/rule-schema.ts';
import type { Config, RuleSections } from '../config/schema.ts';
import { entriesOf, RuleBook, type UsualDuration } from '../core/alert/entry.ts';
import { FAILURES_RULE } from '../core/alert/failures.ts';
import {
  defaultResolution,
  type AlertEvent,
  type Condition,
  type InhibitRule,
  type Resolution,
  type Rule,
} from '../core/alert/rule.ts';
import { isPager } from '../core/delivery/delivery.ts';
import { workflowEntry } from '../core/run/workflow-entry.ts';
import type { WatchChange } from '../redis/watch-change.ts';
import { allEndpoints } from '../deliver/endpoints.ts';

/** Rules that can be judged by. */
export interface LiveRules {
  readonly book: RuleBook;
  readonly inhibitRules: readonly InhibitRule[];
  /** Names of all sources. */
  readonly sources: readonly string[];
  /** How long a workflow's runs usually take. */
  readonly usual: UsualDuration;
}

/** The rules in force. A reload replaces them: read them where they are used. */
export class AlertRules implements LiveRules {
  private current: ReturnType<typeof resolveRules>;
  private config: Config;
  /** Called when there is something to judge, which is written at once. */
  onEntries: () => void = () => undefined;
  /** How long a workflow's runs usually take; nothing is known before statistics are at hand. */
  usual: UsualDuration = () => null;

  constructor(config: Config) {
    this.config = config;
    this.current = resolveRules(config);
  }

  /**
   * Rules as they would be with other sections of the configuration; their endpoints need not be configured.
   * @returns instead what does not go together
   */
  tried(sections: Partial<RuleSections>): LiveRules | { problems: ConfigProblem[] } {
    const config = { ...this.config, ...sections };
    const problems = checkRules(config, writtenNames(config));
    if (problems.length > 0) return { problems };
    return { ...resolveRules(config, (names) => names), usual: this.usual };
  }

  get book(): RuleBook {
    return this.current.book;
  }

  get inhibitRules(): readonly InhibitRule[] {
    return this.current.inhibitRules;
  }

  get sources(): readonly string[] {
    return this.current.sources;
  }

  /** Endpoints that rules name and that are not configured: they are left out. */
  get unknown(): readonly { rule: string; endpoint: string }[] {
    return this.current.unknown;
  }

  replace(config: Config): void {
    this.config = config;
    // Which sources are polled changes with a restart only.
    this.current = { ...resolveRules(config), sources: this.current.sources };
  }

  /** What the rules have to judge of an event about runwatch itself. */
  entryOf(event: AlertEvent) {
    const entry = this.book.entryOf(event);
    if (entry !== null) this.onEntries();
    return entry;
  }

  /** What the rules have to judge of a change of a watch. */
  entriesOf(change: WatchChange) {
    const entries = entriesOf(this.book, change, this.usual);
    if (entries.length > 0) this.onEntries();
    return entries;
  }
}

/** @param admit chooses of the endpoints that rules name; absent, those that are configured */
function resolveRules(config: Config, admit?: (names: readonly string[]) => readonly string[]) {
  const endpoints = allEndpoints(config);
  const isConfigured = (name: string) => Object.hasOwn(endpoints, name);
  const known = admit ?? ((names: readonly string[]) => names.filter(isConfigured));
  const rules = config.rules.map((rule) => ruleOf(rule, { ...config, endpoints, known }));
  const unknown = config.rules.flatMap(({ name: rule, notify, escalate }) =>
    [...new Set([...notify, ...escalate.flatMap((step) => step.notify)])]
      .filter((endpoint) => !isConfigured(endpoint))
      .map((endpoint) => ({ rule, endpoint })),
  );
  return {
    unknown,
    book: new RuleBook(rules, [FAILURES_RULE]),
    inhibitRules: config.inhibit_rules.map(
      ({ source_rule: sourceRule, target_rule: targetRule, equal }) => ({
        sourceRule,
        targetRule,
        equal,
      }),
    ),
    sources: Object.keys(config.sources),
  };
}

const GROUP_BY = ['source', 'workflow_id'];

function ruleOf(
  rule: RuleConfig,
  {
    time_intervals: intervals,
    sources,
    workflows,
    endpoints,
    known,
  }: Pick<Config, 'time_intervals' | 'sources' | 'workflows' | 'endpoints'> & {
    known: (names: readonly string[]) => readonly string[];
  },
): Rule {
  const groupBy = rule.group_by ?? (rule.digest === undefined ? GROUP_BY : []);
  const notified = [...rule.notify, ...rule.escalate.flatMap((step) => step.notify)];
  return {
    name: rule.name,
    events: rule.events ?? [],
    when: rule.when,
    groupBy,
    groupWaitMs: rule.group_wait,
    groupIntervalMs: rule.group_interval,
    repeatIntervalMs: rule.repeat_interval,
    maxRuns: rule.max_runs,
    condition: conditionOf(rule),
    forMs: rule.for,
    keepFiringForMs: rule.keep_firing_for,
    resolve: resolutionOf(rule, groupBy),
    severity: rule.severity,
    owner: rule.owner ?? null,
    ownerOf: (workflow) => workflowEntry({ sources, workflows }, workflow)?.owner ?? null,
    nameOf: (workflow) => workflowEntry({ sources, workflows }, workflow)?.name ?? null,
    annotations: rule.annotations,
    notify: known(rule.notify),
    pagers: known(notified).filter((name) => isPager(endpoints[name]?.type)),
    mute: rule.mute_time_intervals.flatMap((name) =>
      (intervals[name] ?? []).map((interval) => Object.assign(intervalOf(interval), { name })),
    ),
    escalate: rule.escalate.map(({ after, unless, notify }) => ({
      afterMs: after,
      unlessAcknowledged: unless === 'acknowledged',
      notify: known(notify),
    })),
  };
}

function conditionOf({ threshold, absent, deadline, digest }: RuleConfig): Condition {
  if (threshold !== undefined) return thresholdOf(threshold);
  if (absent !== undefined) {
    return { kind: 'absent', event: absent.event, withinMs: absent.within };
  }
  if (deadline !== undefined) {
    const { reference, interval, of_usual: usual } = deadline;
    const limit =
      usual === undefined
        ? { kind: 'interval' as const, ms: interval ?? 0 }
        : { kind: 'usual' as const, ...usual };
    return { kind: 'deadline', reference, limit };
  }
  if (digest !== undefined) {
    return { kind: 'digest', schedule: { minute: digest.at, location: digest.location } };
  }
  return { kind: 'each' };
}

function thresholdOf(threshold: NonNullable<RuleConfig['threshold']>): Condition {
  const { count, within, consecutive, rate = 1, of_last: ofLast = 1 } = threshold;
  if (count !== undefined) return { kind: 'count', count, withinMs: within ?? 0 };
  if (consecutive !== undefined) return { kind: 'consecutive', count: consecutive };
  return { kind: 'rate', rate, ofLast, atLeast: threshold.at_least ?? ofLast };
}

function resolutionOf(
  { resolve, events = [], group_interval: groupIntervalMs }: RuleConfig,
  groupBy: readonly string[],
): Resolution {
  if (resolve === undefined) return defaultResolution({ events, groupBy, groupIntervalMs });
  const { after: afterMs = null, events: resolving, success_threshold: count = 1 } = resolve;
  const successes = afterMs === null ? ['run.completed'] : [];
  return { events: resolving ?? successes, count, settleMs: 0, afterMs };
}
