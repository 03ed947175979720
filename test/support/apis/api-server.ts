import { createServer, type IncomingHttpHeaders } from 'node:http';
import { closeServer, listenOnLoopback } from '../../../src/simulator/http-io.ts';

/** A request that a service got. */
export interface ApiRequest {
  method: string;
  /** The path as it was sent, still encoded. */
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
}

export interface ApiAnswer {
  status: number;
  headers?: Record<string, string>;
  /** A text is sent as it is, anything else as JSON. */
  body?: unknown;
}

/** A local server in the place of an API that runs are read from. It answers GET only. */
export abstract class ApiServer {
  /** All requests, oldest first. */
  readonly requests: ApiRequest[] = [];
  /** What a gateway answers in place of the service; `stall` leaves requests without an answer. */
  instead: ApiAnswer | 'stall' | null = null;
  #url = '';
  readonly #server = createServer((asked, response) => {
    const { method = '', url = '', headers: sent } = asked;
    // Not by `URL`, which would take dot segments out of the path.
    const [path = '', query] = url.split('?', 2);
    const answer = this.#take({ method, path, query: new URLSearchParams(query), headers: sent });
    if (answer === 'stall') return;
    const { status, headers, body } = answer;
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    response.writeHead(status, { ...type, ...headers });
    response.end(typeof body === 'object' ? JSON.stringify(body) : body);
  });

  async listen(): Promise<this> {
    this.#url = await listenOnLoopback(this.#server, { port: 0, host: '127.0.0.1' });
    return this;
  }

  get url(): string {
    return this.#url;
  }

  close(): Promise<void> {
    return closeServer(this.#server);
  }

  protected abstract answer(request: ApiRequest): ApiAnswer;

  #take(request: ApiRequest): ApiAnswer | 'stall' {
    this.requests.push(request);
    return this.instead ?? this.answer(request);
  }
}

/**
 * The parts of a path by a template such as `/threads/{thread}`, where a part is one segment.
 * @returns the parts, decoded; null for another path
 */
export function partsOf(template: string, path: string): Record<string, string> | null {
  const pattern = template.replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)');
  const groups = new RegExp(`^${pattern}$`).exec(path)?.groups;
  if (groups === undefined) return null;
  return Object.fromEntries(
    Object.entries(groups).map(([name, part]) => [name, decodeURIComponent(part)]),
  );
}
