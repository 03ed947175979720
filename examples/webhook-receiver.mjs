// Receives webhooks with nothing but Node: verifies each, drops repeats, and answers at once.
//
//   RUNWATCH_WEBHOOK_SECRET=whsec_... PORT=9000 node examples/webhook-receiver.mjs
//
// npm install ./runwatchd-*.tgz gives `runwatchd/webhook` with its types; `npm pack` writes that file.
import { createServer } from 'node:http';
import { isRunEvent, RunwatchError, verifyWebhook } from 'runwatchd/webhook';

const secret = process.env.RUNWATCH_WEBHOOK_SECRET ?? '';

/** Ids of the latest events; a service with several processes keeps them in its database. */
const seen = new Set();

const server = createServer(async (request, response) => {
  try {
    // The signature is over the bytes as they came: parsing them first would break it.
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const event = verifyWebhook(Buffer.concat(chunks), request.headers, secret);
    if (!seen.has(event.id)) {
      seen.add(event.id);
      if (seen.size > 10_000) seen.delete(seen.values().next().value);
      handle(event);
    }
    response.writeHead(204).end();
  } catch (error) {
    const isForged = error instanceof RunwatchError && error.code === 'webhook_not_verified';
    response.writeHead(isForged ? 401 : 500).end();
    console.error(error instanceof Error ? error.message : error);
  }
});

/** @param {import('runwatchd/webhook').WebhookEvent} event */
function handle(event) {
  if (!isRunEvent(event)) {
    console.log(event.type);
    return;
  }
  const { run_id: runId, run, watch } = event.data;
  console.log(`${event.type} ${runId} ${run?.status ?? '-'} ${JSON.stringify(watch.metadata)}`);
}

server.listen(Number(process.env.PORT ?? 9000), '127.0.0.1', () => {
  const address = server.address();
  console.log(`listening on ${typeof address === 'object' ? address?.port : address}`);
});
