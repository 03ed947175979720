import { randomBytes } from 'node:crypto';
import { PRIVATE_CANARY } from '../../../src/simulator/wire-run.ts';
import { ApiServer, partsOf, type ApiAnswer, type ApiRequest } from './api-server.ts';

const MODEL = 'gpt-5.2';
/** How long a response that is not to be stored can be read after its end. */
const KEPT_MS = 10 * 60_000;

type Status = 'queued' | 'in_progress' | 'completed' | 'failed' | 'cancelled' | 'incomplete';

const ENDS: ReadonlySet<Status> = new Set(['completed', 'failed', 'cancelled', 'incomplete']);

interface Response {
  id: string;
  status: Status;
  createdAt: number;
  endedAt: number | null;
  isStored: boolean;
}

/**
 * Background responses of OpenAI as far as they are read. Shapes: types/responses/response.py of
 * github.com/openai/openai-python. The ten minutes: developers.openai.com/api/docs/guides/background; errors and
 * limits: guides/error-codes and guides/rate-limits beside it.
 */
export class OpenaiResponses extends ApiServer {
  readonly key = 'sk-of-this-test';
  readonly #responses = new Map<string, Response>();
  readonly #now: () => number;
  #limitedUntil = 0;

  constructor({ now = Date.now } = {}) {
    super();
    this.#now = now;
  }

  /** Begins a background response. @returns its id */
  add({ isStored = false } = {}): string {
    const id = `resp_${randomBytes(24).toString('hex')}`;
    const times = { createdAt: this.#now(), endedAt: null };
    this.#responses.set(id, { id, status: 'queued', isStored, ...times });
    return id;
  }

  setStatus(id: string, status: Status): void {
    const response = this.#responses.get(id);
    if (response === undefined) throw new Error(`OpenAI has no response ${id}`);
    Object.assign(response, { status, endedAt: ENDS.has(status) ? this.#now() : null });
  }

  /** Forgets a response before its time. */
  forget(id: string): void {
    this.#responses.delete(id);
  }

  limit(forSeconds: number): void {
    this.#limitedUntil = this.#now() + forSeconds * 1_000;
  }

  protected answer(request: ApiRequest): ApiAnswer {
    const headers = {
      'openai-version': '2020-10-01',
      'x-request-id': `req_${this.requests.length}`,
    };
    const { headers: more, ...answer } = this.#refuse(request) ?? this.#find(request);
    return { ...answer, headers: { ...headers, ...more } };
  }

  #refuse({ headers: { authorization } }: ApiRequest): ApiAnswer | null {
    if (authorization === undefined) {
      return refusal(401, "You didn't provide an API key.", { code: null });
    }
    if (authorization !== `Bearer ${this.key}`) {
      return refusal(401, 'Incorrect API key provided.', { code: 'invalid_api_key' });
    }
    const waitMs = this.#limitedUntil - this.#now();
    if (waitMs <= 0) return null;
    const text = `Rate limit reached for ${MODEL} on requests per min (RPM).`;
    const seconds = Math.ceil(waitMs / 1_000);
    return {
      ...refusal(429, text, { type: 'requests', code: 'rate_limit_exceeded' }),
      headers: {
        'retry-after': String(seconds),
        'x-ratelimit-limit-requests': '500',
        'x-ratelimit-remaining-requests': '0',
        // Not a time, but how long it takes.
        'x-ratelimit-reset-requests': `${seconds}s`,
      },
    };
  }

  #find({ path, method }: ApiRequest): ApiAnswer {
    if (method === 'GET' && path === '/v1/models') {
      const model = { id: MODEL, object: 'model', created: 1_764_000_000, owned_by: 'system' };
      return { status: 200, body: { object: 'list', data: [model] } };
    }
    const id = partsOf('/v1/responses/{id}', path)?.['id'];
    if (id === undefined || method !== 'GET') {
      return refusal(404, `Invalid URL (${method} ${path})`, { code: null });
    }
    const response = this.#responses.get(id);
    return response === undefined || this.#isForgotten(response)
      ? refusal(404, `Response with id '${id}' not found.`, { code: null })
      : { status: 200, body: wireResponse(response) };
  }

  #isForgotten({ isStored, endedAt }: Response): boolean {
    return !isStored && endedAt !== null && this.#now() >= endedAt + KEPT_MS;
  }
}

function refusal(
  status: number,
  message: string,
  { type = 'invalid_request_error', code }: { type?: string; code: string | null },
): ApiAnswer {
  return { status, body: { error: { message, type, param: null, code } } };
}

function wireResponse({ id, status, createdAt, endedAt, isStored }: Response) {
  const isDone = status === 'completed';
  const text = { type: 'output_text', text: PRIVATE_CANARY, annotations: [], logprobs: [] };
  const message = { id: 'msg_1', type: 'message', role: 'assistant', status, content: [text] };
  return {
    id,
    object: 'response',
    created_at: Math.floor(createdAt / 1_000),
    status,
    background: true,
    completed_at: isDone && endedAt !== null ? Math.floor(endedAt / 1_000) : null,
    error: status === 'failed' ? { code: 'server_error', message: PRIVATE_CANARY } : null,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    instructions: PRIVATE_CANARY,
    max_output_tokens: null,
    metadata: {},
    model: MODEL,
    output: isDone ? [message] : [],
    parallel_tool_calls: true,
    previous_response_id: null,
    store: isStored,
    temperature: 1,
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    truncation: 'disabled',
    usage: null,
  };
}
