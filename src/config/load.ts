/**
 * The configuration, from its layers: flags over variables over the file over defaults. `document.ts` reads the file,
 * `overrides.ts` says which settings come from variables and flags, `schema.ts` has what is valid and most defaults, and
 * `cross-check.ts` checks settings against each other. Which endpoint there is where none is configured stands in
 * `deliver/endpoints.ts`.
 */
import { resolve } from 'node:path';
import { z } from 'zod';
import { RunwatchError } from '../core/errors.ts';
import { adviseOn } from './advice.ts';
import { checkRules, checkServing, checkSourceNames, crossCheck } from './cross-check.ts';
import { type Absence, type MayLack, readSettings, parseYaml, withTypes } from './document.ts';
import { headerReader, type RereadHeaders } from './header-files.ts';
import { heldPart, writtenNames, type HeldPart } from './held-part.ts';
import { openEnvironment, type Environment } from './environment.ts';
import {
  type Reference,
  tidy,
  type ConfigProblem,
  expectation,
  explainIssues,
  ancestry,
  pathKey,
  type Place,
} from './problems.ts';
import {
  type Draft,
  labelOf,
  applyEnvironment,
  applyFlags,
  type ConfigFlags,
} from './overrides.ts';
import { defaultDataDirectory, resolvePaths } from './paths.ts';
import { readRegularFile, ownUids, distrust } from './read-file.ts';
import { withNewNames } from './renamed-keys.ts';
import { ruleSections } from './rule-schema.ts';
import { childValue, presentationOf, schemaAt, valueAt } from './schema-walk.ts';
import { type Config, configSchema } from './schema.ts';
import { LITERAL_KEYS } from './source-schema.ts';
import { checkTlsFiles } from './tls-files.ts';
import { readTracing, type TracingSettings } from './tracing.ts';

interface LoadOptions {
  purpose: ConfigPurpose;
  env?: NodeJS.ProcessEnv;
  /** What relative paths start from. */
  cwd?: string;
  flags?: ConfigFlags;
  /** The file that `--config` names. */
  configPath?: string | undefined;
  /** Takes what cannot work for an error. */
  strict?: boolean | undefined;
}

export interface LoadedConfig {
  kind: 'loaded';
  config: Config;
  /** The file as it was named or found; null when there is none. */
  file: string | null;
  /** The variables and flags that took part, such as `RUNWATCH_PORT` and `--host`. */
  overrides: readonly string[];
  /** What is valid, but cannot work or is not safe, each with its cure. */
  warnings: readonly ConfigProblem[];
  /** By the environment alone; null where traces are off. */
  tracing: TracingSettings | null;
  rereadHeaders: RereadHeaders;
}

export interface InvalidConfig {
  kind: 'invalid';
  problems: readonly ConfigProblem[];
  /** Often the reason of a problem, such as a variable that is misspelt. */
  warnings: readonly ConfigProblem[];
}

function workingDirectory(): string {
  try {
    return process.cwd();
  } catch (error) {
    const message = 'the working directory was removed: change to one that exists, and start again';
    throw new RunwatchError(message, { code: 'working_directory_gone', cause: error });
  }
}

/**
 * Loads the configuration: flags over environment over file over defaults. Connects nowhere and
 * reports every problem at once.
 */
export function loadConfig(options: LoadOptions): LoadedConfig | InvalidConfig {
  const { purpose, env = process.env, cwd = workingDirectory(), flags = {}, configPath } = options;
  const environment = openEnvironment(env, cwd);
  const found = findFile({ configPath, environment, cwd, uids: ownUids(env) });
  if (found.kind === 'unreadable')
    return { kind: 'invalid', problems: [found.problem], warnings: [] };
  const mayLack = purpose === 'command' ? isHeaderOfSource : needsAll;
  const file = found.kind === 'read' ? readSettingsFile(found, environment, mayLack) : NO_FILE;
  const draft = layDraft(file.value, environment, flags);
  const assembled = assemble(draft, {
    dataDirectory: defaultDataDirectory(env),
    references: file.references,
    absent: file.absent,
    purpose,
  });
  const config = assembled.config && resolvePaths(assembled.config, { env, cwd });
  const unplaced = [
    ...assembled.problems,
    ...checkFiles(config, purpose),
    ...variablesInTemplates(draft.root, file),
  ];
  const located = (these: ConfigProblem[]) => these.map((one) => locate(one, { draft, file }));
  const traced = readTracing(environment);
  const warnings = tidy([
    ...environment.unknown(),
    ...traced.warnings,
    ...file.warnings,
    ...located(assembled.advice),
  ]);
  const problems = tidy([
    ...environment.problems(),
    ...file.problems,
    ...(file.broken ? [] : located(unplaced)),
  ]);
  const invalid = rejection({ problems, warnings }, options.strict === true);
  if (invalid !== null || config === null) {
    return { kind: 'invalid', ...(invalid ?? { problems, warnings }) };
  }
  const overrides = [...new Set(draft.labels.values())];
  const { tracing } = traced;
  const rereadHeaders = headerReader(config, file.ofFiles, () => openEnvironment(env, cwd));
  return { kind: 'loaded', config, file: file.name, overrides, warnings, tracing, rereadHeaders };
}

