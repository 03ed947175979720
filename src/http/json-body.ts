import { fastifyPlugin } from 'fastify-plugin';
import { refusal } from './problem.ts';

/** Bodies are JSON and nothing else; where one is asked for, there must be one. */
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
    if (request.body === undefined && request.routeOptions.schema?.body !== undefined) {
      throw refusal('empty_body', 'send a JSON object as the body');
    }
  });
  done();
});
