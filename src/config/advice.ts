import { isFinal } from '../core/alert/rule.ts';
import { inhibitedBy } from '../core/alert/suppression.ts';
import { mutedUntil, type TimeInterval } from '../core/alert/time-interval.ts';
import { isPager } from '../core/delivery/delivery.ts';
import { EVENT_TYPES, SYSTEM_EVENT_TYPES } from '../core/event/event.ts';
import { ruleWants, wantsEvent } from '../core/event/patterns.ts';
import { valueOf } from '../core/records.ts';
import { isUuid } from '../core/run/snapshot.ts';
import { workflowsWithEntry } from '../core/run/workflow-entry.ts';
import { isInClear, isLinkLocal } from './hosts.ts';
import { didYouMean, suggest, unknownName, type ConfigProblem } from './problems.ts';
import { intervalOf, type RuleConfig } from './rule-schema.ts';
import type { Path } from './schema-walk.ts';
import type { Config, HttpSourceConfig } from './schema.ts';

/** What is valid and yet will not work, or not as safely as it could, each with its cure. */
export function adviseOn(config: Config): ConfigProblem[] {
  return [
    ...unreachableEndpoints(config),
    ...unusedEndpoints(config),
    ...endpointsOfNames(config),
    ...unknownOwners(config),
    ...secretsInClear(config),
    ...withoutProbe(config),
    ...idleLists(config),
    ...withoutCompletion(config),
    ...sharedKeys(config),
    ...adviseOnRules(config),
    ...adviseOnInhibition(config),
  ];
}

function unreachableEndpoints({ endpoints }: Config): ConfigProblem[] {
  return Object.entries(endpoints).flatMap(([name, endpoint]) => {
    const [key, host] = hostOf(endpoint);
    if (host === null || !isLinkLocal(host)) return [];
    const message =
      'runwatch connects to no link-local address, so every delivery would fail: ' +
      'give another address of the receiver';
    return [{ path: ['endpoints', name, key], message }];
  });
}

/** Endpoints that are sent nothing unless a watch names them; `default: false` says that watches do. */
function unusedEndpoints({ endpoints, rules }: Config): ConfigProblem[] {
  const all = Object.entries(endpoints);
  if (all.every(([, endpoint]) => endpoint.default !== true)) return [];
  const byRules = new Set(
    rules.flatMap(({ notify, escalate }) => [
      ...notify,
      ...escalate.flatMap((step) => step.notify),
    ]),
  );
  return all.flatMap(([name, endpoint]) => {
    const { events = [], default: isDefault } = endpoint;
    const named = events.filter((pattern) => pattern !== '*');
    const isNotified = SYSTEM_EVENT_TYPES.some((type) => ruleWants(named, type));
    if (isDefault !== undefined || byRules.has(name) || isNotified) return [];
    const message =
      'no rule notifies it, and it is not among the defaults, so only a watch that names it sends to it: ' +
      'set default: true, name it in a rule, or set default: false where watches name it';
    return [{ path: ['endpoints', name], message }];
  });
}

function endpointsOfNames(config: Config): ConfigProblem[] {
  return Object.entries(config.endpoints).flatMap(([name, { when }]) =>
    namesOfWorkflows(['endpoints', name, 'when'], when, config),
  );
}

/** The host of an endpoint, and the setting that has it. */
function hostOf(endpoint: Config['endpoints'][string]): [key: 'url' | 'host', string | null] {
  const { url, host = null } = endpoint as { url?: string; host?: string };
  return url === undefined ? ['host', host] : ['url', new URL(url).hostname];
}

function secretsInClear({ sources, server }: Config): ConfigProblem[] {
  const problems = Object.entries(sources).flatMap(([name, source]) => {
    const { base_url: url } = source;
    const isDeclared = source.type === 'http';
    if (!isInClear(url) || (isDeclared && Object.keys(source.headers).length === 0)) return [];
    const what = isDeclared ? 'the headers travel' : 'the API key travels';
    return [{ path: ['sources', name, 'base_url'], message: inClear(what, url) }];
  });
  const { public_url: publicUrl } = server;
  if (publicUrl === undefined || !isInClear(publicUrl)) return problems;
  const message = inClear('tokens of the API travel', publicUrl);
  return [...problems, { path: ['server', 'public_url'], message }];
}

