import type { RunSnapshot } from './run.ts';

/**
 * What one read of a run came to. Only `run`, `not_found` and `rejected` say something about the
 * run; everything else means that we cannot tell, and is never taken for a failed run.
 */
export type FetchOutcome =
  | { kind: 'run'; run: RunSnapshot }
  /** 404 in Noxus's own words: deleted, not visible yet, or never there. */
  | { kind: 'not_found' }
  /** 422 about the run id: Noxus says that this can never be the id of a run. */
  | { kind: 'rejected'; message: string }
  | FetchTrouble;

/** A read that says nothing about the run. */
export type FetchTrouble =
  /** 401: the API key is not accepted. */
  | { kind: 'unauthorized'; message: string }
  /** 403: the API key lacks the right to read this run, or any. */
  | { kind: 'forbidden'; message: string }
  /** 429, or 503 with `Retry-After`. `retryAfterMs` is null where Noxus did not say how long. */
  | { kind: 'rate_limited'; retryAfterMs: number | null; message: string }
  /** Network errors, time-outs and every other status, a proxy's 404 among them. */
  | { kind: 'unavailable'; message: string }
  /** A 200 whose body is not a run: HTML, cut JSON, no id or status, too large, another run's id. */
  | { kind: 'invalid_response'; message: string };

export type TroubleKind = FetchTrouble['kind'];
