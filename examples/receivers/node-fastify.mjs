// A receiver with fastify and the official library: npm install fastify standardwebhooks
//   RUNWATCH_WEBHOOK_SECRET=whsec_… node node-fastify.mjs
import { fastify } from 'fastify';
import { Webhook } from 'standardwebhooks';

const webhook = new Webhook(process.env.RUNWATCH_WEBHOOK_SECRET ?? '');
const handled = new Set();
const app = fastify();

// The signature is that of the bytes: they must not be parsed and written again.
app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_, body, done) => {
  done(null, body);
});

app.post('/', async (request, reply) => {
  let event;
  try {
    event = webhook.verify(request.body, request.headers);
  } catch {
    return reply.code(401).send();
  }
  if (!handled.has(event.id)) {
    handled.add(event.id);
    if (handled.size > 10_000) handled.delete(handled.values().next().value);
    // Not awaited: answer first.
    setImmediate(() => console.log(event.type, event.data.run_id ?? ''));
  }
  return reply.code(204).send();
});

console.log(await app.listen({ port: Number(process.env.PORT ?? 8788) }));
