import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { closeWhole } from './node-server.ts';
import { PROBLEM_TYPE, problem, type Problem } from './problem.ts';

/**
 * Answers what is not HTTP, or comes too slowly, or has headers beyond Node's limit: there is no
 * request yet, so the answer is written to the socket itself, and the connection closed.
 */
export function answerClientError(error: { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed || socket.writableEnded) return;
  if (socket.writable) closeWhole(socket, responseText(problemOf(error.code)));
  else socket.destroy();
}

function problemOf(code: string | undefined): Problem {
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
