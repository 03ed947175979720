import { unknownName, type Finding } from './problems.ts';
import type { RuleConfig } from './rule-schema.ts';
import type { Config } from './schema.ts';

/** What of rules, time intervals and inhibitions does not go together. */
export function checkRules({ rules, time_intervals: intervals, inhibit_rules: inhibits }: Config) {
  const names = rules.map(({ name }) => name);
  return [
    ...rules.flatMap((rule, at) => checkRule(rule, { at, names, intervals })),
    ...inhibits.flatMap(({ source_rule: source, target_rule: target }, at) => [
      ...unknownName(['inhibit_rules', at, 'source_rule'], source, { what: 'rule', names }),
      ...unknownName(['inhibit_rules', at, 'target_rule'], target, { what: 'rule', names }),
    ]),
  ];
}

function checkRule(
  rule: RuleConfig,
  context: { at: number; names: string[]; intervals: Config['time_intervals'] },
): Finding[] {
  const { at, names, intervals } = context;
  const known = { what: 'time interval', names: Object.keys(intervals) };
  const twin: Finding[] =
    names.indexOf(rule.name) === at
      ? []
      : [{ path: ['rules', at, 'name'], message: `another rule is named ${rule.name}` }];
  return [
    ...twin,
    ...rule.mute_time_intervals.flatMap((name, index) =>
      unknownName(['rules', at, 'mute_time_intervals', index], name, known),
    ),
  ];
}

/** Rules that are valid and yet never fire, never notify or never resolve, each with the cure. */
export function adviseOnRules(config: Config): Finding[] {
  return config.rules.flatMap((rule, at) => [
    ...unknownEndpoints(config, rule, at),
    ...unknownSources(config, rule, at),
    ...withoutDiscovery(config, rule, at),
    ...endless(rule, at),
  ]);
}

function unknownEndpoints({ endpoints }: Config, rule: RuleConfig, at: number): Finding[] {
  const known = { what: 'endpoint', names: Object.keys(endpoints) };
  const named = [
    ...rule.notify.map((name, index) => ({ name, path: ['notify', index] })),
    ...rule.escalate.flatMap((step, number) =>
      step.notify.map((name, index) => ({ name, path: ['escalate', number, 'notify', index] })),
    ),
  ];
  return named.flatMap(({ name, path }) => unknownName(['rules', at, ...path], name, known));
}

function unknownSources({ sources }: Config, { when }: RuleConfig, at: number): Finding[] {
  const known = { what: 'source', names: Object.keys(sources) };
  if (known.names.length === 0) return [];
  return (when?.source ?? []).flatMap((name) =>
    unknownName(['rules', at, 'when', 'source'], name, known),
  );
}

/** What is absent is not noticed where runs only come by registration. */
function withoutDiscovery({ sources }: Config, { absent, when }: RuleConfig, at: number) {
  if (absent === undefined) return [];
  const meant = Object.entries(sources).filter(([name]) => when?.source?.includes(name) ?? true);
  if (meant.length === 0 || meant.some(([, { discover }]) => discover !== undefined)) return [];
  const message =
    'no source that it is about discovers runs, so it knows only of runs that are registered ' +
    'and may never fire, or for want of registrations: set discover of the source';
  return [{ path: ['rules', at, 'absent'], message }];
}

/** An event that opens an alert cannot resolve it. */
function endless(rule: RuleConfig, at: number): Finding[] {
  const { events = [], threshold, digest, resolve } = rule;
  const byItself = threshold !== undefined || digest !== undefined;
  const bySuccess = resolve === undefined || resolve.success_threshold !== undefined;
  if (byItself || !bySuccess) return [];
  if (!events.some((pattern) => ['*', 'run.*', 'run.completed'].includes(pattern))) return [];
  const message =
    'run.completed opens alerts of this rule, so it cannot resolve them: ' +
    'set resolve.after or resolve.events';
  return [{ path: ['rules', at, 'events'], message }];
}
