import { readFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { notesOn } from '../../config/advice.ts';
import { loadConfig, type InvalidConfig, type LoadedConfig } from '../../config/load.ts';
import { formatProblem, pathText, type ConfigProblem } from '../../config/problems.ts';
import { redactConfig } from '../../config/redact.ts';
import { PACKAGE_ROOT } from '../../package-root.ts';
import { EXIT } from '../exit.ts';

/** Flags of `config`. */
export interface ConfigFlags {
  /** Only says whether it is good. */
  check: boolean;
  /** Takes warnings for errors. */
  strict: boolean;
  json: boolean;
  configPath?: string;
}

interface TextOutput {
  write(text: string): unknown;
}

/**
 * Prints the configuration as it is understood, or what is wrong with it.
 * @returns the exit code
 */
export function showConfig(
  { check, strict, json, configPath }: ConfigFlags,
  { stdout, stderr }: { stdout: TextOutput; stderr: TextOutput },
): number {
  const loaded = loadConfig({ purpose: check ? 'serve' : 'command', strict, configPath });
  const isGood = loaded.kind === 'loaded';
  if (check && json) {
    stdout.write(renderCheckAsJson(loaded));
    return isGood ? EXIT.ok : EXIT.usage;
  }
  stderr.write(isGood ? renderWarnings(loaded) : renderInvalid(loaded));
  if (!isGood) return EXIT.usage;
  if (check)
    stderr.write(
      notesOn(loaded.config)
        .map((text) => `note: ${text}\n`)
        .join(''),
    );
  stdout.write(check ? renderCheck(loaded) : renderConfig(loaded, { json }));
  return EXIT.ok;
}

/** The JSON Schema of a configuration file, for editors; it ends in a newline. */
export function readConfigSchema(): string {
  return readFileSync(new URL('config/runwatch.schema.json', PACKAGE_ROOT), 'utf8');
}

/**
 * The resolved configuration without its secrets, ending in a newline: as YAML under a comment that
 * says where it came from, or as JSON in the shape of the file.
 */
export function renderConfig(loaded: LoadedConfig, { json }: { json: boolean }): string {
  const settings = redactConfig(loaded.config);
  if (json) return `${JSON.stringify(settings, null, 2)}\n`;
  return `# ${describeOrigin(loaded)}\n${stringify(settings)}`;
}

/** What `config --check` prints when nothing is wrong. */
function renderCheck(loaded: LoadedConfig): string {
  return `ok: ${describeOrigin(loaded)}\n`;
}

function renderCheckAsJson(loaded: LoadedConfig | InvalidConfig): string {
  const warnings = loaded.warnings.map(describeProblem);
  const report =
    loaded.kind === 'loaded'
      ? { ok: true, file: loaded.file, overrides: loaded.overrides, problems: [], warnings }
      : { ok: false, problems: loaded.problems.map(describeProblem), warnings };
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** A problem as `config --check --json` has it; its key is dotted, such as `polling.min_interval`. */
function describeProblem({ path, message, place }: ConfigProblem) {
  const { file, line, column } = place ?? { file: null, line: null, column: null };
  return { file, line, column, key: pathText(path), message };
}

/** What is wrong with a configuration, one problem a line, each line with its newline. */
export function renderInvalid({ problems, warnings }: Omit<InvalidConfig, 'kind'>): string {
  return renderLines(problems, '') + renderWarnings({ warnings });
}

function renderWarnings({ warnings }: { warnings: readonly ConfigProblem[] }): string {
  return renderLines(warnings, 'warning: ');
}

function renderLines(problems: readonly ConfigProblem[], prefix: string): string {
  return problems.map((problem) => `${prefix}${formatProblem(problem)}\n`).join('');
}

function describeOrigin({ file, overrides }: LoadedConfig): string {
  return [file ?? 'no file', ...overrides, 'defaults'].join(', ');
}
