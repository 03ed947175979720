import { fastifyPlugin } from 'fastify-plugin';
import type { z } from 'zod';
import { refusal } from './problem.ts';

/**
 * Bodies are JSON and nothing else. Where one is asked for, there must be one, unless its schema has
 * a default: then none stands for an empty object.
 */
export const jsonBody = fastifyPlugin((app, _options, done) => {
  app.removeAllContentTypeParsers();
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser<string>(
    'application/json',
    { parseAs: 'string' },
    (request, body, finish) => {
      // Clients send the header with requests that have no body; whether that is wrong, the route knows.
      if (body === '') finish(null, undefined);
      else void parseJson(request, body, finish);
    },
  );
  app.addHook('preValidation', async (request) => {
    const schema = request.routeOptions.schema?.body as z.ZodType | undefined;
    if (request.body !== undefined || schema === undefined) return;
    if (!schema.safeParse(undefined).success) {
      throw refusal('empty_body', 'send a JSON object as the body');
    }
    request.body = {};
  });
  done();
});
