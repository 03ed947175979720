// Registers the runs that are given as arguments, waits until each has ended, and prints how.
//
//   RUNWATCH_URL=http://127.0.0.1:8787 node examples/client.mjs <run-id>...
//
// npm install ./runwatchd-*.tgz gives `runwatchd/client` with its types; `npm pack` writes that file.
import { createClient, isRunEvent, paginate } from 'runwatchd/client';

const client = createClient({
  url: process.env.RUNWATCH_URL ?? 'http://127.0.0.1:8787',
  token: process.env.RUNWATCH_API_TOKEN,
});

const ids = process.argv.slice(2);
const { results } = await client.registerBatch(
  ids.map((id) => ({ run_id: id, endpoints: [], metadata: { by: 'example' } })),
);
for (const { run_id: id, status, error } of results) {
  if (status >= 300) console.error(`${id}: ${error?.detail}`);
}

const waiting = new Set(results.filter(({ status }) => status < 300).map(({ run_id: id }) => id));

// The stream begins before the listing is read, so that no end falls between the two.
const done = new AbortController();
const following = follow();
for await (const watch of paginate(client.listWatches, { state: 'finished,gone' })) {
  settle(watch.run_id, watch.run?.status ?? watch.state);
}
if (waiting.size === 0) done.abort();
await following;

async function follow() {
  const events = client.events({
    query: { type: 'run.completed,run.failed,run.stopped,run.gone' },
    signal: done.signal,
    onConnection: (state) => console.error(`the stream is ${state}`),
  });
  try {
    for await (const event of events) {
      if (!isRunEvent(event)) continue;
      settle(event.data.run_id, event.data.run?.status ?? 'gone');
      if (waiting.size === 0) break;
    }
  } catch (error) {
    if (!done.signal.aborted) throw error;
  }
}

/**
 * @param {string} runId
 * @param {string} status
 */
function settle(runId, status) {
  if (waiting.delete(runId)) console.log(`${runId} ${status}`);
}
