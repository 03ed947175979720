import { setMaxListeners } from 'node:events';
import { z } from 'zod';
import type { SseMessage } from '../core/event/sse.ts';
import { misfit, problemError } from './answer.ts';
import { notADaemon } from './errors.ts';
import { readSse } from './event-stream.ts';
import type { Query } from './query.ts';
import type { Transport } from './transport.ts';
import type { PageView } from './types.ts';

interface PostOptions {
  /** For answers that take longer than others. */
  timeoutMs?: number;
  /** True where doing it twice would do harm. */
  once?: boolean;
}

/**
 * The few shapes that calls of the API have. Bodies are checked by a schema and given as they came;
 * what is not a 2xx becomes an error.
 */
export class Caller {
  readonly #transport: Transport;
  readonly #signal: AbortSignal;

  constructor(transport: Transport, signal: AbortSignal) {
    this.#transport = transport;
    this.#signal = signal;
    // Each request listens to it, and many run at once.
    setMaxListeners(0, signal);
  }

  async post<Schema extends z.ZodType>(
    path: string,
    body: unknown,
    schema: Schema,
    options: PostOptions = {},
  ) {
    return this.#checked(await this.#send('POST', path, { body, ...options }), schema);
  }

  /** Does something with what the path names; null when there is no such thing. */
  async act<Schema extends z.ZodType>(
    path: string,
    schema: Schema,
    given: { body?: unknown; query?: Query } = {},
  ) {
    const answer = await this.#send('POST', path, given, 404);
    return answer === MISSING ? null : this.#checked(answer, schema);
  }

  /** @param also a status with a body that is read like that of a 2xx */
  async get<Schema extends z.ZodType>(
    path: string,
    schema: Schema,
    query: Query = {},
    also?: number,
  ) {
    const { status, body } = await this.#transport.request('GET', path, {
      query,
      signal: this.#signal,
    });
    if ((status < 200 || status >= 300) && status !== also) {
      throw problemError(this.#transport.url, status, body);
    }
    return this.#checked(body, schema);
  }

  async find<Schema extends z.ZodType>(path: string, schema: Schema, query: Query) {
    const found = await this.#send('GET', path, { query }, 404);
    return found === MISSING ? null : this.#checked(found, schema);
  }

  /** {@link find}, and null as well where the token may not read it. */
  async findAllowed<Schema extends z.ZodType>(path: string, schema: Schema, query: Query) {
    const found = await this.#send('GET', path, { query }, 404, 403);
    return found === MISSING ? null : this.#checked(found, schema);
  }

  async remove(path: string, query: Query): Promise<boolean> {
    const answer = await this.#send('DELETE', path, { query }, 404);
    if (answer !== MISSING) this.#empty(answer);
    return answer !== MISSING;
  }

  /** {@link remove} of many things, answered with what came of it. */
  async erase<Schema extends z.ZodType>(path: string, schema: Schema, query: Query) {
    return this.#checked(await this.#send('DELETE', path, { query }), schema);
  }

  async trigger(path: string, query: Query): Promise<void> {
    await this.#send('POST', path, { query });
  }

  async page<Item>(path: string, query: Query, item: z.ZodType): Promise<PageView<Item>> {
    const body = await this.#send('GET', path, { query });
    const page = this.#checked(body, pageSchema);
    for (const one of page.data) this.#checked(one, item);
    return page as PageView<Item>;
  }

  async stream(path: string, query: Query, lastId: string | null) {
    const headers: Record<string, string> = lastId === null ? {} : { 'last-event-id': lastId };
    const call = { query, headers, signal: this.#signal };
    const { status, contentType, cursor, chunks } = await this.#transport.open(path, call);
    if (status !== 200) throw problemError(this.#transport.url, status, await bodyOf(chunks));
    if (contentType.startsWith('text/event-stream')) return messagesOf(cursor, chunks);
    throw notADaemon(this.#transport.url, `it answers ${contentType || 'nothing'}, not a stream`);
  }

  /** The body of a 2xx, or {@link MISSING} for a problem of a status that the caller expects. */
  async #send(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    { query, ...rest }: PostOptions & { query?: Query; body?: unknown },
    ...expected: number[]
  ): Promise<unknown> {
    const call = { signal: this.#signal, ...rest, ...(query !== undefined && { query }) };
    const answer = await this.#transport.request(method, path, call);
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    const problem = problemError(this.#transport.url, answer.status, answer.body);
    if (expected.includes(answer.status) && problem.code !== 'not_a_daemon') return MISSING;
    throw problem;
  }

  #empty(body: unknown): void {
    if (body !== undefined) throw notADaemon(this.#transport.url, 'it answers more than was asked');
  }

  /** The body as it came, once it is known to fit, so that `--json` shows all of it. */
  #checked<Schema extends z.ZodType>(body: unknown, schema: Schema): z.output<Schema> {
    const wrong = misfit(body, schema);
    if (wrong !== null) throw notADaemon(this.#transport.url, wrong);
    return body as z.output<Schema>;
  }
}

const MISSING = Symbol('missing');

/** A page before its items are checked. */
const pageSchema = z.object({
  data: z.array(z.unknown()),
  next_cursor: z.string().nullish(),
});

/** The place where the stream begins, so that a first connection can be resumed too, and what follows. */
async function* messagesOf(
  cursor: string | null,
  chunks: AsyncIterable<Uint8Array>,
): AsyncIterable<SseMessage> {
  if (cursor !== null) yield { id: cursor, event: null, data: null };
  yield* readSse(chunks);
}

/** The start of an answer that should have been a stream: enough for a problem document. */
async function bodyOf(chunks: AsyncIterable<Uint8Array>): Promise<unknown> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > 65_536) break;
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
