import { PRIVATE_CANARY } from '../../../src/simulator/wire-run.ts';
import { ApiServer, partsOf, type ApiAnswer, type ApiRequest } from './api-server.ts';

/** `api.fallback_page_limit` and `api.maximum_page_limit`. */
const DEFAULT_LIMIT = 50;
const MOST = 100;

/** `api_auth.jwt_expiration_time` is a day. */
const TOKEN_MS = 86_400_000;

type State = 'queued' | 'running' | 'success' | 'failed';

interface DagRun {
  /** The place of its row; no answer has it. */
  row: number;
  dag: string;
  run: string;
  state: State;
  queuedAt: number;
  startedAt: number | null;
  endedAt: number | null;
}

/**
 * Airflow 3 as far as runs are read. Shapes and answers:
 * airflow-core/src/airflow/api_fastapi/core_api (datamodels/dag_run.py, routes/public/dag_run.py, security.py)
 * of github.com/apache/airflow; airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html.
 */
export class Airflow extends ApiServer {
  readonly #runs: DagRun[] = [];
  readonly #now: () => number;
  #added = 0;
  /** When each token expires. */
  readonly #tokens = new Map<string, number>();

  constructor({ now = Date.now } = {}) {
    super();
    this.#now = now;
  }

  /** Issues a token, as `POST /auth/token` does. */
  issueToken(forMs = TOKEN_MS): string {
    const token = `eyJhbGciOiJIUzUxMiJ9.of-this-test-${this.#tokens.size}`;
    this.#tokens.set(token, this.#now() + forMs);
    return token;
  }

  /** Ends the life of all tokens so far. */
  expireTokens(): void {
    for (const token of this.#tokens.keys()) this.#tokens.set(token, this.#now());
  }

  /** Triggers a run. @returns its id, `dag/run` */
  trigger(dag = 'daily.report'): string {
    const queuedAt = this.#now();
    const run = `manual__${time(queuedAt).replace('Z', '+00:00')}_${(this.#added += 1)}`;
    const times = { queuedAt, startedAt: null, endedAt: null };
    this.#runs.push({ row: this.#added, dag, run, state: 'queued', ...times });
    return `${dag}/${run}`;
  }

  setState(id: string, state: State): void {
    const run = this.#run(id);
    const now = this.#now();
    const startedAt = state === 'queued' ? null : (run.startedAt ?? now);
    const endedAt = state === 'success' || state === 'failed' ? now : null;
    Object.assign(run, { state, startedAt, endedAt });
  }

  /** Clears a run, which is queued again; no answer counts how often. */
  clear(id: string): void {
    this.setState(id, 'queued');
    this.#run(id).queuedAt = this.#now();
  }

  delete(id: string): void {
    this.#runs.splice(this.#runs.indexOf(this.#run(id)), 1);
  }

  protected answer({ path, method, query, headers }: ApiRequest): ApiAnswer {
    // Its version takes no token.
    if (path === '/api/v2/version') return { status: 200, body: { version: '3.1.0' } };
    const refused = this.#refuse(headers.authorization);
    if (refused !== null) return refused;
    if (method !== 'GET') return refusal(405, 'Method Not Allowed');
    const one = partsOf('/api/v2/dags/{dag}/dagRuns/{run}', path);
    if (one !== null) return this.#find(one['dag'] ?? '', one['run'] ?? '');
    const list = partsOf('/api/v2/dags/{dag}/dagRuns', path);
    return list === null ? refusal(404, 'Not Found') : this.#list(list['dag'] ?? '', query);
  }

  #refuse(authorization: string | undefined): ApiAnswer | null {
    const token = /^Bearer (.+)$/.exec(authorization ?? '')?.[1];
    if (token === undefined) return refusal(401, 'Not authenticated');
    const expiresAt = this.#tokens.get(token);
    if (expiresAt === undefined) return refusal(403, 'Invalid JWT token');
    return this.#now() >= expiresAt ? refusal(401, 'Token Expired') : null;
  }

  #find(dag: string, run: string): ApiAnswer {
    const found = this.#runs.find((one) => one.dag === dag && one.run === run);
    return found === undefined
      ? refusal(404, `The DagRun with dag_id: \`${dag}\` and run_id: \`${run}\` was not found`)
      : { status: 200, body: wireRun(found) };
  }

  #list(dag: string, query: URLSearchParams): ApiAnswer {
    const limit = number(query, 'limit', DEFAULT_LIMIT);
    const offset = number(query, 'offset', 0);
    if (typeof limit !== 'number') return limit;
    if (typeof offset !== 'number') return offset;
    const compare = ORDERS[query.get('order_by') ?? 'id'];
    if (compare === undefined) {
      const name = query.get('order_by')?.replace(/^-/, '');
      const why = 'is disallowed or the attribute does not exist on the model';
      return refusal(400, `Ordering with '${name}' ${why}`);
    }
    const runs = this.#runs.filter((one) => dag === '~' || one.dag === dag);
    if (dag !== '~' && runs.length === 0) {
      return refusal(404, `The DAG with dag_id: \`${dag}\` was not found`);
    }
    const page = runs.toSorted(compare).slice(offset, offset + Math.min(limit, MOST));
    return { status: 200, body: { dag_runs: page.map(wireRun), total_entries: runs.length } };
  }

  #run(id: string): DagRun {
    const run = this.#runs.find((one) => `${one.dag}/${one.run}` === id);
    if (run === undefined) throw new Error(`Airflow has no run ${id}`);
    return run;
  }
}

const ORDERS: Record<string, (a: DagRun, b: DagRun) => number> = {
  id: (a, b) => a.row - b.row,
  '-id': (a, b) => b.row - a.row,
};

/** A number of the query, or the answer to one that is none. */
function number(query: URLSearchParams, name: string, otherwise: number): number | ApiAnswer {
  const text = query.get(name);
  if (text === null) return otherwise;
  if (/^\d+$/.test(text)) return Number(text);
  const problem = /^-\d+$/.test(text)
    ? { type: 'greater_than_equal', msg: 'Input should be greater than or equal to 0' }
    : { type: 'int_parsing', msg: 'Input should be a valid integer' };
  const detail = [{ ...problem, loc: ['query', name], input: text }];
  return { status: 422, body: { detail } };
}

function refusal(status: number, detail: string): ApiAnswer {
  const headers = status === 401 ? { 'www-authenticate': 'Bearer' } : {};
  return { status, headers, body: { detail } };
}

function wireRun({ dag, run, state, queuedAt, startedAt, endedAt }: DagRun) {
  return {
    dag_run_id: run,
    dag_id: dag,
    logical_date: null,
    queued_at: time(queuedAt),
    start_date: startedAt === null ? null : time(startedAt),
    end_date: endedAt === null ? null : time(endedAt),
    duration: startedAt === null || endedAt === null ? null : (endedAt - startedAt) / 1_000,
    data_interval_start: null,
    data_interval_end: null,
    run_after: time(queuedAt),
    last_scheduling_decision: null,
    run_type: 'manual',
    state,
    triggered_by: 'rest_api',
    triggering_user_name: 'admin',
    conf: { note: PRIVATE_CANARY },
    note: PRIVATE_CANARY,
    dag_versions: [],
    bundle_version: null,
    dag_display_name: dag,
  };
}

/** As Python writes it, with microseconds. */
function time(at: number): string {
  return new Date(at).toISOString().replace('Z', '000Z');
}
