// A receiver with express and the official library: npm install express standardwebhooks
//   RUNWATCH_WEBHOOK_SECRET=whsec_… node node-express.mjs
import express from 'express';
import { Webhook } from 'standardwebhooks';

const secrets = (process.env.RUNWATCH_WEBHOOK_SECRET ?? '').split(' ').filter(Boolean);
const webhooks = secrets.map((secret) => new Webhook(secret));
/** Ids that were handled. Keep them where they survive a restart if a repeat would do harm. */
const handled = new Set();
const app = express();

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

// The signature is that of the bytes: they must not be parsed and written again.
app.post('/', express.raw({ type: 'application/json', limit: '1mb' }), (request, response) => {
  const event = verified(request);
  if (event === null) return void response.sendStatus(401);
  // Answer first: what takes longer than the timeout is sent again.
  response.sendStatus(204);
  if (handled.has(event.id)) return;
  handled.add(event.id);
  if (handled.size > 10_000) handled.delete(handled.values().next().value);
  console.log(event.type, event.data.run_id ?? '');
});

const server = app.listen(Number(process.env.PORT ?? 8788), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
