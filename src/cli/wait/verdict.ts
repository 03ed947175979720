import type { VerdictKind } from '../../client/wait-verdict.ts';

const EXIT_CODES: Record<VerdictKind, number> = {
  completed: 0,
  failed: 1,
  stopped: 3,
  awaiting_human_feedback: 4,
  cannot_tell: 5,
  timed_out: 124,
};

/** What `wait` exits with when something keeps it from knowing. */
export const CANNOT_TELL_EXIT = EXIT_CODES.cannot_tell;

export function exitCodeOfVerdict(kind: VerdictKind): number {
  return EXIT_CODES[kind];
}
