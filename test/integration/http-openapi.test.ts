import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startServer, type TestServer } from '../support/http-server.ts';

interface Operation {
  operationId: string;
  summary: string;
  description?: string;
  tags: string[];
  security?: unknown[];
  requestBody?: { required: boolean };
  responses: Record<string, { description: string; content?: Record<string, { schema: object }> }>;
}

interface Document {
  openapi: string;
  info: { version: string };
  tags: { name: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
}

const ROUTES = [
  'GET /livez',
  'GET /readyz',
  'GET /metrics',
  'POST /v1/watches',
  'POST /v1/watches/batch',
  'GET /v1/watches',
  'GET /v1/watches/{run_id}',
  'DELETE /v1/watches/{run_id}',
  'POST /v1/watches/{run_id}/poll',
  'GET /v1/events',
  'GET /v1/events/stream',
  'GET /v1/deliveries',
  'GET /v1/deliveries/{id}',
  'POST /v1/deliveries/{id}/redeliver',
  'POST /v1/deliveries/redeliver',
  'GET /v1/endpoints',
  'POST /v1/endpoints/{name}/test',
  'POST /v1/endpoints/{name}/pause',
  'POST /v1/endpoints/{name}/resume',
  'POST /v1/endpoints/{name}/enable',
  'POST /v1/endpoints/{name}/rotate',
  'GET /v1/polling',
];

let server: TestServer;
let document: Document;
let operations: { route: string; operation: Operation }[];

beforeAll(async () => {
  server = await startServer();
  document = (await (await server.fetch('/openapi.json')).json()) as Document;
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      route: `${method.toUpperCase()} ${path}`,
      operation,
    })),
  );
});

afterAll(() => server.close());

describe('the OpenAPI document', () => {
  it('lists exactly the routes of the API', () => {
    expect(document).toMatchObject({ openapi: '3.1.0', info: { version: '1.2.3' } });
    expect(operations.map(({ route }) => route).sort()).toEqual([...ROUTES].sort());
  });

  it('gives each operation a name of its own, a summary and a known tag', () => {
    const names = operations.map(({ operation }) => operation.operationId);
    expect(new Set(names).size).toBe(names.length);
    const tags = document.tags.map(({ name }) => name);
    for (const { operation } of operations) {
      expect(operation.summary).toBeTruthy();
      expect(tags).toEqual(expect.arrayContaining(operation.tags));
    }
  });

  it('describes each answer, and each refusal as a problem document', () => {
    for (const { operation } of operations) {
      for (const [status, { description, content }] of Object.entries(operation.responses)) {
        expect(description).not.toBe('Default Response');
        const isProblem = Number(status) >= 400 && operation.operationId !== 'readyz';
        if (isProblem) expect(Object.keys(content ?? {})).toEqual(['application/problem+json']);
      }
    }
  });

  it('asks for a token everywhere but for health', () => {
    const open = operations.filter(({ operation }) => operation.security?.length === 0);
    expect(open.map(({ route }) => route)).toEqual(['GET /livez', 'GET /readyz', 'GET /metrics']);
  });

  it('says of each call which scope it needs', () => {
    const scopes = Object.fromEntries(
      operations.map(({ route, operation }) => [route, operation.security]),
    );
    expect(scopes).toMatchObject({
      'GET /v1/watches': [{ token: ['read'] }],
      'POST /v1/watches': [{ token: ['write'] }],
      'DELETE /v1/watches/{run_id}': [{ token: ['write'] }],
      'POST /v1/endpoints/{name}/rotate': [{ token: ['admin'] }],
    });
    for (const { operation } of operations.filter(
      ({ operation: { security } }) => security?.length,
    )) {
      expect(operation.description).toMatch(/Needs a token with the scope `(read|write|admin)`\.$/);
    }
  });

  it('refers to nothing that it does not hold, and holds nothing that it does not refer to', () => {
    const text = JSON.stringify(document);
    const referred = new Set(
      [...text.matchAll(/#\/components\/schemas\/(\w+)/g)].map(([, name]) => name),
    );
    expect(referred).toEqual(new Set(Object.keys(document.components.schemas)));
  });

  it('tells which bodies may be left out', () => {
    const optional = operations.filter(
      ({ operation }) => operation.requestBody?.required === false,
    );
    expect(optional.map(({ route }) => route)).toEqual(['POST /v1/endpoints/{name}/rotate']);
  });

  it('shows examples of a registration and of a problem', () => {
    expect(document.components.schemas).toMatchObject({
      WatchRequestInput: { examples: [{ run_id: expect.any(String) }] },
      Problem: { examples: [{ code: 'invalid_request' }] },
    });
  });

  it('is shown at /docs, whose page loads nothing from elsewhere', async () => {
    const page = await server.fetch('/docs');
    expect(await page.text()).toContain('swagger-ui');
    const policy = page.headers.get('content-security-policy');
    expect(policy).toContain("default-src 'self'");
    expect(policy).not.toContain('upgrade-insecure-requests');
  });
});
