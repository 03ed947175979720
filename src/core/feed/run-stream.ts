import type { RunNodes } from '../run/nodes.ts';
import type { TransitionKind } from './stream-hint.ts';

/** What one event of a run's stream says. Null for what it does not name. */
export interface StreamNote {
  status: string | null;
  nodes: RunNodes | null;
  /** Resumes the stream behind this event. */
  redisId: string | null;
}

/** Why a stream is over. */
export type StreamEnd =
  /** The server ended it, as it does when the run completes or fails, or the connection broke. */
  | { kind: 'ended' }
  /** Nothing came for too long. */
  | { kind: 'silent' }
  /** What came is no stream of a run's events, or more than is taken in. */
  | { kind: 'garbage' | 'too_large' }
  /** There is none: another status, or an answer of another type. */
  | { kind: 'refused'; status: number }
  /** Too many requests; null where it is not said for how long. */
  | { kind: 'throttled'; status: number; retryAfterMs: number | null }
  /** A fault, or no answer. */
  | { kind: 'failed'; status: number | null }
  /** This host could open no connection for it: nothing was sent. */
  | { kind: 'unsent'; error: Error }
  | { kind: 'closed' };

export interface StreamListener {
  /** The last event that was taken in; null for none. */
  etag: string | null;
  onLive: () => void;
  onNote: (note: StreamNote) => void;
  /** Closes the stream. */
  signal: AbortSignal;
}

/** Event streams of the runs of one source. */
export interface EventStreams {
  /** Follows the stream of a run until it ends; trouble is never thrown. */
  follow: (runId: string, listener: StreamListener) => Promise<StreamEnd>;
}

/** What a poll's result is written with: whether a stream follows the run on, and where it stands. */
export interface StreamState {
  /** Whether the next poll may be left to the stream. */
  isStreamed: boolean;
  /** The nodes that run or have failed, by the stream's last event. */
  nodes: RunNodes | null;
  /** Whether a hint of the stream led to the poll. */
  isHinted: boolean;
}

/** A run without a stream. */
export const UNSTREAMED: StreamState = {
  isStreamed: false,
  nodes: null,
  isHinted: false,
};

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
