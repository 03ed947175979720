// A receiver in Node without packages: verifies, drops repeats, answers before it works.
//   RUNWATCH_WEBHOOK_SECRET=whsec_… node node-http.mjs
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';

const SECRETS = (process.env.RUNWATCH_WEBHOOK_SECRET ?? '').split(' ').filter(Boolean);
const MAX_AGE_S = 300;
/** Ids that were handled. Keep them where they survive a restart if a repeat would do harm. */
const handled = new Set();

/** Source: Standard Webhooks, "Verifying webhook authenticity". */
function isAuthentic(headers, body) {
  const id = headers['webhook-id'];
  const timestamp = headers['webhook-timestamp'];
  if (!(Math.abs(Date.now() / 1_000 - Number(timestamp)) <= MAX_AGE_S)) return false;
  const given = String(headers['webhook-signature']).split(' ');
  return SECRETS.some((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    const signed = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body);
    const expected = Buffer.from(`v1,${signed.digest('base64')}`);
    return given.some((one) => {
      const found = Buffer.from(one);
      return found.length === expected.length && timingSafeEqual(found, expected);
    });
  });
}

function handle(event) {
  console.log(event.type, event.data.run_id ?? '', event.data.run?.status ?? '');
}

const server = createServer(async (request, response) => {
  if (request.method !== 'POST') return void response.writeHead(405).end();
  const body = await buffer(request);
  if (!isAuthentic(request.headers, body)) return void response.writeHead(401).end();
  const event = JSON.parse(body.toString());
  // Answer first: what takes longer than the timeout is sent again.
  response.writeHead(204).end();
  if (handled.has(event.id)) return;
  handled.add(event.id);
  if (handled.size > 10_000) handled.delete(handled.values().next().value);
  handle(event);
});

server.listen(Number(process.env.PORT ?? 8788), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
