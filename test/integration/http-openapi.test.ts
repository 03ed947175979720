import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  ALERT_EVENT_TYPES,
  BATCH_EVENT_TYPES,
  EVENT_TYPES,
  SYSTEM_EVENT_TYPES,
  TEST_EVENT_TYPE,
} from '../../src/core/event/event.ts';
import { startServer, type TestServer } from '../support/http-server.ts';
import { ROUTES } from '../support/routes.ts';

type Schema = Record<string, unknown> & { properties?: Record<string, Schema> };

interface Answer {
  description: string;
  headers?: Record<string, object>;
  content?: Record<string, { schema: object }>;
}

interface Operation {
  operationId: string;
  summary: string;
  description?: string;
  tags: string[];
  security?: unknown[];
  requestBody?: { required: boolean };
  responses: Record<string, Answer>;
}

interface Document {
  openapi: string;
  info: { version: string };
  servers: { url: string }[];
  tags: { name: string }[];
  paths: Record<string, Record<string, Operation>>;
  webhooks: Record<string, { post: { parameters: { name: string }[] } & Operation }>;
  components: { schemas: Record<string, Schema> };
}

const OPEN = ['GET /livez', 'GET /readyz', 'GET /metrics'];

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
  it('the OpenAPI document lists exactly the routes of the API', () => {
    expect(document).toMatchObject({ openapi: '3.1.0', info: { version: '1.2.3' } });
    const all = [...OPEN, ...ROUTES.map(({ route }) => route)];
    expect(operations.map(({ route }) => route).sort()).toEqual(all.sort());
  });

  it('each OpenAPI operation has a name of its own, a summary and a known tag', () => {
    const names = operations.map(({ operation }) => operation.operationId);
    expect(new Set(names).size).toBe(names.length);
    const tags = document.tags.map(({ name }) => name);
    for (const { operation } of operations) {
      expect(operation.summary).toBeTruthy();
      expect(tags).toEqual(expect.arrayContaining(operation.tags));
    }
  });

  it('the OpenAPI document describes each answer and each refusal', () => {
    for (const { operation } of operations) {
      for (const [status, { description, content }] of Object.entries(operation.responses)) {
        expect(description).not.toBe('Default Response');
        const isProblem = Number(status) >= 400 && operation.operationId !== 'readyz';
        if (!isProblem) continue;
        expect([status, Object.keys(content ?? {})]).toEqual([
          status,
          ['application/problem+json'],
        ]);
      }
    }
  });

  it('the OpenAPI document asks for a token everywhere but for health', () => {
    const open = operations.filter(({ operation }) => operation.security?.length === 0);
    expect(open.map(({ route }) => route)).toEqual(OPEN);
  });

  it('each OpenAPI operation names the scope that it needs', () => {
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

  it('the OpenAPI document has no dangling reference and no unused schema', () => {
    const text = JSON.stringify(document);
    const referred = new Set(
      [...text.matchAll(/#\/components\/schemas\/(\w+)/g)].map(([, name]) => name),
    );
    expect(referred).toEqual(new Set(Object.keys(document.components.schemas)));
  });

  it('the OpenAPI document reaches each schema from a path, since some generators keep no others', () => {
    const reached = new Set<string>();
    const visit = (value: unknown): void => {
      for (const [, name = ''] of JSON.stringify(value).matchAll(
        /#\/components\/schemas\/(\w+)/g,
      )) {
        if (reached.has(name)) continue;
        reached.add(name);
        visit(document.components.schemas[name]);
      }
    };
    visit(document.paths);
    const schemas = Object.keys(document.components.schemas);
    expect(schemas.filter((name) => !reached.has(name))).toEqual([]);
  });

  it('the OpenAPI document marks the bodies that may be left out', () => {
    const optional = operations.filter(
      ({ operation }) => operation.requestBody?.required === false,
    );
    expect(optional.map(({ route }) => route)).toEqual(['POST /v1/endpoints/{name}/rotate']);
  });

  it('the OpenAPI document has examples of a registration and of a problem', () => {
    expect(document.components.schemas).toMatchObject({
      WatchRequest: { examples: [{ run_id: expect.any(String) }] },
      Problem: { examples: [{ code: 'invalid_request' }] },
    });
  });

  it('the OpenAPI document passes the recommended rules of Redocly', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'runwatch-openapi-'));
    const path = join(folder, 'openapi.json');
    await writeFile(path, JSON.stringify(document));
    const require = createRequire(import.meta.url);
    const cli = require.resolve('@redocly/cli/bin/cli.js');
    const args = [cli, 'lint', path, '--extends=recommended', '--format=json'];
    const env = {
      ...process.env,
      REDOCLY_TELEMETRY: 'off',
      REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
    };
    const { stdout } = await promisify(execFile)(process.execPath, args, { env });
    await rm(folder, { recursive: true });
    expect(JSON.parse(stdout)).toMatchObject({ totals: { errors: 0, warnings: 0 } });
  });

  it('the OpenAPI document has a webhook for each event type, with a discriminator', () => {
    const types = [
      ...EVENT_TYPES,
      ...BATCH_EVENT_TYPES,
      ...SYSTEM_EVENT_TYPES,
      ...ALERT_EVENT_TYPES,
      TEST_EVENT_TYPE,
    ];
    expect(Object.keys(document.webhooks).sort()).toEqual([...types].sort());
    for (const [type, { post }] of Object.entries(document.webhooks)) {
      const text = JSON.stringify(post);
      const [, name = ''] = /schemas\/(\w+Event)"/.exec(text) ?? [];
      expect(document.components.schemas[name]?.properties?.['type']).toMatchObject({
        const: type,
      });
      expect(text).toContain('#/components/schemas/CloudEvent');
      expect(post.parameters.map((parameter) => parameter.name)).toEqual([
        'webhook-id',
        'webhook-timestamp',
        'webhook-signature',
      ]);
    }
  });

  it('the OpenAPI document gives each whole number 64 bits, and each schema one type or null', () => {
    const numbers: string[] = [];
    const several: string[] = [];
    const visit = (value: unknown, path: string): void => {
      if (typeof value !== 'object' || value === null) return;
      const { type, format } = value as { type?: unknown; format?: unknown };
      const types = new Set([type].flat());
      if (types.has('integer')) expect([path, format]).toEqual([path, 'int64']);
      if (types.has('number')) numbers.push(path);
      if (types.size > 1 && !types.has('null')) several.push(path);
      for (const [key, item] of Object.entries(value)) visit(item, `${path}.${key}`);
    };
    visit(document, '');
    const shares =
      /\.(requests|requests_per_run|failure_rate|rate|percentile|times)(\.anyOf\.\d+)?$/;
    // Ranges of a time interval may be one number or a text of two.
    const ranges =
      /\.time_intervals\..*\.(weekdays|days_of_month|months|years)\.items\.anyOf\.\d+$/;
    expect(numbers.filter((path) => !shares.test(path) && !ranges.test(path))).toEqual([]);
    expect(several).toEqual([]);
  });

  it('the union of events in the OpenAPI document has a discriminator', () => {
    const { Event } = document.components.schemas;
    expect(Event?.['discriminator']).toMatchObject({
      propertyName: 'type',
      mapping: { 'run.failed': '#/components/schemas/RunFailedEvent' },
    });
  });

  it('the OpenAPI document names each enumeration and each page once', () => {
    const names = Object.keys(document.components.schemas);
    expect(names.filter((name) => name.endsWith('Input'))).toEqual([]);
    const enums =
      'WatchState DeliveryState EventTypePattern EndpointState Profile ProblemCode'.split(' ');
    const pages = 'WatchPage EventPage DeliveryPage WorkflowPollingPage EndpointList'.split(' ');
    expect(names).toEqual(expect.arrayContaining([...enums, ...pages]));
    const sets: string[] = JSON.stringify(document).match(/"enum":\[[^\]]*\]/g) ?? [];
    const repeated = sets.filter((set, at) => set.includes(',') && sets.indexOf(set) < at);
    expect(repeated).toEqual([]);
    expect(sets.length).toBeGreaterThan(5);
  });

  it('the OpenAPI document says which registrations are refused', () => {
    const { WatchRequest, WebhookRequest } = document.components.schemas;
    expect(WatchRequest?.properties).toMatchObject({
      timeout: { type: 'string', pattern: expect.stringContaining('(ms|s|m|h|d)') },
      endpoints: { type: 'array', maxItems: 50 },
      metadata: { maxProperties: 32 },
      source: { pattern: '^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$' },
    });
    expect(WebhookRequest?.properties).toMatchObject({
      url: { maxLength: 2_048, pattern: expect.any(String) },
      secret: { pattern: expect.stringMatching(/^\^whsec_/) },
      headers: { maxProperties: 20, propertyNames: { pattern: expect.any(String) } },
    });
    expect(document.components.schemas['EventPattern']?.['enum']).toContain('run.*');
  });

  it('the OpenAPI document lists the headers of answers, and refusals before any route', () => {
    for (const { route, operation } of operations) {
      const { responses } = operation;
      const early = ['400', '408', '431', ...(route.startsWith('GET') ? [] : ['413', '415'])];
      expect([route, Object.keys(responses)]).toEqual([route, expect.arrayContaining(early)]);
      if (responses['401'] !== undefined) {
        expect(responses['401'].headers).toHaveProperty('WWW-Authenticate');
      }
      const busy = responses['503'];
      if (busy?.content?.['application/problem+json'] !== undefined) {
        expect(busy.headers).toHaveProperty('Retry-After');
      }
    }
    const register = operations.find(({ route }) => route === 'POST /v1/watches');
    expect(register?.operation.responses['201']?.headers).toHaveProperty('Location');
  });

  it.each([
    ['https://runwatch.example.com', 'https://runwatch.example.com'],
    ['https://example.com/runwatch/', 'https://example.com/runwatch'],
    [undefined, '/'],
  ])('the OpenAPI document names the server by its public URL: %s', async (publicUrl, named) => {
    const reached = await startServer({ publicUrl });
    const { servers } = (await (await reached.fetch('/openapi.json')).json()) as Document;
    await reached.close();
    expect(servers).toEqual([{ url: named }]);
  });

  it('the page /docs loads nothing from other hosts', async () => {
    const page = await server.fetch('/docs');
    expect(await page.text()).toContain('swagger-ui');
    const policy = page.headers.get('content-security-policy');
    expect(policy).toContain("default-src 'self'");
    expect(policy).not.toContain('upgrade-insecure-requests');
  });
});
