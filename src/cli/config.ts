import { stringify } from 'yaml';
import { loadConfig, type LoadedConfig } from '../config/load.ts';
import { formatProblem, type ConfigProblem } from '../config/problem.ts';
import { redactConfig } from '../config/redact.ts';
import { EXIT } from './exit.ts';

interface ShowConfigOptions {
  /** Only says whether it is good. */
  check: boolean;
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
  { check, json, configPath }: ShowConfigOptions,
  { stdout, stderr }: { stdout: TextOutput; stderr: TextOutput },
): number {
  const loaded = loadConfig({ purpose: check ? 'serve' : 'command', configPath });
  if (loaded.kind === 'invalid') {
    stderr.write(renderProblems(loaded.problems));
    return EXIT.usage;
  }
  stdout.write(check ? renderCheck(loaded) : renderConfig(loaded, { json }));
  return EXIT.ok;
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

/** The problems of a configuration, one a line, each line with its newline. */
export function renderProblems(problems: readonly ConfigProblem[]): string {
  return problems.map((problem) => `${formatProblem(problem)}\n`).join('');
}

function describeOrigin({ file, overrides }: LoadedConfig): string {
  return [file ?? 'no file', ...overrides, 'defaults'].join(', ');
}
