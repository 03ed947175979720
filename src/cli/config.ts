import { stringify } from 'yaml';
import type { LoadedConfig } from '../config/load.ts';
import { formatProblem, type ConfigProblem } from '../config/problem.ts';
import { redactConfig } from '../config/redact.ts';

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
export function renderCheck(loaded: LoadedConfig): string {
  return `ok: ${describeOrigin(loaded)}\n`;
}

/** The problems of a configuration, one a line, each line with its newline. */
export function renderProblems(problems: readonly ConfigProblem[]): string {
  return problems.map((problem) => `${formatProblem(problem)}\n`).join('');
}

function describeOrigin({ file, overrides }: LoadedConfig): string {
  return [file ?? 'no file', ...overrides, 'defaults'].join(', ');
}
