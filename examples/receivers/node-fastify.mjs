// A receiver with fastify and the official library: npm install fastify standardwebhooks
//   RUNWATCH_WEBHOOK_SECRET=whsec_… node node-fastify.mjs
import { fastify } from 'fastify';
import { Webhook } from 'standardwebhooks';

const secrets = (process.env.RUNWATCH_WEBHOOK_SECRET ?? '').split(' ').filter(Boolean);
const webhooks = secrets.map((secret) => new Webhook(secret));
/** Ids that were handled. Keep them where they survive a restart if a repeat would do harm. */
const handled = new Set();
const app = fastify();

// The signature is that of the bytes: they must not be parsed and written again.
app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_, body, done) => {
  done(null, body);
});

/** The event of a request; null where no secret signed it. */
function verified(request) {
  for (const webhook of webhooks) {
    try {
      return webhook.verify(request.body, request.headers);
    } catch {
      // Another secret may have signed it.
    }
  }
  return null;
}

app.post('/', async (request, reply) => {
  const event = verified(request);
  if (event === null) return reply.code(401).send();
  if (!handled.has(event.id)) {
    handled.add(event.id);
    if (handled.size > 10_000) handled.delete(handled.values().next().value);
    // Not awaited: answer first.
    setImmediate(() => console.log(event.type, event.data.run_id ?? ''));
  }
  return reply.code(204).send();
});

console.log(await app.listen({ port: Number(process.env.PORT ?? 8788) }));
