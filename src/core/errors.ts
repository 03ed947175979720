/** Details of an error that appear in problem documents, log lines and exit messages. */
interface RunwatchErrorOptions {
  /** Stable, machine-readable name such as `watch_not_found`. */
  code: string;
  /** True when the same call may succeed later without anyone changing anything. */
  retriable?: boolean;
  cause?: unknown;
}

/** The only error class of this project; errors differ by `code`. */
export class RunwatchError extends Error {
  readonly code: string;
  readonly retriable: boolean;

  constructor(message: string, options: RunwatchErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RunwatchError';
    this.code = options.code;
    this.retriable = options.retriable ?? false;
  }
}

/** One thing that is wrong with an input: where, and what was expected. */
export interface InputIssue {
  /** Dotted path such as `watches.0.run_id`; empty for the input as a whole. */
  path: string;
  message: string;
}

/** Whether the call that threw this may succeed later. */
export function isRetriable(error: unknown): boolean {
  return error instanceof RunwatchError && error.retriable;
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/**
 * True for errors that Node and its libraries throw, with their codes. From Node 24 on, a failed handshake
 * arrives as Node's own error and not as one of got, so the class of what was thrown says nothing.
 */
export function isNetworkError(error: unknown): error is Error & { code: string } {
  const hasCode = typeof error === 'object' && error !== null && 'code' in error;
  return hasCode && typeof error.code === 'string' && !(error instanceof RunwatchError);
}
