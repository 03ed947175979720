import { assemble, type ConfigPurpose } from './assemble.ts';
import { defaultDataDirectory } from './data-directory.ts';
import type { Draft } from './draft.ts';
import { openEnvironment, type Environment } from './environment.ts';
import { findFile } from './file.ts';
import { locate, NO_FILE, readSettingsFile } from './settings-file.ts';
import { applyEnvironment, applyFlags, type ConfigFlags } from './overrides.ts';
import { resolvePaths } from './paths.ts';
import { tidy, type ConfigProblem, type ObservationDraft } from './problem.ts';
import type { Config } from './schema.ts';
import { checkTlsFiles } from './tls-files.ts';
import { ownUids } from './trust.ts';

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
}

export interface InvalidConfig {
  kind: 'invalid';
  problems: readonly ConfigProblem[];
  /** Often the reason of a problem, such as a variable that is misspelt. */
  warnings: readonly ConfigProblem[];
}

/**
 * Loads the configuration: flags over environment over file over defaults. Connects nowhere and
 * reports every problem at once.
 */
export function loadConfig(options: LoadOptions): LoadedConfig | InvalidConfig {
  const { purpose, env = process.env, cwd = process.cwd(), flags = {}, configPath } = options;
  const environment = openEnvironment(env, cwd);
  const found = findFile({ configPath, environment, cwd, uids: ownUids(env) });
  if (found.kind === 'unreadable')
    return { kind: 'invalid', problems: [found.problem], warnings: [] };
  const file = found.kind === 'read' ? readSettingsFile(found, environment) : NO_FILE;
  const draft = layDraft(file.value, environment, flags);
  const assembled = assemble(draft, {
    dataDirectory: defaultDataDirectory(env),
    references: file.references,
    absent: file.absent,
    purpose,
  });
  const config = assembled.config && resolvePaths(assembled.config, { env, cwd });
  const findings = [...assembled.findings, ...checkFiles(config, purpose)];
  const located = (these: ObservationDraft[]) =>
    these.map((finding) => locate(finding, { draft, file }));
  const warnings = tidy([...environment.unknown(), ...located(assembled.advice)]);
  const problems = tidy([
    ...environment.problems(),
    ...file.problems,
    ...(file.broken ? [] : located(findings)),
  ]);
  const invalid = rejection({ problems, warnings }, options.strict === true);
  if (invalid !== null || config === null) {
    return { kind: 'invalid', ...(invalid ?? { problems, warnings }) };
  }
  const overrides = [...new Set(draft.labels.values())];
  return { kind: 'loaded', config, file: file.name, overrides, warnings };
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
function checkFiles(config: Config | null, purpose: ConfigPurpose): ObservationDraft[] {
  return config !== null && purpose === 'serve' ? checkTlsFiles(config) : [];
}
