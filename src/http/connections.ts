import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { refusal } from './problem.ts';

interface Connection {
  /** Requests that are not answered yet. */
  requests: Set<IncomingMessage>;
  /** False until the first request. */
  hasAsked: boolean;
  /** Whether its last request carried a token in force. */
  isTrusted: boolean;
}

interface ConnectionOptions {
  most: number;
  /** Whether a request carries a token in force. */
  isTrusted: (request: IncomingMessage) => boolean;
}

/** The part of all connections that one address may hold without a token. */
const ADDRESS_SHARE = 1 / 4;

/**
 * Keeps account of the open connections.
 *
 * Beyond `most`, a new connection takes the place of the oldest idle one, first of one that never
 * sent a request. Connections that only wait must not keep requests out. Nor must those whose request
 * has no token and does not come to its end: of these, too, the oldest gives way. An address has a
 * share of the places, loopback aside; requests with a token do not count, since behind a proxy all
 * users have one address.
 *
 * `close()` ends with the last answer. Node by itself waits for connections that were opened ahead of
 * a request, as browsers and pools do, and keeps those that served one until their idle time-out.
 */
export const connections = fastifyPlugin<ConnectionOptions>((app, { most, isTrusted }, done) => {
  const open = new Map<Socket, Connection>();
  let isClosing = false;

  app.server.on('connection', (socket) => {
    if (isClosing || !makeRoom(open, socket, most)) return void socket.destroy();
    open.set(socket, { requests: new Set(), hasAsked: false, isTrusted: false });
    socket.once('close', () => open.delete(socket));
  });

  app.server.on('request', (request, response) => {
    const { socket } = request;
    const connection = open.get(socket);
    if (connection === undefined) return;
    connection.requests.add(request);
    connection.hasAsked = true;
    connection.isTrusted = isTrusted(request);
    response.once('close', () => {
      connection.requests.delete(request);
      if (isClosing && connection.requests.size === 0) closeWhole(socket);
    });
  });

  app.addHook('preClose', async () => {
    isClosing = true;
    for (const [socket, { requests }] of open) {
      if (requests.size === 0) socket.destroy();
    }
  });

  // What is not read of a request would have to be read, and thrown away, before the next one.
  app.addHook('onSend', async (request, reply) => {
    if (!request.raw.complete) reply.header('connection', 'close');
  });
  done();
});

/** @returns false where every connection that could give way is busy */
function makeRoom(open: Map<Socket, Connection>, { remoteAddress }: Socket, most: number): boolean {
  const isShared = remoteAddress === undefined || isLoopback(remoteAddress);
  const ofAddress = isShared
    ? []
    : [...open].filter(
        ([socket, { isTrusted }]) => !isTrusted && socket.remoteAddress === remoteAddress,
      );
  const isOverShare = ofAddress.length >= most * ADDRESS_SHARE;
  if (open.size < most && !isOverShare) return true;
  const candidates = isOverShare ? ofAddress : [...open];
  const idle = candidates.filter(([, { requests }]) => requests.size === 0);
  const oldest =
    idle.find(([, { hasAsked }]) => !hasAsked) ??
    idle[0] ??
    candidates.find(([, { isTrusted, requests }]) => !isTrusted && isUnfinished(requests));
  if (oldest === undefined) return false;
  const [socket] = oldest;
  open.delete(socket);
  socket.destroy();
  return true;
}

function isUnfinished(requests: ReadonlySet<IncomingMessage>): boolean {
  return [...requests].every(({ complete }) => !complete);
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}

/** Bytes of bodies of all requests that are not whole yet. */
const MOST_BODY_BYTES = 64 * 1_048_576;

/** Bounds what unfinished bodies hold in memory. */
export const bodyBudget = fastifyPlugin((app, _options, done) => {
  let held = 0;
  app.addHook('preParsing', async ({ raw, headers, routeOptions }, reply) => {
    if (raw.complete) return;
    const most = routeOptions.bodyLimit ?? app.initialConfig.bodyLimit ?? 0;
    const bytes = Math.min(Number(headers['content-length'] ?? most), most);
    if (held + bytes > MOST_BODY_BYTES) {
      reply.header('retry-after', 1);
      throw refusal('too_many_requests', 'too many large bodies come in at once; try again');
    }
    held += bytes;
    let isHeld = true;
    const release = () => {
      if (isHeld) held -= bytes;
      isHeld = false;
    };
    raw.once('end', release).once('close', release);
  });
  done();
});

