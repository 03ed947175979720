import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest, FastifySchemaCompiler } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import type { z } from 'zod';
import { withoutControls } from '../core/control-characters.ts';
import { RunwatchError, type InputIssue } from '../core/errors.ts';
import type { RedisConnections } from '../redis/connection.ts';
import { closeWhole } from './connections.ts';
import { answerPage } from './dashboard.ts';
import {
  InvalidRequest,
  isProblemCode,
  PROBLEM_TYPE,
  problem,
  type Problem,
  type ProblemCode,
  refusal,
} from './problem.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** What went wrong inside while this request was served; undefined where nothing did. */
    failure: unknown;
  }
}

/** Seconds after which a request that found something away is worth trying again. */
const RETRY_AFTER_S = 5;

/** What Fastify throws, in our words. */
const FRAMEWORK_PROBLEMS: Readonly<Record<string, [ProblemCode, string]>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: ['malformed_json', 'the body is not valid JSON'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['body_too_large', 'the body may have up to 1 MiB'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    'unsupported_media_type',
    'send the body as content-type: application/json',
  ],
};

/** Answers everything that is thrown as a problem document, and keeps what was our own fault. */
export const errorHandler = fastifyPlugin((app, _options, done) => {
  app.decorateRequest('failure', undefined);
  app.setErrorHandler(answerError);
  done();
});

/** The one place where errors become answers; also used for errors before any route is found. */
export function answerError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const answer = problemOf(error, request);
  // What a source answers is no fault of our own.
  if (answer.status >= 500 && ![502, 504].includes(answer.status)) request.failure = error;
  if (answer.status === 503 && !reply.hasHeader('retry-after')) {
    reply.header('retry-after', RETRY_AFTER_S);
  }
  return reply.code(answer.status).type(PROBLEM_TYPE).send(answer);
}

function problemOf(error: unknown, request: FastifyRequest): Problem {
  if (error instanceof InvalidRequest) {
    return problem('invalid_request', error.message, error.issues);
  }
  if (error instanceof RunwatchError) return problemOfCode(error, request);
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown };
  const known = FRAMEWORK_PROBLEMS[String(code)];
  if (known !== undefined) return problem(...known);
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
    ? problem('bad_request', 'the request is not valid HTTP for this server')
    : internal();
}

/** Messages about Redis and faults of our own may name what is private; those of refusals do not. */
function problemOfCode({ code, message }: RunwatchError, request: FastifyRequest): Problem {
  if (code === 'redis_unavailable') {
    const consequence = request.mayHaveChanged
      ? 'whether this was done is not known; sending it again is safe'
      : 'nothing was changed; try again';
    return problem(code, `Redis cannot be reached; ${consequence}`);
  }
  return isProblemCode(code) && code !== 'internal' ? problem(code, message) : internal();
}

function internal(): Problem {
  return problem('internal', 'the request could not be served; the log of runwatch says why');
}

interface KnownRoute {
  path: RegExp;
  methods: Set<string>;
}

interface NotFoundOptions {
  /** The page of the dashboard; null where it is not built. */
  page: string | null;
}

/**
 * Distinguishes an unknown path (404) from a method that the path does not take (405, with `Allow`).
 * It answers before the body is read, since no body could make such a request right. A browser gets the
 * page of the dashboard, which says that there is no such screen.
 */
export const notFound = fastifyPlugin<NotFoundOptions>((app, { page }, done) => {
  const routes = new Map<string, KnownRoute>();
  app.addHook('onRoute', ({ url, method }) => {
    const route = routes.get(url) ?? { path: pathPattern(url), methods: new Set() };
    for (const one of [method].flat()) route.methods.add(one);
    routes.set(url, route);
  });
  app.addHook('onRequest', async (request, reply) => {
    if (!request.is404) return undefined;
    const refused = refuse(request, reply, routes);
    if (page === null || refused.code !== 'route_not_found' || !isScreenAsked(request)) {
      throw refused;
    }
    return answerPage(page, request, reply.code(404));
  });
  app.setNotFoundHandler(async (request, reply) => {
    throw refuse(request, reply, routes);
  });
  done();
});

/** Whether a browser was sent to an address outside the API, which answers in JSON alone. */
function isScreenAsked({ method, url, headers: { accept = '' } }: FastifyRequest): boolean {
  return method === 'GET' && accept.includes('text/html') && !/^\/(v1|assets)\//.test(url);
}

function refuse(
  request: FastifyRequest,
  reply: FastifyReply,
  routes: ReadonlyMap<string, KnownRoute>,
): RunwatchError {
  const [path = ''] = request.url.split('?');
  const methods = [...routes.values()]
    .filter((route) => route.path.test(path))
    .flatMap((route) => Array.from(route.methods));
  if (methods.length === 0 || methods.includes(request.method)) {
    return refusal('route_not_found', 'this server has no such route; see /docs for those it has');
  }
  const allow = [...new Set(methods)].sort().join(', ');
  reply.header('allow', allow);
  return refusal('method_not_allowed', `this route takes ${allow}`);
}