/** The sections of a file that alert rules are made of, as it has them. */
export type WrittenRules = z.input<typeof rulesSchema>;

const rulesSchema = z.object(ruleSections);

/**
 * Reads the sections of a file that alert rules are made of. Variables of its other sections, such as keys of
 * sources, need not be set where rules are only tried.
 */
export function readRules(
  configPath: string,
  { env = process.env, cwd = workingDirectory() }: Pick<LoadOptions, 'env' | 'cwd'> = {},
): { kind: 'read'; rules: WrittenRules } | InvalidConfig {
  const found = readNamed(configPath, '--config', cwd);
  if (found.kind === 'unreadable') {
    return { kind: 'invalid', problems: [found.problem], warnings: [] };
  }
  const file = readSettingsFile(found, openEnvironment(env, cwd), needsAll);
  const names = Object.keys(ruleSections);
  const given = Object.entries(Object(file.value)).filter(([name]) => names.includes(name));
  const value = { rules: [], time_intervals: {}, inhibit_rules: [], ...Object.fromEntries(given) };
  const parsed = rulesSchema.safeParse(value, { error: expectation });
  const unplaced = parsed.success
    ? checkRules(parsed.data, writtenNames(value))
    : explainIssues(parsed.error.issues, {
        schema: configSchema,
        value,
        references: file.references,
      });
  const located = file.broken ? [] : unplaced.map((one) => placed(one, file));
  const problems = tidy([...file.problems, ...located]);
  if (problems.length > 0) return { kind: 'invalid', problems, warnings: [] };
  return { kind: 'read', rules: value };
}

function layDraft(root: unknown, environment: Environment, flags: ConfigFlags): Draft {
  const draft: Draft = { root: root ?? {}, labels: new Map() };
  applyEnvironment(draft, environment);
  applyFlags(draft, flags);
  return draft;
}

type Complaints = Omit<InvalidConfig, 'kind'>;

/** What keeps the configuration from being used; null for nothing. */
function rejection({ problems, warnings }: Complaints, strict: boolean): Complaints | null {
  const fatal = strict ? [...problems, ...warnings] : problems;
  return fatal.length === 0 ? null : { problems: fatal, warnings: strict ? [] : warnings };
}

/** Only the daemon sends webhooks, and often only it may read the key files. */
function checkFiles(config: Config | null, purpose: ConfigPurpose): ConfigProblem[] {
  return config !== null && purpose === 'serve' ? checkTlsFiles(config) : [];
}

/**
 * What the configuration is for. `serve`: the daemon, which needs a source with an API key, and a
 * token on a public host. `command`: any other verb; sources without a key are dropped.
 */
type ConfigPurpose = 'serve' | 'command';

interface AssembleOptions {
  purpose: ConfigPurpose;
  /** The data directory where nothing names one. */
  dataDirectory: string;
  /** The variables behind the values of the file, by `pathKey`. */
  references: ReadonlyMap<string, Reference>;
  /** The settings of the file that are absent for want of a variable. */
  absent: readonly Absence[];
}

interface Assembled {
  /** Null when the settings are invalid. */
  config: Config | null;
  problems: ConfigProblem[];
  /** What is valid, but cannot work. */
  advice: ConfigProblem[];
}

/** Makes a configuration from the draft, or reports all its problems. */
function assemble(draft: Draft, options: AssembleOptions): Assembled {
  const { purpose, dataDirectory } = options;
  const keyless = purpose === 'command' ? keylessSources(draft.root) : new Map<string, unknown>();
  const value = complete(draft.root, { dataDirectory, keyless });
  const parsed = configSchema.safeParse(value, { error: expectation });
  if (!parsed.success) {
    const references = referencesInForce(draft, options.references);
    const subject = { schema: configSchema, value, references };
    const issues = explainIssues(parsed.error.issues, subject);
    const held = heldPart(
      Object(value),
      parsed.error.issues.map(({ path }) => path),
    );
    const { problems, advice } = held === null ? NOTHING : seenTogether(held, { value, purpose });
    return {
      config: null,
      problems: [...issues, ...unsetSecrets(draft, options), ...problems],
      advice,
    };
  }
  const sources = Object.entries(parsed.data.sources).filter(([name]) => !keyless.has(name));
  const config = { ...parsed.data, sources: Object.fromEntries(sources) };
  const { problems, advice } = seenTogether({ config, lost: new Set() }, { value, purpose });
  const serving = purpose === 'serve' ? checkServing(config) : [];
  return { config, problems: [...unsetSecrets(draft, options), ...problems, ...serving], advice };
}