/** Limits of connections; counts and milliseconds. */
export interface ConnectionLimits {
  connections: number;
  /** Requests of one connection that are worked on at the same time. */
  requestsPerConnection: number;
  /** From the start of a connection, or of a request on it, to the end of the head. */
  headersMs: number;
  /** From the first byte of a request to its last. */
  requestMs: number;
  /** How long a connection may wait for its next request. */
  keepAliveMs: number;
  /** How long nothing may move on a connection in either direction. */
  silenceMs: number;
}

/** How often Node compares connections with their limits; it would do so every 30 s, ms. */
const CHECK_INTERVAL_MS = 1_000;

/** How long what a peer still sends is read after the last answer, ms. */
const LINGER_MS = 500;

/** The Node server below the routes, with the limits that hold before there is a request. */
export function createNodeServer(handle: RequestListener, limits: ConnectionLimits): Server {
  const server = createServer(
    {
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: Math.min(CHECK_INTERVAL_MS, limits.headersMs),
    },
    limitPipelining(handle, limits.requestsPerConnection),
  );
  server.setTimeout(limits.silenceMs);
  return server;
}

/**
 * Closes a connection in both directions. After `end()` alone a peer that keeps its half open keeps
 * the connection. Destroyed at once, unread bytes would make the kernel drop the answer.
 */
export function closeWhole(socket: Socket, lastWords?: string): void {
  if (socket.writableEnded) return;
  if (lastWords === undefined) socket.end();
  else socket.end(lastWords);
  const linger = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(linger));
}

interface Pipeline {
  running: number;
  /** Requests that have been read and wait for one that runs to be answered. */
  waiting: (() => void)[];
  isPaused: boolean;
}

/**
 * Works on a limited number of requests of one connection. While others wait, nothing more is read:
 * only the rest of one chunk (64 KiB) can come on top.
 */
function limitPipelining(handle: RequestListener, most: number): RequestListener {
  const pipelines = new WeakMap<Socket, Pipeline>();
  const pipelineOf = (socket: Socket): Pipeline => {
    const known = pipelines.get(socket);
    if (known !== undefined) return known;
    const pipeline: Pipeline = { running: 0, waiting: [], isPaused: false };
    // Node by itself reads on after each answer.
    socket.on('resume', () => {
      if (pipeline.isPaused) socket.pause();
    });
    pipelines.set(socket, pipeline);
    return pipeline;
  };
  return (request, response) => {
    const { socket } = request;
    const pipeline = pipelineOf(socket);
    const start = () => {
      pipeline.running += 1;
      handle(request, response);
    };
    const startNext = () => {
      pipeline.running -= 1;
      pipeline.waiting.shift()?.();
      if (!pipeline.isPaused || pipeline.waiting.length > 0) return;
      pipeline.isPaused = false;
      socket.resume();
    };
    // Not at once: answers that are ready would follow one another and keep out other connections.
    response.once('close', () => setImmediate(startNext));
    if (pipeline.running < most) return start();
    pipeline.waiting.push(start);
    pipeline.isPaused = true;
    socket.pause();
  };
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** From a request of this route to its answer, where it takes longer than others, ms. */
    limitMs?: number;
  }
}

/**
 * Answers each request within a limit: 408 where its body has not come, else 503. Streams are exempt
 * once they have begun. Fastify's `handlerTimeout` ends with the body of the request.
 */
export const deadline = fastifyPlugin<{ limitMs: number }>((app, { limitMs }, done) => {
  app.addHook('onRequest', async (request, reply) => {
    const timer = setTimeout(
      () => answerLate(request, reply),
      request.routeOptions.config.limitMs ?? limitMs,
    );
    reply.raw.once('close', () => clearTimeout(timer));
  });
  done();
});

function answerLate({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (reply.sent) return;
  void reply.send(
    raw.complete
      ? refusal('timeout', 'the answer took too long; try again')
      : refusal('request_timeout', 'the request was not complete in time'),
  );
}