/** Without lists and a probe, nothing but runs shows whether a source answers. */
function withoutProbe({ sources }: Config): ConfigProblem[] {
  return Object.entries(sources).flatMap(([name, source]) => {
    if (source.type !== 'http' || source.probe !== undefined || source.list !== undefined)
      return [];
    const message =
      'it has no list and no probe, so that a run that is not found is not gone until the source has ' +
      'answered for another run: set list, or probe, such as probe: /status';
    return [{ path: ['sources', name], message }];
  });
}

/** Where a status may take a second read, a list cannot stand in for polls. */
function idleLists({ sources }: Config): ConfigProblem[] {
  return Object.entries(sources).flatMap(([name, source]) => {
    if (source.type !== 'http' || source.list === undefined) return [];
    if (source.also === undefined || source.discover !== undefined) return [];
    const message =
      'beside also a list serves discovery alone, and discover is not set: set discover, or leave list out';
    return [{ path: ['sources', name, 'list'], message }];
  });
}

/** Statuses that some answer of a declared source can mean. */
function statusesOf({ states, absent, also }: HttpSourceConfig): Set<string> {
  const meant = [...Object.keys(states), ...Object.keys(also?.states ?? {})];
  return new Set(absent === undefined ? meant : [...meant, absent]);
}

/** Runs that never complete are polled until their watches expire. */
function withoutCompletion({ sources }: Config): ConfigProblem[] {
  return Object.entries(sources).flatMap(([name, source]) => {
    if (source.type !== 'http' || statusesOf(source).has('completed')) return [];
    const message =
      'no word of the source means completed, so that no run of it ever completes: add completed with its words';
    return [{ path: ['sources', name, 'states'], message }];
  });
}

/** Sources do not share their limits. */
function sharedKeys({ sources }: Config): ConfigProblem[] {
  const declared = Object.entries(sources).flatMap(([name, source]) =>
    source.type === 'http' && Object.keys(source.headers).length > 0 ? [{ name, source }] : [],
  );
  return declared.flatMap(({ name, source }, at) => {
    const twin = declared.slice(0, at).find((other) => isSameKey(other.source, source));
    if (twin === undefined) return [];
    const message =
      `it asks with the headers and base_url of ${twin.name}, and each keeps its own rate_limit: ` +
      'give each a key of its own, or make one source of them by parts of id';
    return [{ path: ['sources', name, 'headers'], message }];
  });
}

function isSameKey(one: HttpSourceConfig, other: HttpSourceConfig): boolean {
  const [own, others] = [headersOf(one), headersOf(other)];
  return (
    one.base_url === other.base_url &&
    own.size === others.size &&
    [...own].every(([name, value]) => others.get(name) === value)
  );
}