const NOTHING: Omit<Assembled, 'config'> = { problems: [], advice: [] };

/** The sections that advice reads. Where one lacks an entry, it could advise against what is only faulty. */
const ADVISED = ['sources', 'workflows', 'endpoints', 'rules', 'server'];

function seenTogether(
  { config, lost }: HeldPart,
  { value, purpose }: { value: unknown; purpose: ConfigPurpose },
): Omit<Assembled, 'config'> {
  const names = writtenNames(value);
  // Commands drop sources without a key.
  const ofSources = purpose === 'serve' ? checkSourceNames(config, names) : [];
  const isWhole = ADVISED.every((section) => !lost.has(section));
  return {
    problems: [...crossCheck(config, names), ...ofSources],
    advice: isWhole ? adviseOn(config) : [],
  };
}

/** What makes up a request is written as it is sent: a secret from a variable would stand in its URL. */
function variablesInTemplates(
  root: unknown,
  { references, absent }: Pick<SettingsFile, 'references' | 'absent'>,
): ConfigProblem[] {
  const paths = [
    ...[...references.keys()].map((key) => key.split('\0')),
    ...absent.map(({ path }) => path),
  ];
  const message = 'expected text without ${…}: no variable may make up a URL or its answer';
  return paths
    .filter(([section, name = '', key = '']) => {
      const isHttp = valueAt(root, ['sources', name, 'type']) === 'http';
      return section === 'sources' && isHttp && LITERAL_KEYS.includes(String(key));
    })
    .map((path) => ({ path, message }));
}

/** A secret from an unset variable is an error: the author meant it to exist. */
function unsetSecrets(draft: Draft, { purpose, absent }: AssembleOptions): ConfigProblem[] {
  const isMissed = ({ path, reference }: Absence): boolean => {
    if (reference.hasDefault || reference.failed || labelOf(draft, path) !== null) return false;
    // Commands do without sources that have no key.
    if (purpose === 'command' && path[0] === 'sources') return false;
    const schema = schemaAt(configSchema, draft.root, path);
    return schema !== null && presentationOf(schema) === 'secret';
  };
  return absent.filter(isMissed).map(({ path, reference: { variable } }) => ({
    path,
    message: `${variable} is not set; give it a value, or write \${${variable}:-} where it may be absent`,
  }));
}

function isKeyless(source: unknown): source is object {
  if (typeof source !== 'object' || source === null || Array.isArray(source)) return false;
  return childValue(source, 'type') !== 'http' && childValue(source, 'api_key') === undefined;
}

/** Complete sources without a key, with a placeholder for it, so that the rest is checked. */
function keylessSources(root: unknown): Map<string, unknown> {
  const sources = Object.entries(valueAt(root, ['sources']) ?? {});
  return new Map(
    sources.flatMap(([name, source]) =>
      isKeyless(source) ? [[name, { ...source, api_key: 'absent' }]] : [],
    ),
  );
}

function complete(
  root: unknown,
  { dataDirectory, keyless }: { dataDirectory: string; keyless: Map<string, unknown> },
): unknown {
  if (typeof root !== 'object' || root === null || Array.isArray(root)) return root;
  const sources = childValue(root, 'sources');
  const completed = { data_dir: dataDirectory, ...root };
  if (keyless.size === 0) return completed;
  return { ...completed, sources: { ...Object(sources), ...Object.fromEntries(keyless) } };
}

/** A variable of the file counts only where no variable or flag overrides its setting. */
function referencesInForce(
  draft: Draft,
  references: ReadonlyMap<string, Reference>,
): Map<string, Reference> {
  const entries = [...references].filter(([key]) => labelOf(draft, key.split('\0')) === null);
  return new Map(entries);
}

/** Where a configuration is looked for when none is named; the first that exists is it. */
const SEARCHED = ['config/runwatch.yaml', 'runwatch.yaml', '/etc/runwatch/runwatch.yaml'] as const;

const MAX_BYTES = 1024 * 1024;

