import { fastifyPlugin } from 'fastify-plugin';
import { refusal } from './problem.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** True once a handler that may change something has begun. */
    mayHaveChanged: boolean;
  }
}

/**
 * Refuses what would change something while the store is away, so that it is known that nothing was
 * changed. Where the store goes away later, that is not known. Register it
 * after all hooks that may refuse.
 */
export const unreachableStore = fastifyPlugin<{ isReady: () => boolean }>(
  (app, { isReady }, done) => {
    app.decorateRequest('mayHaveChanged', false);
    app.addHook('preHandler', async (request) => {
      if (request.method === 'GET' || request.method === 'HEAD') return;
      if (!isReady()) throw refusal('redis_unavailable', 'Redis cannot be reached');
      request.mayHaveChanged = true;
    });
    done();
  },
);
