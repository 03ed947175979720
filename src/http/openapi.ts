import { fastifySwagger } from '@fastify/swagger';
import { fastifySwaggerUi } from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';

interface Operation {
  requestBody?: { required: boolean; content: Record<string, { schema?: { default?: unknown } }> };
}

interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, { examples?: unknown[] }> };
}

const DESCRIPTION = `Watches runs of the Noxus AI platform and tells people and systems when one
completes, fails, stops or waits for a human.

Times are ISO 8601 UTC with milliseconds. Durations are strings such as \`250ms\`, \`10s\`, \`5m\`,
\`2h\`, \`7d\`. Cursors are opaque. Errors are problem documents (RFC 9457) with a stable \`code\`.`;

/** Collects the routes that are registered after it, and shows them at `/openapi.json` and `/docs`. */
export const openapi = fastifyPlugin<{ version: string }>(async (app, { version }) => {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'runwatch',
        description: DESCRIPTION,
        version,
        license: { name: 'MIT', identifier: 'MIT' } as { name: string },
      },
      servers: [{ url: '/' }],
      security: [{ token: [] }],
      tags: [
        { name: 'Watches', description: 'The interest in runs.' },
        { name: 'Events', description: 'Changes that were observed.' },
        { name: 'Deliveries', description: 'Events on their way to those who are told.' },
        { name: 'Endpoints', description: 'Configured receivers.' },
        { name: 'Polling', description: 'How long runs take, and how well they are polled.' },
        { name: 'Health', description: 'What machines ask about this process.' },
      ],
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description:
              'A configured token. Each operation names the scope that it needs: `read`, `write` or `admin`, of which none implies another. A server without tokens needs none.',
          },
        },
      },
    },
    transform: jsonSchemaTransform,
    transformObject,
  });
  await app.register(fastifySwaggerUi, {
    routePrefix: '/docs',
    theme: { title: 'runwatch API' },
    staticCSP: {
      'default-src': "'self'",
      'base-uri': "'none'",
      'frame-ancestors': "'none'",
      'img-src': ["'self'", 'data:'],
      'object-src': "'none'",
      'style-src': ["'self'", "'unsafe-inline'"],
    },
  });
  serveDocument(app);
});

/** It never changes, so its text is made once. */
function serveDocument(app: FastifyInstance): void {
  let text: string | null = null;
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    text ??= JSON.stringify(app.swagger());
    return reply.type('application/json; charset=utf-8').send(text);
  });
}

/** Zod leaves the examples out of inputs that are transformed; those of the output form are the same. */
function withExamples(schemas: Document['components']['schemas'], id: string): object {
  const examples = schemas[id.replace(/Input$/, '')]?.examples;
  return { ...schemas[id], ...(examples !== undefined && { examples }) };
}

/** A body whose schema has a default may be left out; the plugin holds that every body is required. */
function relaxBodies(paths: Document['paths']): void {
  for (const { requestBody } of Object.values(paths).flatMap((path) => Object.values(path))) {
    const media = requestBody?.content['application/json'];
    if (requestBody !== undefined && media?.schema?.default !== undefined) {
      requestBody.required = false;
    }
  }
}

/** Each named schema exists as input and as output; only those that some route refers to stay. */
const transformObject: typeof jsonSchemaTransformObject = (source) => {
  const transformed = jsonSchemaTransformObject(source);
  const document = transformed as Document;
  const { schemas } = document.components;
  relaxBodies(document.paths);
  const used = new Set<string>();
  const visit = (value: unknown): void => {
    for (const [, id = ''] of JSON.stringify(value).matchAll(/#\/components\/schemas\/(\w+)/g)) {
      if (used.has(id)) continue;
      used.add(id);
      visit(schemas[id] ?? {});
    }
  };
  visit(document.paths);
  document.components.schemas = Object.fromEntries(
    [...used].map((id) => [id, withExamples(schemas, id)]),
  );
  return transformed;
};
