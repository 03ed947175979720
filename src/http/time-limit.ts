import type { FastifyReply, FastifyRequest } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { refusal } from './problem.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** From a request of this route to its answer, where it takes longer than others, ms. */
    limitMs?: number;
  }
}

/**
 * Answers each request within a limit: 408 where its body has not come, else 503. Streams are exempt
 * once they have begun. Fastify's `handlerTimeout` ends with the body of the request.
 */
export const deadline = fastifyPlugin<{ limitMs: number }>((app, { limitMs }, done) => {
  app.addHook('onRequest', async (request, reply) => {
    const timer = setTimeout(
      () => answerLate(request, reply),
      request.routeOptions.config.limitMs ?? limitMs,
    );
    reply.raw.once('close', () => clearTimeout(timer));
  });
  done();
});

function answerLate({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (reply.sent) return;
  void reply.send(
    raw.complete
      ? refusal('timeout', 'the answer took too long; try again')
      : refusal('request_timeout', 'the request was not complete in time'),
  );
}
