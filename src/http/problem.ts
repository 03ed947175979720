import { RunwatchError, type InputIssue } from '../core/errors.ts';

/** Every way in which the API refuses: the code, its status and its title. Codes never change. */
export const PROBLEMS = {
  bad_request: { status: 400, title: 'Bad request' },
  malformed_json: { status: 400, title: 'The body is not JSON' },
  empty_body: { status: 400, title: 'The body is missing' },
  unauthorized: { status: 401, title: 'A valid token is needed' },
  forbidden: { status: 403, title: 'The token lacks the scope' },
  token_unknown: { status: 403, title: 'The token is not known' },
  host_not_allowed: { status: 403, title: 'Not reachable by this host name' },
  token_needed: { status: 403, title: 'A token has to be configured' },
  origin_not_allowed: { status: 403, title: 'Not reachable from this web page' },
  route_not_found: { status: 404, title: 'No such route' },
  watch_not_found: { status: 404, title: 'No such watch' },
  delivery_not_found: { status: 404, title: 'No such delivery' },
  alert_not_found: { status: 404, title: 'No such alert' },
  batch_not_found: { status: 404, title: 'No such batch' },
  silence_not_found: { status: 404, title: 'No such silence' },
  source_not_found: { status: 404, title: 'No such source' },
  endpoint_not_found: { status: 404, title: 'No such endpoint' },
  workflow_not_found: { status: 404, title: 'Nothing is known of this workflow' },
  metrics_not_found: { status: 404, title: 'No metrics here' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  request_timeout: { status: 408, title: 'The request came too slowly' },
  subscription_not_found: { status: 404, title: 'No such subscription' },
  idempotency_key_reused: { status: 409, title: 'The key came with another request' },
  idempotency_in_progress: { status: 409, title: 'The first request is still worked on' },
  run_ended: { status: 409, title: 'The run has ended' },
  cannot_stop: { status: 409, title: 'The source cannot stop runs' },
  several_sources: { status: 409, title: 'Several sources may be meant' },
  nothing_failed: { status: 409, title: 'Nothing has failed' },
  alert_over: { status: 409, title: 'The alert is over' },
  too_many_silences: { status: 409, title: 'There are too many silences' },
  batch_closed: { status: 409, title: 'The batch takes no more runs' },
  batch_full: { status: 409, title: 'The batch has as many runs as it may have' },
  several_batches: { status: 409, title: 'Several batches may be meant' },
  too_many_batches: { status: 409, title: 'There are too many batches' },
  too_many_watches: { status: 409, title: 'The token has registered too many watches' },
  watch_not_active: { status: 409, title: 'The watch has ended' },
  sealed_by_unknown_key: { status: 409, title: 'The secret was encrypted with another key' },
  too_many_secrets: { status: 409, title: 'Three secrets sign already' },
  ambiguous_endpoint: { status: 409, title: 'Several endpoints have this name' },
  secret_not_derived: { status: 409, title: 'The secret is shown nowhere' },
  not_signed: { status: 409, title: 'The endpoint has no secret' },
  stale_cursor: { status: 410, title: 'The cursor is of a store that lost data' },
  body_too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'The body must be JSON' },
  invalid_request: { status: 422, title: 'The request is not valid' },
  invalid_cursor: { status: 422, title: 'The cursor is not valid' },
  too_many_requests: { status: 429, title: 'Too many requests at once' },
  headers_too_large: { status: 431, title: 'The request headers are too large' },
  internal: { status: 500, title: 'Something went wrong in runwatch' },
  source_refused: { status: 502, title: 'The source refuses it' },
  source_paused: { status: 503, title: 'The source is paused' },
  source_unreachable: { status: 503, title: 'The source cannot be reached' },
  stop_unknown: { status: 504, title: 'Whether the run is stopping is not known' },
  redis_unavailable: { status: 503, title: 'Redis cannot be reached' },
  redis_refuses: { status: 503, title: 'Redis refuses what it is asked' },
  sends_nothing: { status: 409, title: 'This daemon sends nothing' },
  store_migrating: { status: 503, title: 'The records are being migrated' },
  data_directory_lost: { status: 503, title: 'The data directory is gone' },
  purge_interrupted: { status: 503, title: 'The watch changes all the time' },
  too_many_streams: { status: 503, title: 'Too many event streams are open' },
  timeout: { status: 503, title: 'The answer took too long' },
  closing: { status: 503, title: 'This process is ending' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** An error as the API answers it. Source: RFC 9457, with `code` and `errors` as extensions. */
export interface Problem {
  /** A relative reference that identifies the kind of problem; nothing is served there. */
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ProblemCode;
  errors?: InputIssue[];
}

export const PROBLEM_TYPE = 'application/problem+json';

export function problem(code: ProblemCode, detail: string, errors?: InputIssue[]): Problem {
  const { status, title } = PROBLEMS[code];
  return { type: `/problems/${code}`, title, status, detail, code, ...(errors && { errors }) };
}

export function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEMS, code);
}

/** What a handler throws to refuse: the error handler answers it as a problem document. */
export function refusal(code: ProblemCode, detail: string): RunwatchError {
  return new RunwatchError(detail, { code });
}

/** A request that does not fit the schemas of the API. */
export class InvalidRequest extends RunwatchError {
  readonly issues: InputIssue[];

  constructor(issues: InputIssue[]) {
    super(summaryOf(issues), { code: 'invalid_request' });
    this.issues = issues;
  }
}

/** Refuses one field of a request. */
export function invalid(path: string, message: string): InvalidRequest {
  return new InvalidRequest([{ path, message }]);
}

/** One sentence, for `detail`. */
export function summaryOf(issues: readonly InputIssue[]): string {
  const [first, ...others] = issues;
  if (first === undefined) return 'the request is not valid';
  const place = first.path === '' ? first.message : `${first.path}: ${first.message}`;
  return others.length === 0 ? place : `${place} (and ${others.length} more)`;
}
