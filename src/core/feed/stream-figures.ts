import type { TransitionKind } from './stream-hint.ts';

/** How the streams of a source stand. */
export interface StreamFigures {
  open: number;
  /** Those that are open, and those that this process would open. */
  wanted: number;
  allowed: number;
  /** Until when none is opened, ms since the epoch; null where they may be. */
  refusedUntil: number | null;
  /** Kinds of transitions that streams are not believed to report; null where none was shown yet. */
  doubted: TransitionKind[] | null;
  /** How often a transition became known first by a hint of a stream or list, or by a read. */
  known: { kind: string; by: string; count: number }[];
}
