import type { z } from 'zod';
import { notADaemon, problemError } from './problem.ts';
import { readSse, type SseMessage } from './sse.ts';
import type { Query, Transport } from './transport.ts';
import { pageSchema, type PageView } from './wire.ts';

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
  async act<Schema extends z.ZodType>(path: string, schema: Schema, body?: unknown) {
    const answer = await this.#send('POST', path, { body }, 404);
    return answer === MISSING ? null : this.#checked(answer, schema);
  }

  async find<Schema extends z.ZodType>(path: string, schema: Schema, query: Query) {
    const found = await this.#send('GET', path, { query }, 404);
    return found === MISSING ? null : this.#checked(found, schema);
  }

  async remove(path: string, query: Query): Promise<boolean> {
    const answer = await this.#send('DELETE', path, { query }, 404);
    if (answer !== MISSING) this.#empty(answer);
    return answer !== MISSING;
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

  /** The body of a 2xx, or {@link MISSING} for a problem of the one status that the caller expects. */
  async #send(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    { query, ...rest }: PostOptions & { query?: Query; body?: unknown },
    expected?: number,
  ): Promise<unknown> {
    const call = { signal: this.#signal, ...rest, ...(query !== undefined && { query }) };
    const answer = await this.#transport.request(method, path, call);
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    const problem = problemError(this.#transport.url, answer.status, answer.body);
    if (answer.status === expected && problem.code !== 'not_a_daemon') return MISSING;
    throw problem;
  }

  #empty(body: unknown): void {
    if (body !== undefined) throw notADaemon(this.#transport.url, 'it answers more than was asked');
  }

  /** The body itself, once it is known to have the shape: what is shown as JSON stays as it came. */
  #checked<Schema extends z.ZodType>(body: unknown, schema: Schema): z.output<Schema> {
    const checked = schema.safeParse(body);
    if (checked.success) return body as z.output<Schema>;
    const [issue] = checked.error.issues;
    const where = issue?.path.join('.') ?? '';
    throw notADaemon(this.#transport.url, `${issue?.message ?? 'unreadable'} at "${where}"`);
  }
}

const MISSING = Symbol('missing');

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
