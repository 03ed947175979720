import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { createEndpointGuard } from '../../src/deliver/egress/egress-guard.ts';
import type { HttpDeps } from '../../src/deliver/http-attempt.ts';
import { createWebhookAgents } from '../../src/deliver/http-post.ts';

/** A request that a service got. */
export interface ServiceRequest {
  path: string;
  headers: IncomingHttpHeaders;
  body: Record<string, unknown>;
}

export interface ServiceAnswer {
  status: number;
  headers?: Record<string, string>;
  body?: string | object;
}

/** A local server in the place of a chat service, and what channels need to reach it. */
export async function startService(answer: (request: ServiceRequest) => ServiceAnswer) {
  const requests: ServiceRequest[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      const body = JSON.parse(await text(request)) as Record<string, unknown>;
      const got = { path: request.url ?? '', headers: request.headers, body };
      requests.push(got);
      const { status, headers = {}, body: said = '' } = answer(got);
      response.writeHead(status, headers);
      response.end(typeof said === 'string' ? said : JSON.stringify(said));
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const agents = createWebhookAgents(createEndpointGuard());
  const deps: HttpDeps = { agents, userAgent: 'runwatch/1.2.3', now: Date.now };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    deps,
    async close() {
      agents.close();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export type Service = Awaited<ReturnType<typeof startService>>;
