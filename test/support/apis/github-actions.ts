import { createHash } from 'node:crypto';
import { PRIVATE_CANARY } from '../../../src/simulator/wire-run.ts';
import { ApiServer, partsOf, type ApiAnswer, type ApiRequest } from './api-server.ts';

const RUN = '/repos/{owner}/{repo}/actions/runs/{run}';
const DOCS = 'https://docs.github.com/rest';
const AN_HOUR = 3_600_000;
/** Requests of an hour. */
const LIMIT = 5_000;

type Status =
  | 'requested'
  | 'queued'
  | 'pending'
  | 'waiting'
  | 'in_progress'
  | { completed: Conclusion };

type Conclusion =
  | 'success'
  | 'failure'
  | 'neutral'
  | 'cancelled'
  | 'skipped'
  | 'timed_out'
  | 'action_required'
  | 'stale'
  | 'startup_failure';

interface WorkflowRun {
  owner: string;
  repo: string;
  id: number;
  name: string;
  workflowId: number;
  status: Status;
  attempt: number;
  createdAt: number;
  startedAt: number;
  updatedAt: number;
}

/**
 * GitHub Actions as far as one run is read. Runs: docs.github.com/en/rest/actions/workflow-runs. Limits and
 * conditional requests: rate-limits-for-the-rest-api, best-practices-for-using-the-rest-api and
 * troubleshooting-the-rest-api, under docs.github.com/en/rest/using-the-rest-api.
 */
export class GithubActions extends ApiServer {
  readonly token = 'ghp_of-this-test';
  readonly #runs = new Map<string, WorkflowRun>();
  readonly #now: () => number;
  #added = 0;
  #used = 0;
  #resetAt: number;
  #secondaryUntil = 0;

  constructor({ now = Date.now } = {}) {
    super();
    this.#now = now;
    this.#resetAt = now() + AN_HOUR;
  }

