import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { z } from 'zod';
import type { Channel } from '../../../src/deliver/channels/channel.ts';
import { createEndpointGuard } from '../../../src/deliver/egress/egress-guard.ts';
import { HttpAttempts } from '../../../src/deliver/http-attempt.ts';
import { createWebhookAgents } from '../../../src/deliver/http-post.ts';

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

/** Why a service refuses a request, and what it answers. */
interface Refusal extends ServiceAnswer {
  why: string;
}

/** A service as its documentation describes it. */
export interface ServiceRules {
  /** Null where the service takes the request. */
  refuse: (request: ServiceRequest) => Refusal | null;
  /** The answer to a request that it takes. */
  take: (request: ServiceRequest) => ServiceAnswer;
}

/** What is wrong with a value, in one line; null where the schema takes it. */
export function problemsOf(schema: z.ZodType, value: unknown): string | null {
  const { error } = schema.safeParse(value);
  return error ? error.issues.map(issueText).join('; ') : null;
}

function issueText({ path, message }: z.core.$ZodIssue): string {
  return `${path.join('.')}: ${message}`;
}

/** A local server in the place of a service, and what channels need to reach it. */
export async function startService({ refuse, take }: ServiceRules) {
  const requests: ServiceRequest[] = [];
  const refusals: string[] = [];
  let answer: (request: ServiceRequest) => ServiceAnswer | Promise<ServiceAnswer> = take;
  const server = createServer((request, response) => {
    void (async () => {
      const body = JSON.parse(await text(request)) as Record<string, unknown>;
      const got = { path: request.url ?? '', headers: request.headers, body };
      requests.push(got);
      const refusal = refuse(got);
      if (refusal !== null) refusals.push(refusal.why);
      const { status, headers = {}, body: said = '' } = refusal ?? (await answer(got));
      response.writeHead(status, headers);
      response.end(typeof said === 'string' ? said : JSON.stringify(said));
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const agents = createWebhookAgents(createEndpointGuard());
  const http = new HttpAttempts(agents, { userAgent: 'runwatch/1.2.3', now: Date.now });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    /** Why requests were refused that the documentation does not allow. */
    refusals,
    http,
    /** Forgets the requests, and answers as the documentation says again. */
    reset() {
      requests.length = 0;
      refusals.length = 0;
      answer = take;
    },
    /** Answers otherwise to requests that the service takes. */
    answerBy(other: typeof answer) {
      answer = other;
    },
    async close() {
      agents.close();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export type Service = Awaited<ReturnType<typeof startService>>;

/** A way to configure a kind of endpoint, and what its receiver gets of it. */
export interface Credentials {
  settings: (at: { http: string; smtp: string }) => Record<string, unknown>;
  /** By setting: a text of its value, and the only places where that arrives. */
  arrives: Record<string, [text: string, ...places: string[]]>;
}

/** A service that runs, and a channel to it. */
export interface Receiver {
  channel: Channel;
  /** The texts of the messages that it got. */
  messages: () => string[];
  /** Why messages were refused that the documentation does not allow. */
  refusals: string[];
  /** Rejects the messages with this text in them, by an answer after which the same message is not sent again. */
  rejectBy: (part: string) => void;
  close: () => Promise<void>;
}

/** All that tests over every kind of endpoint know of one for people or a pager. */
export interface EndpointModel {
  /** Ways to configure it, by name; each of its credentials is in one of them. */
  configured: Record<string, Credentials>;
  /** Services that it sends to, by name. */
  receivers: Record<string, () => Promise<Receiver>>;
}

/** What the channels of all receivers are opened with. */
export const SENDING = {
  wording: {
    ownerOf: () => '@ana',
    labelOf: (source: string) => (source === 'default' ? 'Noxus' : source),
  },
  timeoutMs: 15_000,
};

/** Starts a service that gets messages as JSON, and opens a channel to it. */
export async function startReceiver(
  rules: ServiceRules,
  rejection: ServiceAnswer,
  open: (service: Service) => Channel,
): Promise<Receiver> {
  const service = await startService(rules);
  const { requests, refusals, close } = service;
  return {
    channel: open(service),
    messages: () => requests.map(({ body }) => JSON.stringify(body)),
    refusals,
    rejectBy(part) {
      service.answerBy((request) =>
        JSON.stringify(request.body).includes(part) ? rejection : rules.take(request),
      );
    },
    close,
  };
}
