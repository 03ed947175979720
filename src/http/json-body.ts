import type { FastifyRequest } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { z } from 'zod';
import type { InputIssue } from '../core/errors.ts';
import { parse } from './errors.ts';
import { InvalidRequest, refusal } from './problem.ts';

/**
 * Bodies are JSON and nothing else. Where one is asked for, there must be one, unless its schema has
 * a default: then none stands for an empty object. An empty body is none, whatever its type. Where none
 * is asked for, one with fields is refused, as a field of a query is that the route does not know.
 */
export const jsonBody = fastifyPlugin((app, _options, done) => {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<string>(
    'application/json',
    { parseAs: 'string' },
    async ({ headers }: FastifyRequest, body: string) => {
      if (body === '') return undefined;
      const encoding = headers['content-encoding'] ?? 'identity';
      if (encoding === 'identity') return parseJson(body);
      throw refusal('unsupported_media_type', 'send the body without content-encoding');
    },
  );
  app.addContentTypeParser('*', (_request, payload, finish) => {
    payload.once('end', () => finish(null));
    payload.once('data', () => {
      payload.pause();
      finish(refusal('unsupported_media_type', NOT_JSON));
    });
  });
  app.addHook('preValidation', async (request) => {
    refuseUnasked(request);
    const schema = request.routeOptions.schema?.body as z.ZodType | undefined;
    if (request.body !== undefined || schema === undefined) return;
    if (!schema.safeParse(undefined).success) {
      throw refusal('empty_body', 'send a JSON object as the body');
    }
    request.body = {};
  });
  done();
});

const NOTHING = z.strictObject({});

/** Refuses fields of a query or body for which a route of the API has no schema. */
function refuseUnasked({ routeOptions, query, body }: FastifyRequest): void {
  const { schema = {}, url = '' } = routeOptions;
  if (!url.startsWith('/v1/')) return;
  const issues = [
    ...(schema.querystring === undefined ? issuesOf(query, 'query') : []),
    ...(schema.body === undefined && body !== undefined ? issuesOf(body, null) : []),
  ];
  if (issues.length > 0) throw new InvalidRequest(issues);
}

function issuesOf(value: unknown, prefix: string | null): InputIssue[] {
  const parsed = parse(NOTHING, value, prefix);
  return parsed.ok ? [] : parsed.issues;
}

function parseJson(text: string): unknown {
  const value = parseText(text);
  refuseDeep(text);
  // An escape may spell the name as well.
  if (text.includes('__proto__') || text.includes('\\u')) refusePrototypes(value);
  return value;
}

function parseText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw refusal('malformed_json', 'the body is not valid JSON');
  }
}

/** Levels of objects and lists in a body; no schema has more than half as many. */
const MOST_LEVELS = 32;

/**
 * Refuses JSON that nests deeper than that, since most of what handles a value goes down it by calls of
 * itself. Takes time that is linear in the length of the text, which is valid JSON.
 */
function refuseDeep(text: string): void {
  let level = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') isInString = !isInString;
    else if (isInString) at += character === '\\' ? 1 : 0;
    else if (character === '{' || character === '[') level += 1;
    else if (character === '}' || character === ']') level -= 1;
    if (level <= MOST_LEVELS) continue;
    const message = `expected at most ${MOST_LEVELS} levels of objects and lists`;
    throw new InvalidRequest([{ path: '', message }]);
  }
}

/** Copied field by field, such a field would become the prototype of the copy. */
function refusePrototypes(root: unknown): void {
  const open: { value: unknown; path: string }[] = [{ value: root, path: '' }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, path } = next;
    if (typeof value !== 'object' || value === null) continue;
    for (const [name, inner] of Object.entries(value)) {
      const at = path === '' ? name : `${path}.${name}`;
      if (name === '__proto__') {
        throw new InvalidRequest([{ path: at.slice(-MAX_PATH_LENGTH), message: FORBIDDEN_NAME }]);
      }
      open.push({ value: inner, path: at.slice(-MAX_PATH_LENGTH) });
    }
  }
}

const NOT_JSON = 'send the body as content-type: application/json';

/** Longest path that is said: names come from the client. */
const MAX_PATH_LENGTH = 200;

const FORBIDDEN_NAME = 'no field may have the name __proto__';
