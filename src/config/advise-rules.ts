import { SYSTEM_EVENT_TYPES, EVENT_TYPES } from '../core/event/event.ts';
import { ruleWants, wantsEvent } from '../core/event/patterns.ts';
import { mutedUntil, type TimeInterval } from '../core/alert/time-interval.ts';
import { unknownName, type Finding } from './problems.ts';
import { namesOfWorkflows } from './advise-names.ts';
import { intervalOf, type RuleConfig } from './rule-schema.ts';
import type { Config } from './schema.ts';

/** A rule with its place in the list. */
interface Given {
  rule: RuleConfig;
  at: number;
}

/** Rules that are valid and yet never fire, never notify or never resolve, each with the cure. */
export function adviseOnRules(config: Config): Finding[] {
  return config.rules.flatMap((rule, at) =>
    ADVICE.flatMap((advise) => advise({ rule, at }, config)),
  );
}

const ADVICE: readonly ((given: Given, config: Config) => Finding[])[] = [
  unknownEndpoints,
  unknownSources,
  namedWorkflows,
  withoutDiscovery,
  withoutRun,
  oncePerRun,
  alwaysMuted,
  endless,
  withoutEnd,
  withoutEffect,
];

const none: Finding[] = [];

function finding({ at }: Given, path: readonly (string | number)[], message: string): Finding[] {
  return [{ path: ['rules', at, ...path], message }];
}

function unknownEndpoints({ rule, at }: Given, { endpoints }: Config): Finding[] {
  const known = { what: 'endpoint', names: Object.keys(endpoints) };
  const notified = [
    ...rule.notify.map((name, index) => ({ name, path: ['notify', index] })),
    ...rule.escalate.flatMap((step, number) =>
      step.notify.map((name, index) => ({ name, path: ['escalate', number, 'notify', index] })),
    ),
  ];
  return notified.flatMap(({ name, path }) => unknownName(['rules', at, ...path], name, known));
}

function unknownSources({ rule: { when }, at }: Given, { sources }: Config): Finding[] {
  const known = { what: 'source', names: Object.keys(sources) };
  if (known.names.length === 0) return none;
  return (when?.source ?? []).flatMap((name) =>
    unknownName(['rules', at, 'when', 'source'], name, known),
  );
}

function namedWorkflows({ rule, at }: Given, config: Config): Finding[] {
  return namesOfWorkflows(['rules', at, 'when'], rule.when, config);
}

/** What is absent is not noticed where runs only come by registration. */
function withoutDiscovery(given: Given, { sources }: Config): Finding[] {
  const { absent, events = [], when } = given.rule;
  const meant = Object.entries(sources).filter(([name]) => when?.source?.includes(name) ?? true);
  if (meant.length === 0 || meant.some(([, { discover }]) => discover !== undefined)) return none;
  if (events.length > 0 && events.every((pattern) => pattern.startsWith('discovery.'))) {
    const message = 'no source discovers runs, so that it never fires: set discover of the source';
    return finding(given, ['events'], message);
  }
  if (absent === undefined) return none;
  const message =
    'no source that it is about discovers runs, so it knows only of runs that are registered ' +
    'and may never fire, or for want of registrations: set discover of the source';
  return finding(given, ['absent'], message);
}

/** Types of events that patterns name, of runs and of runwatch itself. */
function typesOf(patterns: readonly string[]): { ofRuns: string[]; ofSystem: string[] } {
  return {
    ofRuns: EVENT_TYPES.filter((type) => wantsEvent(patterns, type)),
    ofSystem: SYSTEM_EVENT_TYPES.filter((type) => ruleWants(patterns, type)),
  };
}

/** System events that are about a source. */
const OF_SOURCES = /^(source|workflow|polling|discovery)\./;

/** System events that are about a workflow. */
const OF_WORKFLOWS = /^workflow\./;

