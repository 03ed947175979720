import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { z } from 'zod';
import { RunwatchError, type InputIssue } from '../core/errors.ts';
import { MAX_BODY_BYTES, readBody, type Answer } from './http-io.ts';

/** Reads and checks a body, then does what it asks for. */
export async function withInput<Input>(
  request: IncomingMessage,
  schemaFor: (value: unknown) => z.ZodType<Input>,
  use: (input: Input) => Answer,
): Promise<Answer> {
  // Browsers cannot send this to another site without asking first: no page can drive a simulator.
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    return failure(415, 'unsupported_media_type', 'expected content-type: application/json');
  }
  const body = await readBody(request);
  if (body.kind !== 'body') {
    const limit = `expected a body of at most ${MAX_BODY_BYTES} bytes`;
    return failure(413, 'body_too_large', limit);
  }
  const value = parseJson(body.bytes.toString());
  if (value === undefined) return failure(400, 'malformed_json', 'expected JSON');
  const parsed = schemaFor(value).safeParse(value);
  return parsed.success ? answerOf(() => use(parsed.data)) : invalidInput(parsed.error);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const STATUS_OF_CODE: Record<string, number> = { run_not_found: 404 };

/** Turns what the simulator refuses to do into an answer. */
export function answerOf(act: () => Answer): Answer {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof RunwatchError)) throw error;
    return failure(STATUS_OF_CODE[error.code] ?? 409, error.code, error.message);
  }
}

export function invalidInput(error: z.ZodError): Answer {
  const errors = error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
  return failure(422, 'invalid_input', 'the request is not as expected', errors);
}

/** Problem details (RFC 9457). */
export function failure(
  status: number,
  code: string,
  detail: string,
  errors?: InputIssue[],
): Answer {
  const title = STATUS_CODES[status] ?? 'Error';
  const document = { type: 'about:blank', title, status, detail, code, ...(errors && { errors }) };
  return {
    status,
    body: JSON.stringify(document),
    headers: {
      'content-type': 'application/problem+json',
      // What is left of a body that is too large will not be read.
      ...(status === 413 && { connection: 'close' }),
    },
  };
}

export function json(status: number, value: unknown): Answer {
  return { status, body: JSON.stringify(value) };
}