  /** Begins a run. @returns its id, `owner/repo/number` */
  add({ owner = 'acme', repo = 'shop', name = 'Deploy' } = {}): string {
    const now = this.#now();
    const id = 19_000_000_000 + (this.#added += 1);
    const times = { createdAt: now, startedAt: now, updatedAt: now };
    const run = { owner, repo, id, name, workflowId: 161_335, attempt: 1, ...times };
    const key = `${owner}/${repo}/${id}`;
    this.#runs.set(key, { ...run, status: 'queued' });
    return key;
  }

  setStatus(id: string, status: Status): void {
    Object.assign(this.#run(id), { status, updatedAt: this.#now() });
  }

  /** A reviewer approves a deployment, or a maintainer the run of a first contributor. */
  approve(id: string): void {
    const { status } = this.#run(id);
    this.setStatus(id, status === 'waiting' ? 'in_progress' : 'queued');
  }

  /** Runs the same run again, from its start; it keeps its id and time of creation. */
  rerun(id: string): void {
    const run = this.#run(id);
    this.setStatus(id, 'queued');
    Object.assign(run, { attempt: run.attempt + 1, startedAt: run.updatedAt });
  }

  delete(id: string): void {
    this.#runs.delete(id);
  }

  /** Uses up the limit of the hour, and ends the hour so much later. @returns when that is */
  exhaust(resetInMs: number): number {
    this.#used = LIMIT;
    this.#resetAt = this.#now() + resetInMs;
    return this.#resetAt;
  }

  beginHour(): void {
    this.#used = 0;
    this.#resetAt = this.#now() + AN_HOUR;
  }

  /** Refuses requests for too many at a time. */
  limitSecondarily(forSeconds: number): void {
    this.#secondaryUntil = this.#now() + forSeconds * 1_000;
  }

  protected answer(request: ApiRequest): ApiAnswer {
    const refused = this.#judge(request);
    if (refused !== null) return refused;
    if (this.#now() >= this.#resetAt) this.beginHour();
    // This page is there whatever is used up, and does not count.
    if (request.path === '/rate_limit') return { status: 200, body: this.#limits() };
    const answer = this.#limited() ?? this.#find(request);
    const tag = `W/"${createHash('sha256').update(JSON.stringify(answer.body)).digest('hex')}"`;
    const isKnown = request.headers['if-none-match'] === tag;
    // Only an answer that says something new counts.
    if (!isKnown && answer.status !== 403) this.#used += 1;
    const headers = {
      ...this.#limitHeaders(),
      ...(answer.status === 200 && { etag: tag, 'cache-control': 'private, max-age=60' }),
      ...answer.headers,
    };
    return isKnown ? { status: 304, headers } : { ...answer, headers };
  }

  /** The answer to a client that is not known. */
  #judge({ headers }: ApiRequest): ApiAnswer | null {
    if (headers['user-agent'] === undefined) {
      const body = 'Request forbidden by administrative rules. Please send a User-Agent header.';
      return { status: 403, headers: { 'content-type': 'text/plain' }, body };
    }
    // GitHub does not reveal which private repositories exist.
    if (headers.authorization === undefined) return notFound();
    const isKnown = headers.authorization === `Bearer ${this.token}`;
    return isKnown ? null : refusal(401, 'Bad credentials', DOCS);
  }

  /** The answer to a client that asks too much. */
  #limited(): ApiAnswer | null {
    const limits = `${DOCS}/using-the-rest-api/rate-limits-for-the-rest-api`;
    const waitMs = this.#secondaryUntil - this.#now();
    if (waitMs > 0) {
      const text =
        'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.';
      const headers = { 'retry-after': String(Math.ceil(waitMs / 1_000)) };
      return { ...refusal(403, text, `${limits}#about-secondary-rate-limits`), headers };
    }
    if (this.#used < LIMIT) return null;
    return refusal(403, 'API rate limit exceeded for user ID 1.', limits);
  }

  #limits() {
    const [used, reset] = [this.#used, Math.ceil(this.#resetAt / 1_000)];
    const core = { limit: LIMIT, remaining: LIMIT - used, used, reset, resource: 'core' };
    return { resources: { core }, rate: core };
  }

  #limitHeaders(): Record<string, string> {
    const numbers = Object.entries(this.#limits().rate);
    return Object.fromEntries(numbers.map(([name, text]) => [`x-ratelimit-${name}`, `${text}`]));
  }

  #find({ path, method }: ApiRequest): ApiAnswer {
    const parts = partsOf(RUN, path);
    if (parts === null || method !== 'GET') return notFound();
    // The names of owners and repositories are not case sensitive.
    const run = [...this.#runs.values()].find(
      ({ owner, repo, id }) =>
        `${owner}/${repo}`.toLowerCase() === `${parts['owner']}/${parts['repo']}`.toLowerCase() &&
        String(id) === parts['run'],
    );
    return run === undefined ? notFound() : { status: 200, body: wireRun(run) };
  }

  #run(id: string): WorkflowRun {
    const run = this.#runs.get(id);
    if (run === undefined) throw new Error(`GitHub has no run ${id}`);
    return run;
  }
}

function notFound(): ApiAnswer {
  return refusal(404, 'Not Found', `${DOCS}/actions/workflow-runs#get-a-workflow-run`);
}

function refusal(status: number, message: string, documentation_url: string): ApiAnswer {
  return { status, body: { message, documentation_url, status: String(status) } };
}

function wireRun(run: WorkflowRun) {
  const { owner, repo, id, attempt, status, workflowId } = run;
  const repository = { id: 1_296_269, name: repo, full_name: `${owner}/${repo}`, private: true };
  const url = `https://api.github.com/repos/${owner}/${repo}/actions/runs/${id}`;
  const actor = { login: 'octocat', id: 1, type: 'User', site_admin: false };
  const head_sha = 'acb5820ced9479c074f688cc328bf03f341a511d';
  return {
    id,
    name: run.name,
    node_id: 'WFR_kwLOExample',
    head_branch: 'main',
    head_sha,
    path: '.github/workflows/deploy.yml@main',
    display_title: PRIVATE_CANARY,
    run_number: 562,
    event: 'push',
    status: typeof status === 'string' ? status : 'completed',
    conclusion: typeof status === 'string' ? null : status.completed,
    workflow_id: workflowId,
    check_suite_id: 42,
    url,
    html_url: `https://github.com/${owner}/${repo}/actions/runs/${id}`,
    pull_requests: [],
    created_at: time(run.createdAt),
    updated_at: time(run.updatedAt),
    actor,
    run_attempt: attempt,
    run_started_at: time(run.startedAt),
    triggering_actor: actor,
    previous_attempt_url: attempt === 1 ? null : `${url}/attempts/${attempt - 1}`,
    workflow_url: `https://api.github.com/repos/${owner}/${repo}/actions/workflows/${workflowId}`,
    head_commit: { id: head_sha, message: PRIVATE_CANARY, author: { name: 'Octo Cat' } },
    repository,
    head_repository: repository,
  };
}

/** GitHub gives whole seconds. */
function time(at: number): string {
  return new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');
}
