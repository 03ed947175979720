import type { RunRef } from '../client/client.ts';
import { withoutPasswords } from '../client/errors.ts';
import { escapeControls } from '../core/control-characters.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import type { SourceView } from '../client/types.ts';
import type { Output } from './output.ts';
import { plain } from './render/text.ts';

/**
 * Prints an error: a sentence for a RunwatchError; the stack only with `--verbose`.
 * @param about what the error concerns, where there are others; most often the sentence names it
 */
export function reportError(
  stderr: Output,
  error: unknown,
  { verbose, about }: { verbose: boolean; about?: string | undefined },
): void {
  const isNamed = about === undefined || messageOf(error).includes(about);
  const prefix = stderr.colors.red('error:') + (isNamed ? '' : ` ${plain(about)}:`);
  const message = messageOf(error);
  const sentence =
    error instanceof RunwatchError
      ? message
      : `${message} (unexpected; --verbose shows where it comes from)`;
  stderr.write(`${prefix} ${sentence}\n`);
  if (verbose) stderr.write(`${traceOf(error)}\n`);
}

/** Where an error and its causes come from. Their other fields may hold a request with its token. */
function traceOf(error: unknown): string {
  const traces: string[] = [];
  for (let at = error; at !== undefined && traces.length < 8;) {
    traces.push(withoutPasswords((at instanceof Error ? at.stack : null) ?? messageOf(at)));
    at = at instanceof Error ? at.cause : undefined;
  }
  return traces.join('\ncaused by ');
}

/** A remark that is neither data nor an error. */
export function note(stderr: Output, text: string): void {
  stderr.write(`${stderr.colors.dim(text)}\n`);
}

/** What discovery did in the lists of sources. A daemon of an earlier version says nothing of it. */
export function noteDiscovery(
  { stderr }: { stderr: Output },
  sources: readonly Pick<SourceView, 'name' | 'discovery'>[],
): void {
  for (const { name, discovery } of sources) {
    for (const { workflow_id: workflow, message } of discovery ?? []) {
      const list = workflow === null ? name : `${name}, workflow ${workflow}`;
      note(stderr, `${plain(list)}: ${plain(message)}`);
    }
  }
}

/** What `--json` shows of one run, where a verb that changes something takes several. */
export interface RunResult {
  run_id: string;
  /** Null where the daemon was to find the source. */
  source: string | null;
  error: Failure | null;
}

/** What `--json` shows of an error. */
export interface Failure {
  code: string;
  message: string;
}

export function failureOf(error: unknown): Failure {
  const code = error instanceof RunwatchError ? error.code : 'unexpected';
  return { code, message: messageOf(error) };
}

/** @param error what kept the change from being made; undefined where it was made */
export function runResult({ runId, source }: RunRef, error?: unknown): RunResult {
  return {
    run_id: runId,
    source: source ?? null,
    error: error === undefined ? null : failureOf(error),
  };
}

/** A document on stdout. */
export function writeJson(stdout: Output, value: unknown): void {
  stdout.write(`${jsonFor(stdout, value, 2)}\n`);
}

/** A document on one line of stdout. */
export function writeJsonLine(stdout: Output, value: unknown): void {
  stdout.write(`${jsonFor(stdout, value)}\n`);
}

/** On a terminal, what came from elsewhere must not move its cursor; the JSON means the same. */
function jsonFor({ isTty }: Output, value: unknown, indent?: number): string {
  const json = JSON.stringify(value, null, indent);
  return isTty ? escapeControls(json) : json;
}
