import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema } from 'fastify';
import { z } from 'zod';
import type { TokenConfig } from '../config/schema.ts';
import { percentDecoded } from '../core/percent-encoding.ts';
import { idLists, problemAnswer } from './schemas/common.ts';
import {
  routes,
  type Answer,
  type Body,
  type Checked,
  type Route,
  type Routes,
} from './schemas/routes.ts';
import { EVENT_STREAM_TYPE } from './sse.ts';

/** A checked request, with its token; null where none was needed. */
type Asked<R extends Route> = Checked<R> & { token: TokenConfig | null };

/** The requests of the routes of a slice, by name. */
export type Requests<Own extends Record<string, Route>> = { [Name in keyof Own]: Asked<Own[Name]> };

/** What sets the status of an answer, of a route that has several. */
export type Status = Pick<FastifyReply, 'code'>;

/** What answers the routes of one resource: a method for each. */
export type Slice<Own extends Record<string, Route>> = {
  [Name in keyof Own]: (
    request: FastifyRequest & Asked<Own[Name]>,
    reply: FastifyReply,
  ) => Promise<Answer<Own[Name]>>;
};

export type Slices = { [Name in keyof Routes]: Slice<Routes[Name]> };

/** Adds every route of the table, with the method of its slice that answers it. */
export function addRoutes(app: FastifyInstance, slices: Slices): void {
  for (const [name, own] of Object.entries(routes)) {
    const slice = slices[name as keyof Slices] as unknown as Record<string, Handler>;
    for (const [method, route] of Object.entries<Route>(own)) {
      addRoute(app, route, async (request, reply) => slice[method]?.(request, reply));
    }
  }
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;

function addRoute(app: FastifyInstance, route: Route, answer: Handler): void {
  const [method = '', path = ''] = route.route.split(' ');
  const [status = 200] = Object.keys(route.answers).map(Number);
  const lists = idListsOf(route);
  app.route({
    method,
    url: path.replace(/^\/v1/, '').replaceAll(/\{(\w+)\}/g, ':$1'),
    schema: schemaOf(route),
    config: route,
    preValidation: [
      ...(hasMetadata(route) ? [gatherMetadata] : []),
      ...(lists.length === 0 ? [] : [splittingLists(lists)]),
    ],
    // A HEAD request for an endless answer would only hold a connection.
    exposeHeadRoute: route.answers[200]?.[2] !== EVENT_STREAM_TYPE,
    // Of several, the slice sets the one that it is.
    handler: (request, reply) => answer(request, reply.code(status)),
  });
}

function hasMetadata({ query }: Route): boolean {
  return query instanceof z.ZodObject && 'metadata' in query.shape;
}

/** A query names each entry of metadata by a field of its own, `metadata.<key>`. */
async function gatherMetadata(request: { query: unknown }): Promise<void> {
  const fields = Object.entries(request.query as Record<string, unknown>);
  const others = fields.filter(([name]) => !name.startsWith(METADATA));
  if (others.length === fields.length) return;
  const entries = fields
    .filter(([name]) => name.startsWith(METADATA))
    .map(([name, value]) => [name.slice(METADATA.length), value]);
  request.query = { ...Object.fromEntries(others), metadata: Object.fromEntries(entries) };
}

const METADATA = 'metadata.';

/** The fields of a query that are lists of ids, by {@link severalIds}. */
function idListsOf({ query }: Route): string[] {
  if (!(query instanceof z.ZodObject)) return [];
  return Object.entries(query.shape).flatMap(([name, field]) => {
    const inner = field instanceof z.ZodExactOptional ? field.unwrap() : field;
    return idLists.has(inner) ? [name] : [];
  });
}

/** Splits lists of ids as they came: once they are decoded, a comma within an id separates, too. */
function splittingLists(names: readonly string[]) {
  return async (request: FastifyRequest): Promise<void> => {
    const query = request.query as Record<string, unknown>;
    const given = names.filter((name) => query[name] !== undefined);
    if (given.length === 0) return;
    const fields = request.url.slice(request.url.indexOf('?') + 1).split('&');
    const pairs = fields.map((field): [name: string, text: string] => {
      const [, name = '', text = ''] = /^([^=]*)=?(.*)$/s.exec(field) ?? [];
      return [decodedField(name), text];
    });
    const lists = given.map((name): [string, string[]] => [
      name,
      pairs.flatMap(([one, text]) => (one === name ? text.split(',').map(decodedField) : [])),
    ]);
    request.query = { ...query, ...Object.fromEntries(lists) };
  };
}

/** A part of a query, as forms encode it; what cannot be decoded is left as it is. */
function decodedField(text: string): string {
  const spaced = text.replaceAll('+', ' ');
  return percentDecoded(spaced) ?? spaced;
}

/** The refusals that every route of the API may answer with. */
const COMMON_PROBLEMS = {
  401: problemAnswer('No token, or one that is not known.'),
  403: problemAnswer('The token lacks the scope, or the host name or web page is not allowed.'),
  422: problemAnswer('The request does not have the form that is described here.'),
  500: problemAnswer('Something went wrong in runwatch.'),
  503: problemAnswer('Redis cannot be reached; `Retry-After` says when to try again.'),
};

/** The refusals of routes that read a body. */
const BODY_PROBLEMS = {
  400: problemAnswer('The body is missing, or is not JSON.'),
  413: problemAnswer('The body has more than 1 MiB.'),
  415: problemAnswer('The body is not sent as JSON.'),
};

/** The schema of a route as Fastify checks it, and as the document of the API is made of it. */
function schemaOf(route: Route): FastifySchema {
  const { tag, id, summary, description, params, query, headers, body, answers } = route;
  const response = Object.entries<Body | string>(answers as Record<string, Body | string>).map(
    ([status, answer]) => [status, describe(Number(status), answer)],
  );
  return {
    tags: [tag],
    operationId: id,
    summary,
    ...(description !== undefined && { description }),
    ...(params !== undefined && { params }),
    ...(query !== undefined && { querystring: query }),
    ...(headers !== undefined && { headers }),
    ...(body !== undefined && { body }),
    response: {
      ...(body !== undefined && BODY_PROBLEMS),
      ...COMMON_PROBLEMS,
      ...(Object.fromEntries(response) as object),
    },
  };
}

function describe(status: number, answer: Body | string) {
  if (typeof answer === 'string') {
    return status === 204 ? z.undefined().describe(answer) : problemAnswer(answer);
  }
  const [description, schema, type = 'application/json'] = answer;
  return { description, content: { [type]: { schema } } };
}
