import type { FastifyReply, FastifyRequest } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { RunwatchError } from '../core/errors.ts';
import {
  InvalidRequest,
  isProblemCode,
  PROBLEM_TYPE,
  problem,
  type Problem,
  type ProblemCode,
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
  if (answer.status >= 500) request.failure = error;
  if (answer.status === 503) reply.header('retry-after', RETRY_AFTER_S);
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
  return problem('internal', 'the request could not be served; the log of runwatch tells why');
}