/** An event that is about no run has no metadata, and of system events few have a workflow. */
function withoutRun(given: Given): Finding[] {
  const { events = [], when, absent } = given.rule;
  const { ofRuns, ofSystem } = typesOf(absent === undefined ? events : [absent.event]);
  if (when === undefined || ofRuns.length > 0 || ofSystem.length === 0) return none;
  const hasWorkflow = ofSystem.some((type) => OF_WORKFLOWS.test(type));
  const key = when.workflow_id === undefined || hasWorkflow ? 'metadata' : 'workflow_id';
  if (when[key] !== undefined) {
    const message = `${ofSystem.join(', ')} is about no run, so that it has none and never matches: leave it out`;
    return finding(given, ['when', key], message);
  }
  if (when.source === undefined || ofSystem.some((type) => OF_SOURCES.test(type))) return none;
  const message = `${ofSystem.join(', ')} is about no source, so that it never matches: leave it out`;
  return finding(given, ['when', 'source'], message);
}

const ENDS = new Set(['run.completed', 'run.failed', 'run.stopped', 'run.gone', 'watch.expired']);

/** A run ends once, so that no more than one end is in a group of its own. */
function oncePerRun(given: Given): Finding[] {
  const { threshold, group_by: labels = [], events = [] } = given.rule;
  if (threshold === undefined || !labels.includes('...')) return none;
  const { ofRuns, ofSystem } = typesOf(events);
  const least = threshold.count ?? threshold.consecutive ?? threshold.at_least ?? threshold.of_last;
  const isOnce = ofSystem.length === 0 && ofRuns.every((type) => ENDS.has(type));
  if (!isOnce || least === undefined || least < 2) return none;
  const message =
    `a run ends once, and '...' makes a group of each run, so that ${least} are never reached: ` +
    'group by workflow_id';
  return finding(given, ['group_by'], message);
}

/** Times of all seasons at which intervals are tried. */
const SEASONS = [0, 3, 6, 9].map((month) => Date.UTC(2029, month, 14));

/** An interval that is this long ends never, ms. */
const LONG_MS = 8 * 86_400_000 - 900_000;

function alwaysMuted(given: Given, { time_intervals: named }: Config): Finding[] {
  const { mute_time_intervals: names } = given.rule;
  const intervals = names.flatMap((name) => named[name] ?? []).map(everyYear);
  const isMuted = (at: number) => (mutedUntil(intervals, at) ?? 0) - at >= LONG_MS;
  if (intervals.length === 0 || !SEASONS.every(isMuted)) return none;
  const message = 'they leave no time at which it notifies: shorten or remove one of them';
  return finding(given, ['mute_time_intervals'], message);
}

/** An interval without its years, which end some day. */
function everyYear(interval: Parameters<typeof intervalOf>[0]): TimeInterval {
  return intervalOf({ ...interval, years: undefined });
}

/** An event that opens an alert cannot resolve it. */
function endless(given: Given): Finding[] {
  const { events = [], threshold, digest, resolve } = given.rule;
  if (threshold !== undefined || digest !== undefined || resolve?.after !== undefined) return none;
  const resolving = resolve?.events ?? ['run.completed'];
  const { ofRuns, ofSystem } = typesOf(resolving);
  if (![...ofRuns, ...ofSystem].every((type) => ruleWants(events, type))) return none;
  const others = resolve?.events === undefined ? 'resolve.events' : 'other events';
  const message =
    `${resolving.join(', ')} opens alerts of this rule, so it cannot resolve them: ` +
    `set resolve.after or ${others}`;
  return finding(given, ['events'], message);
}

/** Runs that complete say nothing about what is no run. */
function withoutEnd(given: Given): Finding[] {
  const { events = [], threshold, digest, resolve } = given.rule;
  if (threshold !== undefined || digest !== undefined || resolve !== undefined) return none;
  const { ofRuns, ofSystem } = typesOf(events);
  if (ofRuns.length > 0 || ofSystem.length === 0) return none;
  const message =
    `run.completed says nothing of ${ofSystem[0]}, so that its alerts never resolve: ` +
    'set resolve.events, such as [source.recovered], or resolve.after';
  return finding(given, ['events'], message);
}

/** Settings that only thresholds have. */
function withoutEffect(given: Given): Finding[] {
  const { threshold, for: forMs, keep_firing_for: keepMs } = given.rule;
  if (threshold !== undefined) return none;
  const set = [
    ['for', forMs],
    ['keep_firing_for', keepMs],
  ] as const;
  return set.flatMap(([key, ms]) =>
    ms === 0 ? none : finding(given, [key], 'it has no effect without threshold'),
  );
}