/** Names of headers are the same in capitals. */
function headersOf({ headers }: HttpSourceConfig): Map<string, string> {
  return new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** The limit of a source that gives none: ten requests a second. */
const DEFAULT_LIMIT = { requests: 10, per: 1_000 };

/** What may well be meant so and is worth a look, a sentence each. */
export function notesOn(config: Config): string[] {
  const derived = derivedSecrets(config);
  const ofSources = Object.entries(config.sources).flatMap(([name, source]) =>
    source.type === 'http' ? NOTES.flatMap((notes) => notes(name, source)) : [],
  );
  return derived === null ? ofSources : [derived, ...ofSources];
}

const NOTES = [notesOnLimit, notesOnFailure];

function notesOnLimit(name: string, { rate_limit: limit }: HttpSourceConfig): string[] {
  const isUsual = limit.requests === DEFAULT_LIMIT.requests && limit.per === DEFAULT_LIMIT.per;
  const text = `sources.${name} is asked up to ten times a second, as by default: rate_limit takes what its API allows`;
  return isUsual ? [text] : [];
}

function notesOnFailure(name: string, source: HttpSourceConfig): string[] {
  if (statusesOf(source).has('failed')) return [];
  return [`no word of sources.${name} means failed, so that no run of it ever fails`];
}

function inClear(what: string, url: string): string {
  return `${what} in clear over plain http to ${new URL(url).hostname}: use https`;
}

type When = Config['endpoints'][string]['when'];

/**
 * Workflows of a filter that match no run: events have the id of a workflow, never its name.
 * @param path of the filter
 */
function namesOfWorkflows(path: Path, when: When, config: Config): ConfigProblem[] {
  const { workflows, sources } = config;
  // Ids of workflows of such a source have any form.
  if (Object.values(sources).some(({ type }) => type === 'http')) return [];
  const discovered = Object.values(sources).flatMap(({ discover }) => discover?.workflows ?? []);
  const known = new Set<string>([...workflowsWithEntry(config), ...discovered]);
  return (when?.workflow_id ?? []).flatMap((wanted) => {
    if (known.has(wanted) || isUuid(wanted)) return [];
    const id = Object.entries(workflows).find(([, { name }]) => name === wanted)?.[0];
    const message =
      id === undefined
        ? `"${wanted}" is no UUID, as ids of workflows are, so no run matches: give the id, or list it under workflows`
        : `"${wanted}" is the name of a workflow, so no run matches: give its id, ${id}`;
    return [{ path: [...path, 'workflow_id'], message }];
  });
}

/** Owners such as `@ana` whose user no endpoint with messages for people knows: such a message calls no user. */
function unknownOwners({ endpoints, rules, workflows }: Config): ConfigProblem[] {
  const mentions = Object.values(endpoints).flatMap((endpoint) =>
    'mentions' in endpoint ? [endpoint.mentions] : [],
  );
  if (mentions.length === 0) return [];
  const known = mentions.flatMap((users) => Object.keys(users));
  const owners: { path: Path; owner: string | undefined }[] = [
    ...rules.map(({ owner }, at) => ({ path: ['rules', at, 'owner'], owner })),
    ...Object.entries(workflows).map(([id, { owner }]) => ({
      path: ['workflows', id, 'owner'],
      owner,
    })),
  ];
  return owners.flatMap(({ path, owner }) => {
    if (owner?.startsWith('@') !== true || known.includes(owner)) return [];
    const message = `no endpoint has ${owner} in its mentions, so that messages call no user: add it there`;
    return [{ path, message: `${message}${didYouMean(suggest(owner, known))}` }];
  });
}

/** A rule with its place in the list. */
interface Given {
  rule: RuleConfig;
  at: number;
}

/** Rules that are valid and yet never fire, never notify or never resolve, each with the cure. */
function adviseOnRules(config: Config): ConfigProblem[] {
  return config.rules.flatMap((rule, at) =>
    ADVICE.flatMap((advise) => advise({ rule, at }, config)),
  );
}

const ADVICE: readonly ((given: Given, config: Config) => ConfigProblem[])[] = [
  unknownEndpoints,
  unknownSources,
  namedWorkflows,
  withoutDiscovery,
  withoutRun,
  oncePerRun,
  alwaysMuted,
  endless,
  endlessGroups,
  withoutEnd,
  digestToPagers,
  withoutEffect,
];

const none: ConfigProblem[] = [];

function ofRule({ at }: Given, path: Path, message: string): ConfigProblem[] {
  return [{ path: ['rules', at, ...path], message }];
}

function unknownEndpoints({ rule, at }: Given, { endpoints }: Config): ConfigProblem[] {
  const known = { what: 'endpoint', names: Object.keys(endpoints) };
  const notified = [
    ...rule.notify.map((name, index) => ({ name, path: ['notify', index] })),
    ...rule.escalate.flatMap((step, number) =>
      step.notify.map((name, index) => ({ name, path: ['escalate', number, 'notify', index] })),
    ),
  ];
  return notified.flatMap(({ name, path }) => unknownName(['rules', at, ...path], name, known));
}

function unknownSources({ rule: { when }, at }: Given, { sources }: Config): ConfigProblem[] {
  const known = { what: 'source', names: Object.keys(sources) };
  if (known.names.length === 0) return none;
  return (when?.source ?? []).flatMap((name) =>
    unknownName(['rules', at, 'when', 'source'], name, known),
  );
}

function namedWorkflows({ rule, at }: Given, config: Config): ConfigProblem[] {
  return namesOfWorkflows(['rules', at, 'when'], rule.when, config);
}

/** What is absent is not noticed where runs only come by registration. */
function withoutDiscovery(given: Given, { sources }: Config): ConfigProblem[] {
  const { absent, events = [], when } = given.rule;
  const meant = Object.entries(sources).filter(([name]) => when?.source?.includes(name) ?? true);
  if (meant.length === 0 || meant.some(([, { discover }]) => discover !== undefined)) return none;
  if (events.length > 0 && events.every((pattern) => pattern.startsWith('discovery.'))) {
    const message = 'no source discovers runs, so that it never fires: set discover of the source';
    return ofRule(given, ['events'], message);
  }
  if (absent === undefined) return none;
  const message =
    'no source that it is about discovers runs, so it knows only of runs that are registered ' +
    'and may never fire, or for want of registrations: set discover of the source';
  return ofRule(given, ['absent'], message);
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
function withoutRun(given: Given): ConfigProblem[] {
  const { events = [], when, absent } = given.rule;
  const { ofRuns, ofSystem } = typesOf(absent === undefined ? events : [absent.event]);
  if (when === undefined || ofRuns.length > 0 || ofSystem.length === 0) return none;
  const hasWorkflow = ofSystem.some((type) => OF_WORKFLOWS.test(type));
  const key = when.workflow_id === undefined || hasWorkflow ? 'metadata' : 'workflow_id';
  if (when[key] !== undefined) {
    const message = `${ofSystem.join(', ')} is about no run, so that it has none and never matches: leave it out`;
    return ofRule(given, ['when', key], message);
  }
  if (when.source === undefined || ofSystem.some((type) => OF_SOURCES.test(type))) return none;
  const message = `${ofSystem.join(', ')} is about no source, so that it never matches: leave it out`;
  return ofRule(given, ['when', 'source'], message);
}

/** A run ends once, so that no more than one end is in a group of its own; unless its source counts attempts. */
function oncePerRun(given: Given, { sources }: Config): ConfigProblem[] {
  const { threshold, group_by: labels = [] } = given.rule;
  if (threshold === undefined || !labels.includes('...')) return none;
  const least = threshold.count ?? threshold.consecutive ?? threshold.at_least ?? threshold.of_last;
  if (!isOnce(given.rule, sources) || least === undefined || least < 2) return none;
  const message =
    `a run ends once, and '...' makes a group of each run, so that ${least} are never reached: ` +
    'group by workflow_id';
  return ofRule(given, ['group_by'], message);
}

/** Whether a rule is about ends alone, and of runs that have no other attempt after theirs. */
function isOnce({ events = [], when }: RuleConfig, sources: Config['sources']): boolean {
  const { ofRuns, ofSystem } = typesOf(events);
  if (ofSystem.length > 0 || !ofRuns.every(isFinal)) return false;
  return (when?.source ?? Object.keys(sources)).every((name) => {
    const source = valueOf(sources, name);
    return source?.type !== 'http' || source.run.attempt === undefined;
  });
}

/** Times of all seasons at which intervals are tried. */
const SEASONS = [0, 3, 6, 9].map((month) => Date.UTC(2029, month, 14));

/** An interval that is this long ends never, ms. */
const LONG_MS = 8 * 86_400_000 - 900_000;

function alwaysMuted(given: Given, { time_intervals: named }: Config): ConfigProblem[] {
  const { mute_time_intervals: names } = given.rule;
  const intervals = names.flatMap((name) => named[name] ?? []).map(everyYear);
  const isMuted = (at: number) => (mutedUntil(intervals, at) ?? 0) - at >= LONG_MS;
  if (intervals.length === 0 || !SEASONS.every(isMuted)) return none;
  const message = 'they leave no time at which it notifies: shorten or remove one of them';
  return ofRule(given, ['mute_time_intervals'], message);
}

/** An interval without its years, which end some day. */
function everyYear(interval: Parameters<typeof intervalOf>[0]): TimeInterval {
  return intervalOf({ ...interval, years: undefined });
}

const BY_HAND = 'so that its alerts could only be ended by hand: leave resolve out, or set';

/** What resolves the alerts of a rule that says so; null where time does, or where the rule leaves it out. */
function resolvingOf({ resolve }: RuleConfig): string[] | null {
  if (resolve === undefined || resolve.after !== undefined) return null;
  return resolve.events ?? ['run.completed'];
}

/** An event that opens an alert cannot resolve it. */
function endless(given: Given): ConfigProblem[] {
  const { events = [] } = given.rule;
  const resolving = resolvingOf(given.rule);
  if (resolving === null) return none;
  const { ofRuns, ofSystem } = typesOf(resolving);
  if (![...ofRuns, ...ofSystem].every((type) => ruleWants(events, type))) return none;
  const message = `${resolving.join(', ')} opens alerts of this rule, ${BY_HAND} resolve.after or other events`;
  return ofRule(given, ['resolve'], message);
}

/** In a group of its own, an event that ends a run has none after it, and no type has another. */
function endlessGroups(given: Given): ConfigProblem[] {
  const { events = [], group_by: labels = [] } = given.rule;
  const resolving = resolvingOf(given.rule);
  if (resolving === null) return none;
  if (labels.includes('event')) {
    const message = `no group has events of two types, ${BY_HAND} resolve.after`;
    return ofRule(given, ['group_by'], message);
  }
  const { ofRuns, ofSystem } = typesOf(events);
  const isLast = ofSystem.length === 0 && ofRuns.every(isFinal);
  const mayFollow = resolving.some((pattern) => ruleWants([pattern], 'run.resumed'));
  if (!labels.includes('...') || !isLast || mayFollow) return none;
  const message = `nothing follows ${events.join(', ')} in a group of one run, ${BY_HAND} resolve.after`;
  return ofRule(given, ['group_by'], message);
}

/** Runs that complete say nothing about what is no run. */
function withoutEnd(given: Given): ConfigProblem[] {
  const { events = [] } = given.rule;
  const resolving = resolvingOf(given.rule);
  if (resolving === null) return none;
  const { ofRuns, ofSystem } = typesOf(events);
  if (ofRuns.length > 0 || ofSystem.length === 0) return none;
  if (typesOf(resolving).ofSystem.length > 0) return none;
  const message =
    `${resolving.join(', ')} says nothing of ${ofSystem[0]}, ${BY_HAND} resolve.events, ` +
    'such as [source.recovered], or resolve.after';
  return ofRule(given, ['events'], message);
}

/** A digest is no incident. */
function digestToPagers(given: Given, { endpoints }: Config): ConfigProblem[] {
  const { digest, notify } = given.rule;
  const pagers = notify.filter((name) => isPager(valueOf(endpoints, name)?.type));
  if (digest === undefined || pagers.length === 0) return none;
  const message =
    `${pagers.join(', ')} pages, and a digest is not sent there: ` +
    'notify a chat or mail, or leave digest out';
  return ofRule(given, ['notify'], message);
}

/** Rules whose alerts inhibit one another. */
function adviseOnInhibition({ inhibit_rules: inhibits }: Config): ConfigProblem[] {
  const all = inhibits.map(({ source_rule: sourceRule, target_rule: targetRule }) => ({
    sourceRule,
    targetRule,
  }));
  return all.flatMap(({ sourceRule, targetRule }, at) => {
    const isSelf = sourceRule === targetRule;
    if (!isSelf && !inhibitedBy(all, targetRule).has(sourceRule)) return [];
    const message = isSelf
      ? `alerts of ${sourceRule} inhibit one another, so that only the oldest is notified: remove it`
      : `${sourceRule} and ${targetRule} inhibit one another in a circle, so that only the alert that ` +
        'began first is notified: remove one of them';
    return [{ path: ['inhibit_rules', at], message }];
  });
}

/** Settings that only thresholds have, and one that rules of single events have, too. */
function withoutEffect(given: Given): ConfigProblem[] {
  const { threshold, absent, deadline, digest, for: forMs, keep_firing_for: keepMs } = given.rule;
  if (threshold !== undefined) return none;
  const other = Object.entries({ absent, deadline, digest }).find(
    ([, value]) => value !== undefined,
  );
  return [
    ...(forMs === 0 ? none : ofRule(given, ['for'], 'it has no effect without threshold')),
    ...(keepMs === 0 || other === undefined
      ? none
      : ofRule(given, ['keep_firing_for'], `it has no effect with ${other[0]}`)),
  ];
}

/** What a receiver that verifies has to be given and no configuration shows; null where each has a secret. */
export function derivedSecrets({ endpoints }: Config): string | null {
  const names = Object.entries(endpoints).flatMap(([name, endpoint]) =>
    endpoint.type === 'webhook' && endpoint.secret === undefined ? [name] : [],
  );
  if (names.length === 0) return null;
  return `a secret that is derived from its name signs for ${names.join(', ')}: \`runwatch endpoints secret ${names[0]}\` shows it`;
}
