import { setMaxListeners } from 'node:events';
import { z } from 'zod';
import type { SseMessage } from '../core/event/sse.ts';
import type { Answer, Given, Route } from '../http/schemas/routes.ts';
import { misfit, problemError } from './answer.ts';
import { notADaemon } from './errors.ts';
import { readSse } from './event-stream.ts';
import type { Query } from './query.ts';
import type { Method, Transport } from './transport.ts';
import type { PageView } from './types.ts';

interface CallOptions {
  /** For answers that take longer than others. */
  timeoutMs?: number;
  /** True where doing it twice would do harm. */
  once?: boolean;
}

/** {@link Given} of whichever route. */
interface AnyGiven {
  params?: unknown;
  query?: unknown;
  body?: unknown;
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

  /** What a route answers. */
  async call<R extends Route>(
    route: R,
    given: Given<R>,
    options: CallOptions = {},
  ): Promise<Answer<R>> {
    const answer = await this.#ask(route, given, options);
    return this.#checked(answer, schemaOf(route)) as Answer<R>;
  }

  /**
   * {@link call}; null where what it names does not exist.
   * @param absent the statuses that say so
   * @param schema what the answer must fit, where less than that of the route will do
   */
  async find<R extends Route>(
    route: R,
    given: Given<R>,
    absent: readonly number[] = [404],
    schema = schemaOf(route),
  ): Promise<Answer<R> | null> {
    const answer = await this.#ask(route, given, {}, ...absent);
    return answer === MISSING ? null : (this.#checked(answer, schema) as Answer<R>);
  }

  /** A page of a listing; of one without a cursor, all of it. */
  async list<R extends Route>(
    route: R,
    given: Given<R>,
    item = itemOf(route),
  ): Promise<PageView<ItemOf<R>>> {
    const page = this.#checked(await this.#ask(route, given, {}), pageSchema);
    for (const one of page.data) this.#checked(one, item);
    return page as PageView<ItemOf<R>>;
  }

  /** Ends what a route names. @returns false where that does not exist */
  async end<R extends Route>(route: R, given: Given<R>): Promise<boolean> {
    const answer = await this.#ask(route, given, {}, 404);
    if (answer !== MISSING) this.#empty(answer);
    return answer !== MISSING;
  }

  /** {@link call}, whatever it answers. */
  async trigger<R extends Route>(route: R, given: Given<R>): Promise<void> {
    await this.#ask(route, given, {});
  }

  #ask(
    { route }: Route,
    { params, query, body }: AnyGiven,
    options: CallOptions,
    ...absent: number[]
  ): Promise<unknown> {
    const [method, template] = route.split(' ') as [Method, string];
    const path = Object.entries(params ?? {}).reduce(
      (text, [name, value]) => text.replace(`{${name}}`, encodeURIComponent(String(value))),
      template,
    );
    return this.#send(method, path, { query: query as Query, body, ...options }, ...absent);
  }

  /** @param also a status with a body that is read like that of a 2xx */
  async get<Schema extends z.ZodType>(path: string, schema: Schema, query: Query, also: number) {
    const call = { query, signal: this.#signal };
    const { status, body } = await this.#transport.request('GET', path, call);
    const isOk = status >= 200 && status < 300;
    if (!isOk && (status !== also || misfit(body, schema) !== null)) {
      throw problemError(this.#transport.url, status, body);
    }
    return this.#checked(body, schema);
  }

  async stream({ route }: Route, query: Query, lastId: string | null) {
    const [, path = ''] = route.split(' ');
    const headers: Record<string, string> = lastId === null ? {} : { 'last-event-id': lastId };
    const call = { query, headers, signal: this.#signal };
    const { status, contentType, cursor, chunks } = await this.#transport.open(path, call);
    if (status !== 200) throw problemError(this.#transport.url, status, await bodyOf(chunks));
    if (contentType.startsWith('text/event-stream')) return messagesOf(cursor, chunks);
    throw notADaemon(this.#transport.url, `it answers ${contentType || 'nothing'}, not a stream`);
  }

  /** The body of a 2xx, or {@link MISSING} for a problem of a status that the caller expects. */
  async #send(
    method: Method,
    path: string,
    { query, ...rest }: CallOptions & { query?: Query; body?: unknown },
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

/** An item of a listing. */
type ItemOf<R extends Route> = Answer<R> extends { data: (infer Item)[] } ? Item : never;

function itemOf(route: Route): z.ZodType {
  return (schemaOf(route) as typeof pageSchema).shape.data.element;
}

function schemaOf({ answers }: Route): z.ZodType {
  return (answers[200] ?? answers[201] ?? answers[202])?.[1] ?? z.undefined();
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
