import { RunwatchError } from '../core/errors.ts';

/** Exit codes that every verb shares; those of `wait` are in `verdict.ts`. */
export const EXIT = { ok: 0, failure: 1, usage: 2 } as const;

/** Requested ends of the process. 128 + signal number, as shells count. */
const INTERRUPTED: Record<string, number> = { interrupted: 130, terminated: 143, output_closed: 0 };

const USAGE = new Set([
  'usage',
  'config_invalid',
  'invalid_config',
  'data_directory_untrusted',
  'data_directory_unusable',
  'encryption_key_lost',
  'kept_secret_untrusted',
  'schema_unknown',
  'store_missing',
  'backup_exists',
  'restore_not_empty',
  'restore_unfinished',
  // What the daemon refuses because of what it was asked.
  'several_sources',
  'ambiguous_id',
  'invalid_request',
]);

/** A mistake in how runwatch was called. */
export function usageError(message: string): RunwatchError {
  return new RunwatchError(message, { code: 'usage' });
}

/**
 * The exit code of an error.
 * @param failure what the verb exits with when it could not do its work
 */
export function exitCodeOf(error: unknown, failure: number): number {
  return error instanceof RunwatchError && USAGE.has(error.code) ? EXIT.usage : failure;
}

/** The exit code of an interrupted process, by the reason of its abort signal. */
export function exitCodeOfInterrupt(reason: unknown): number {
  const code = reason instanceof RunwatchError ? reason.code : 'interrupted';
  return INTERRUPTED[code] ?? EXIT.failure;
}