/** The configuration file. `name` is how it was named or found. */
type FoundFile =
  | { kind: 'read'; name: string; text: string }
  | { kind: 'none' }
  | { kind: 'unreadable'; problem: ConfigProblem };

interface Search {
  /** The file that `--config` names. */
  configPath: string | undefined;
  environment: Environment;
  cwd: string;
  /** Users: their files may be used without being named. */
  uids: readonly number[];
}

/** Finds and reads the file. One that is named must exist; the searched places may be empty. */
function findFile({ configPath, environment, cwd, uids }: Search): FoundFile {
  if (configPath !== undefined) return readNamed(configPath, '--config', cwd);
  const variable = environment.lookup('RUNWATCH_CONFIG');
  if (variable.kind === 'found') return readNamed(variable.text, 'RUNWATCH_CONFIG', cwd);
  for (const name of SEARCHED) {
    const file = readFound(name, cwd, uids);
    if (file.kind !== 'none') return file;
  }
  return { kind: 'none' };
}

function readNamed(name: string, label: string, cwd: string): Exclude<FoundFile, { kind: 'none' }> {
  const read = readRegularFile(resolve(cwd, name), { maxBytes: MAX_BYTES, name });
  return read.kind === 'read'
    ? { kind: 'read', name, text: read.text }
    : unreadable(label, read.message);
}

/**
 * Any user could have put a file there, and it decides where keys are sent, so its owner is
 * checked.
 */
function readFound(name: string, cwd: string, uids: readonly number[]): FoundFile {
  const path = resolve(cwd, name);
  const read = readRegularFile(path, { maxBytes: MAX_BYTES, name });
  if (read.kind === 'unreadable') {
    return read.isAbsent ? { kind: 'none' } : unreadable(name, read.message);
  }
  const reason = distrust({ path, stats: read.stats, uids });
  if (reason === null) return { kind: 'read', name, text: read.text };
  return unreadable(name, `${reason}, or name the file with --config if you trust it`);
}

function unreadable(label: string, message: string): FoundFile & { kind: 'unreadable' } {
  return { kind: 'unreadable', problem: { path: [label], message } };
}

/** What a file says, and where it says so. */
interface SettingsFile {
  /** The file as it was named or found; null when there is none. */
  name: string | null;
  value: unknown;
  /** By `pathKey`. */
  places: ReadonlyMap<string, Place>;
  /** The variables behind values, by `pathKey`. */
  references: ReadonlyMap<string, Reference>;
  /** Settings that are absent because their variable gives nothing. */
  absent: readonly Absence[];
  /** The texts, before variables were expanded, of settings that files are a part of, by `pathKey`. */
  ofFiles: ReadonlyMap<string, string>;
  problems: ConfigProblem[];
  /** Settings under old names. */
  warnings: ConfigProblem[];
  /** True when the YAML is so faulty that its settings mean nothing. */
  broken: boolean;
}

const NO_FILE: SettingsFile = {
  name: null,
  value: undefined,
  places: new Map(),
  references: new Map(),
  absent: [],
  ofFiles: new Map(),
  problems: [],
  warnings: [],
  broken: false,
};

const needsAll: MayLack = () => false;

/** Commands ask no source, and do without its headers. */
const isHeaderOfSource: MayLack = ([section, , key]) => section === 'sources' && key === 'headers';

/** Reads the settings of a file. */
function readSettingsFile(
  file: { name: string; text: string },
  environment: Environment,
  mayLack: MayLack,
): SettingsFile {
  const { name } = file;
  const yaml = parseYaml(file);
  if (yaml.broken) return { ...NO_FILE, name, problems: yaml.problems, broken: true };
  const { document, warnings } = withNewNames(withTypes(readSettings(yaml, environment, mayLack)));
  return {
    ...document,
    name,
    problems: [...yaml.problems, ...document.problems.map((one) => placed(one, document))],
    warnings: warnings.map((one) => placed(one, document)),
    broken: false,
  };
}

/** Gives a problem the place in the file, the variable or the flag that its setting came from. */
function locate(
  problem: ConfigProblem,
  { draft, file }: { draft: Draft; file: SettingsFile },
): ConfigProblem {
  const label = labelOf(draft, problem.path);
  return label === null ? placed(problem, file) : { ...problem, path: [label] };
}

/** A setting that the file lacks is placed where the map is that ought to hold it. */
function placed(problem: ConfigProblem, { places }: Pick<SettingsFile, 'places'>): ConfigProblem {
  const place = [...ancestry(problem.path)]
    .map((ancestor) => places.get(pathKey(ancestor)))
    .find((known) => known !== undefined);
  return place === undefined ? problem : { ...problem, place };
}