function pathPattern(url: string): RegExp {
  const literal = url.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${literal.replaceAll(/:[^/]+/g, '[^/]+').replaceAll('*', '.*')}$`);
}

declare module 'fastify' {
  interface FastifyRequest {
    /** True once a handler that may change something has begun. */
    mayHaveChanged: boolean;
  }
}

/**
 * Refuses changes while the store is away, so that the answer can say that nothing was changed. If the
 * store goes away later, that is not known. Register it after all hooks that may refuse.
 */
export const unreachableStore = fastifyPlugin<{ connections: Pick<RedisConnections, 'state'> }>(
  (app, { connections }, done) => {
    app.decorateRequest('mayHaveChanged', false);
    app.addHook('preHandler', async (request) => {
      if (request.method === 'GET' || request.method === 'HEAD') return;
      if (connections.state().kind === 'away') {
        throw refusal('redis_unavailable', 'Redis cannot be reached');
      }
      request.mayHaveChanged = true;
    });
    done();
  },
);

/** Most problems of one answer: a body full of unknown fields must not be answered at its own size. */
export const MAX_ISSUES = 20;

/** Longest path that is shown in full: field names come from the client. */
const MAX_PATH_LENGTH = 200;

/** How issues of each part of a request begin; those of the body have no prefix. */
const PREFIXES: Readonly<Record<string, string>> = {
  querystring: 'query',
  params: 'path',
  headers: 'header',
};

type Parsed<T> = { ok: true; value: T } | { ok: false; issues: InputIssue[] };

/** Checks a value by a schema. @returns the value, or what is wrong with it, by path */
export function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  prefix: string | null = null,
): Parsed<z.output<Schema>> {
  const result = schema.safeParse(value, { error: describeIssue });
  return result.success
    ? { ok: true, value: result.data }
    : { ok: false, issues: issuesOf(result.error, prefix) };
}

/** Lets Fastify check requests by zod schemas. */
export const validateByZod: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  const prefix = PREFIXES[httpPart ?? ''] ?? null;
  return (value) => {
    const parsed = parse(schema, value, prefix);
    return parsed.ok ? { value: parsed.value } : { error: new InvalidRequest(parsed.issues) };
  };
};

function issuesOf(error: z.ZodError, prefix: string | null): InputIssue[] {
  const issues = error.issues.slice(0, MAX_ISSUES).flatMap((issue) => {
    const path = [prefix ?? [], issue.path].flat();
    const paths =
      issue.code === 'unrecognized_keys'
        ? issue.keys.slice(0, MAX_ISSUES).map((key) => path.concat(key))
        : [path];
    return paths.map((parts) => ({
      path: withoutControls(parts.map(String).join('.').slice(0, MAX_PATH_LENGTH)),
      message: issue.message,
    }));
  });
  return issues.slice(0, MAX_ISSUES);
}

const KINDS: Readonly<Record<string, string>> = {
  array: 'an array',
  boolean: 'true or false',
  int: 'a whole number',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'a string',
};

/** The words for issues without words in the schema; the value itself is never repeated. */
function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return describeType(issue.expected, issue.input);
    case 'unrecognized_keys':
      return 'unknown field';
    case 'invalid_value':
      return `expected one of ${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return `expected at least ${sized(issue.origin, issue.minimum)}`;
    case 'too_big':
      return `expected at most ${sized(issue.origin, issue.maximum)}`;
    case 'invalid_key':
      return `the name of the field: ${issue.issues.map(({ message }) => message).join()}`;
    case 'custom':
    case 'invalid_element':
    case 'invalid_format':
    case 'invalid_union':
    case 'not_multiple_of':
      return undefined;
  }
}

function describeType(expected: string, input: unknown): string {
  const kind = KINDS[expected] ?? expected;
  return input === undefined ? `required: expected ${kind}` : `expected ${kind}`;
}

function sized(origin: string, size: number | bigint): string {
  const unit = { string: 'characters', array: 'items' }[origin];
  return unit === undefined ? String(size) : `${size} ${unit}`;
}

/**
 * Answers what is not HTTP, comes too slowly, or has headers beyond Node's limit. There is no
 * request yet, so the answer is written to the socket itself, which is then closed.
 */
export function answerClientError(error: { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed || socket.writableEnded) return;
  if (socket.writable) closeWhole(socket, responseText(socketProblem(error.code)));
  else socket.destroy();
}

function socketProblem(code: string | undefined): Problem {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return problem('request_timeout', 'the request was not complete in time');
  }
  return code === 'HPE_HEADER_OVERFLOW'
    ? problem('headers_too_large', 'the request headers may have up to 16 KiB')
    : problem('bad_request', 'the request is not valid HTTP');
}

function responseText(answer: Problem): string {
  const body = JSON.stringify(answer);
  return [
    `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? 'Error'}`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
    '',
    body,
  ].join('\r\n');
}
