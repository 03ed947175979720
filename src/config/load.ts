import { assemble, type ConfigPurpose } from './assemble.ts';
import { defaultDataDirectory } from './data-directory.ts';
import type { Draft } from './draft.ts';
import { openEnvironment } from './environment.ts';
import { findFile } from './file.ts';
import { locate, NO_FILE, readSettingsFile } from './settings-file.ts';
import { applyEnvironment, applyFlags, type ConfigFlags } from './overrides.ts';
import { resolvePaths } from './paths.ts';
import { tidy, type ConfigProblem, type Finding } from './problem.ts';
import type { Config } from './schema.ts';
import { checkTlsFiles } from './tls-files.ts';

interface LoadOptions {
  purpose: ConfigPurpose;
  env?: NodeJS.ProcessEnv;
  /** What relative paths start from. */
  cwd?: string;
  flags?: ConfigFlags;
  /** The file that `--config` names. */
  configPath?: string | undefined;
}

export interface LoadedConfig {
  kind: 'loaded';
  config: Config;
  /** The file as it was named or found; null when there is none. */
  file: string | null;
  /** The variables and flags that took part, such as `RUNWATCH_PORT` and `--host`. */
  overrides: readonly string[];
}

export interface InvalidConfig {
  kind: 'invalid';
  problems: ConfigProblem[];
}

/**
 * Loads the configuration: flags over environment over file over defaults. Connects nowhere and
 * reports every problem at once.
 */
export function loadConfig(options: LoadOptions): LoadedConfig | InvalidConfig {
  const { purpose, env = process.env, cwd = process.cwd(), flags = {}, configPath } = options;
  const environment = openEnvironment(env, cwd);
  const found = findFile({ configPath, environment, cwd });
  if (found.kind === 'unreadable') return { kind: 'invalid', problems: [found.problem] };
  const file = found.kind === 'read' ? readSettingsFile(found, environment) : NO_FILE;
  const draft: Draft = { root: file.value ?? {}, labels: new Map() };
  applyEnvironment(draft, environment);
  applyFlags(draft, flags);
  const overrides = [...new Set(draft.labels.values())];
  const assembled = assemble(draft, {
    dataDirectory: defaultDataDirectory(env),
    references: file.references,
    purpose,
  });
  const config = assembled.config && resolvePaths(assembled.config, { env, cwd });
  const findings = [...assembled.findings, ...checkFiles(config, purpose)];
  const problems = tidy([
    ...environment.problems(),
    ...file.problems,
    ...(file.broken ? [] : findings.map((finding) => locate(finding, { draft, file }))),
  ]);
  if (problems.length > 0 || config === null) return { kind: 'invalid', problems };
  return { kind: 'loaded', config, file: file.name, overrides };
}

/** Only the daemon sends, and files of keys are often for its eyes only. */
function checkFiles(config: Config | null, purpose: ConfigPurpose): Finding[] {
  return config !== null && purpose === 'serve' ? checkTlsFiles(config) : [];
}
