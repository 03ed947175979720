import type { RunSnapshot } from './run.ts';

/**
 * The result of one poll of a run. Only `run`, `not_found` and `rejected` say something about the
 * run. Every other result means that its state is unknown; it never counts as a failed run.
 */
export type FetchOutcome =
  | { kind: 'run'; run: RunSnapshot }
  /** 404 in Noxus's own format: deleted, not visible yet, or never there. */
  | { kind: 'not_found' }
  /** 422 about the run id: Noxus says that no run can have this id. */
  | { kind: 'rejected'; message: string }
  | FetchTrouble;

/** A result that says nothing about the run. */
export type FetchTrouble =
  /** 401: Noxus rejects the API key. */
  | { kind: 'unauthorized'; message: string }
  /** 403: the API key lacks the right to read this run, or any. */
  | { kind: 'forbidden'; message: string }
  /** 429, or 503 with `Retry-After`. `retryAfterMs` is null where Noxus gave no time. */
  | { kind: 'rate_limited'; retryAfterMs: number | null; message: string }
  /** Network errors, timeouts and every other status, including a proxy's 404. */
  | { kind: 'unavailable'; message: string }
  /**
   * A 200 with a body that is not a run: HTML, cut JSON, no id or status, too large, another run's
   * id.
   */
  | { kind: 'invalid_response'; message: string };

export type TroubleKind = FetchTrouble['kind'];
