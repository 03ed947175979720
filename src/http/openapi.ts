import { fastifySwagger } from '@fastify/swagger';
import { fastifySwaggerUi } from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { finishDocument, type ApiDocument } from './document.ts';

const DESCRIPTION = `Watches runs of the Noxus AI platform and tells people and systems when one
completes, fails, stops or waits for a human.

Times are ISO 8601 UTC with milliseconds. Durations are strings such as \`250ms\`, \`10s\`, \`5m\`,
\`2h\`, \`7d\`. Cursors are opaque. Errors are problem documents (RFC 9457) with a stable \`code\`.`;

interface OpenapiOptions {
  version: string;
  /** Where users reach the server; absent where the address of the document is as good. */
  publicUrl?: string | undefined;
}

/** Collects the routes that are registered after it, and shows them at `/openapi.json` and `/docs`. */
export const openapi = fastifyPlugin<OpenapiOptions>(async (app, { version, publicUrl }) => {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'runwatch',
        description: DESCRIPTION,
        version,
        license: { name: 'MIT', identifier: 'MIT' } as { name: string },
      },
      servers: [{ url: publicUrl?.replace(/\/$/, '') ?? '/' }],
      security: [{ token: [] }],
      tags: [
        { name: 'Watches', description: 'The interest in runs.' },
        { name: 'Events', description: 'Changes that were observed.' },
        { name: 'Deliveries', description: 'Events on their way to those who are told.' },
        { name: 'Endpoints', description: 'Configured receivers.' },
        { name: 'Processes', description: 'The daemons that share the work.' },
        { name: 'Polling', description: 'How long runs take, and how well they are polled.' },
        { name: 'Sources', description: 'Noxus workspaces, and whether they answer.' },
        { name: 'Webhooks', description: 'What runwatch sends to receivers.' },
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

const transformObject: typeof jsonSchemaTransformObject = (source) => {
  const transformed = jsonSchemaTransformObject(source);
  finishDocument(transformed as unknown as ApiDocument);
  return transformed;
};
