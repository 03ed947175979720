import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Entries } from './entry.ts';
import { type JsonSchema, SchemaEntries } from './schema.ts';

interface Content {
  schema?: JsonSchema;
}

interface Parameter {
  in: string;
  name: string;
  required?: boolean;
  schema: JsonSchema;
}

interface Operation {
  security?: Record<string, string[]>[];
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Record<string, Content> };
  responses: Record<
    string,
    { content?: Record<string, Content>; headers?: Record<string, { schema: JsonSchema }> }
  >;
}

interface ApiDocument {
  paths: Record<string, Record<string, Operation>>;
  webhooks: Record<string, { post: Operation }>;
  components: { schemas: Record<string, JsonSchema> };
}

/** What requests to the API take. */
export async function apiRequests(root: string): Promise<Entries> {
  const document = await readDocument(root);
  const found = new SchemaEntries(document.components.schemas);
  for (const [route, operation] of operationsOf(document)) {
    found.add(route, { type: scopesOf(operation) }, false);
    for (const parameter of operation.parameters ?? []) addParameter(found, route, parameter);
    const { required = false, content = {} } = operation.requestBody ?? {};
    for (const { schema = {} } of Object.values(content))
      found.add(`${route} body`, schema, required);
  }
  return found.entries;
}

function scopesOf({ security = [] }: Operation): string[] {
  const scopes = security.flatMap(({ token = [] }) => token);
  return scopes.length === 0 ? ['open'] : scopes;
}

/** A route is not found without the parts of its path, so that they count as optional. */
function addParameter(found: SchemaEntries, route: string, parameter: Parameter): void {
  const { in: place, name, required = false, schema } = parameter;
  const label = place === 'query' ? `?${name}` : `${place} ${name}`;
  found.add(`${route} ${label}`, schema, required && place !== 'path');
}

/** What the API answers. */
export async function apiAnswers(root: string): Promise<Entries> {
  const document = await readDocument(root);
  const found = new SchemaEntries(document.components.schemas);
  for (const [route, { responses }] of operationsOf(document)) {
    found.add(route, { type: 'route' }, false);
    for (const [code, { content = {}, headers = {} }] of Object.entries(responses)) {
      found.add(`${route} ${code}`, { type: 'answer' }, false);
      for (const [media, { schema = {} }] of Object.entries(content))
        found.add(`${route} ${code} ${media}`, schema, true);
      for (const [name, { schema }] of Object.entries(headers))
        found.add(`${route} ${code} header ${name}`, schema, false);
    }
  }
  return found.entries;
}

/** What webhooks send: types of events, their bodies and headers. */
export async function events(root: string): Promise<Entries> {
  const { webhooks, components } = await readDocument(root);
  const found = new SchemaEntries(components.schemas);
  for (const [type, { post }] of Object.entries(webhooks)) {
    found.add(type, { type: 'event' }, false);
    for (const { name, schema } of post.parameters ?? [])
      found.add(`${type} header ${name}`, schema, true);
    for (const [media, { schema = {} }] of Object.entries(post.requestBody?.content ?? {}))
      found.add(`${type} ${media}`, schema, true);
  }
  return found.entries;
}

async function readDocument(root: string): Promise<ApiDocument> {
  const text = await readFile(join(root, 'test/goldens/openapi.json'), 'utf8');
  return JSON.parse(text) as ApiDocument;
}

function* operationsOf({ paths }: ApiDocument): Generator<[string, Operation]> {
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods))
      yield [`${method.toUpperCase()} ${path}`, operation];
  }
}
