import { z } from 'zod';
import type { DaemonClient, RunRef } from '../../client/client.ts';
import { describeProblem } from '../../client/errors.ts';
import type { BatchView, RangeBody, WatchBody } from '../../client/types.ts';
import { DELIVERY_STATES } from '../../core/delivery/delivery.ts';
import { RunwatchError } from '../../core/errors.ts';
import { usageError } from '../exit.ts';
import { firstPoll, whyNotPolled } from '../first-poll.ts';
import { count } from '../render/text.ts';
import { failureOf } from '../report.ts';
import { readRun, resolveIds, resolveKnownRuns } from '../resolve.ts';
import { mapConcurrently, MAX_REQUESTS } from '../verb.ts';
import { answer, answerInWords, errorText, oneOrMore, WRITES } from './answers.ts';
import { noDelivery } from './listing-tools.ts';
import {
  CONFIRMED,
  readWatch,
  requireEndpoints,
  requireSources,
  runArguments,
  runToChange,
  type RunArguments,
} from './names.ts';
import { deliveryLine, quoted, subscribersText, summaryOf } from './texts.ts';
import type { Tools } from './tools.ts';

export const confirm = z
  .boolean()
  .optional()
  .describe('true acts; else the answer says what the call would touch, and nothing changes');

/** How an answer ends that only says what a call would do. */
export const UNDONE =
  'Nothing has changed. Where the person agrees, call again with confirm: true.';

/** Adds the tools that watch runs and deliver again; they need a token that may write. */
export function addActingTools(tools: Tools): void {
  addWatchRun(tools);
  addRedeliver(tools);
}

function addWatchRun(tools: Tools): void {
  const { client, cli } = tools;
  tools.add(
    'watch_run',
    {
      description:
        'Begins to watch a run, or has more endpoints notified of one that is watched. Watching a run again is harmless. Without `confirm: true` it says what it would watch and does nothing.',
      arguments: {
        ...runArguments,
        endpoints: oneOrMore(z.string())
          .optional()
          .describe('names of endpoints to notify; default: those that are notified by default'),
        metadata: z
          .record(z.string(), z.string())
          .optional()
          .describe('comes back with every event, such as {"order": "4711"}'),
        timeout: z.string().optional().describe('gives up on the run after this, such as 2h'),
        batch: z
          .string()
          .optional()
          .describe(
            'the name of a batch that the run joins, which begins with its first run and stays open',
          ),
        confirm,
      },
      annotations: WRITES,
    },
    async ({ confirm: isConfirmed, endpoints, metadata, timeout, batch, ...given }) => {
      await requireSources(given.source, client);
      await requireEndpoints(endpoints, client);
      const run = await runToWatch(given, tools);
      if (isConfirmed !== true) return wouldWatch(run, { endpoints, batch }, client);
      const body = {
        run_id: run.runId,
        ...(run.source !== undefined && { source: run.source }),
        ...(endpoints !== undefined && { endpoints: [endpoints].flat() }),
        ...(metadata !== undefined && { metadata }),
        ...(timeout !== undefined && { timeout }),
      };
      const result = await registered(client, body, batch);
      const { watch } = result;
      if (watch === undefined || !('state' in watch)) {
        return answer(`Run ${run.runId} is watched.`, result);
      }
      const polled = await firstPoll(client, watch, cli.signal);
      const why = await whyNotPolled(client, watch, polled);
      const now = polled ?? watch;
      const word = result.status === 201 ? 'is watched now' : 'was watched already';
      const text = [
        `Run ${watch.run_id} ${word}. ${subscribersText(now)}`,
        summaryOf(now, client.url),
        ...(batch === undefined
          ? []
          : [
              `It is in the batch ${quoted(batch)}, which stays open; wait_batch waits for all of it.`,
            ]),
        ...(why === null
          ? []
          : [`It is not polled now, as source ${watch.source} says: ${quoted(why)}`]),
      ].join('\n');
      return answer(text, now);
    },
  );
}

/** A run that the daemon may not know yet is not taken for another one. Throws RunwatchError. */
async function runToWatch(
  { run_id: given, source }: RunArguments,
  { client, cli }: Tools,
): Promise<RunRef> {
  const resolver = { client, cli, source, writes: CONFIRMED };
  const [run] = await resolveKnownRuns([readRun(given)], resolver);
  if (run === undefined) throw usageError(`${quoted(given)} is not a run id`);
  return run;
}

async function wouldWatch(
  run: RunRef,
  {
    endpoints,
    batch,
  }: { endpoints?: string | readonly string[] | undefined; batch?: string | undefined },
  client: DaemonClient,
) {
  const watch = await client.getWatch(run);
  const notified =
    endpoints === undefined
      ? 'the endpoints that are notified by default'
      : [endpoints].flat().join(', ');
  const joins = batch === undefined ? '' : `, and have it join the batch ${quoted(batch)}`;
  if (watch !== null) {
    const text = `Run ${watch.run_id} is watched already. This would also notify ${notified}${joins}. ${subscribersText(watch)}\n${summaryOf(watch, client.url)}`;
    return answer(`${text}\n${UNDONE}`, watch);
  }
  const of = run.source === undefined ? '' : ` of source ${run.source}`;
  return answerInWords(
    `This would watch 1 run: ${run.runId}${of}, and notify ${notified}${joins}. runwatch does not know the run yet.\n${UNDONE}`,
  );
}

type Registration = BatchView['results'][number];

/** The registration of one run. Throws RunwatchError where it is refused. */
async function registered(
  client: DaemonClient,
  body: WatchBody,
  batch: string | undefined,
): Promise<Registration> {
  const joining = batch === undefined ? undefined : { batch, open: true };
  const { results } = await client.registerBatch([body], joining);
  const [result] = results;
  if (result !== undefined && result.status < 300) return result;
  const problem = result?.error ?? { detail: 'the daemon did not say why' };
  throw new RunwatchError(describeProblem(problem), { code: 'not_registered' });
}

/** Most deliveries that are named one by one. */
const MOST_IDS = 20;

function addRedeliver(tools: Tools): void {
  const { client } = tools;
  tools.add(
    'redeliver',
    {
      description:
        'Delivers again: either deliveries by their ids, or all of an endpoint or of a time that are in a state, by default dead or skipped. The receiver gets the same event id. Without `confirm: true` it says what it would deliver again and does nothing.',
      arguments: {
        ids: oneOrMore(z.string().min(1))
          .optional()
          .describe(`delivery ids (dlv_…) or their beginnings, ${MOST_IDS} at most`),
        endpoint: z
          .string()
          .optional()
          .describe('the name of an endpoint, or the URL of a webhook, masked or whole'),
        state: oneOrMore(z.enum(DELIVERY_STATES)).optional().describe('default: dead and skipped'),
        since: z
          .string()
          .optional()
          .describe('created at this time or later: a time, or a duration ago such as 2h'),
        until: z.string().optional().describe('created before this time'),
        confirm,
      },
      // Each call sends again.
      annotations: { ...WRITES, idempotentHint: false },
    },
    async ({ confirm: isConfirmed, ids, ...given }) => {
      const isDone = isConfirmed === true;
      const range = rangeOf(given);
      const isRange = Object.keys(range).length > 0;
      if (ids === undefined) {
        if (range.endpoint !== undefined || range.since !== undefined) {
          return redeliverRange(range, isDone, client);
        }
        throw usageError('expected ids, or an endpoint or since, which say what to deliver again');
      }
      if (!isRange) return redeliverEach([ids].flat(), isDone, tools);
      throw usageError('expected either ids, or endpoint, state, since and until; not both');
    },
  );
}

interface RangeArguments {
  endpoint?: string | undefined;
  state?: NonNullable<RangeBody['state']> | undefined;
  since?: string | undefined;
  until?: string | undefined;
}

function rangeOf({ endpoint, state, since, until }: RangeArguments): RangeBody {
  return {
    ...(endpoint !== undefined && { endpoint }),
    ...(state !== undefined && { state }),
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
  };
}

/** Deliveries that are shown of many. */
const SHOWN = 5;

async function redeliverRange(range: RangeBody, isConfirmed: boolean, client: DaemonClient) {
  if (range.endpoint?.includes('://') !== true) await requireEndpoints(range.endpoint, client);
  const state = range.state ?? ['dead', 'skipped'];
  const meant = { ...range, state };
  const {
    data,
    total = data.length,
    total_capped: isCapped,
  } = await client.listDeliveries({
    ...meant,
    limit: SHOWN,
  });
  const states = [state].flat().join(' or ');
  if (total === 0) return answer(`No delivery that is ${states} matches.`, { count: 0 });
  if (isConfirmed) {
    const done = await client.redeliverRange(meant);
    return answer(
      `${count(done.count, 'delivery goes', 'deliveries go')} out again; list_deliveries says how they fare.`,
      done,
    );
  }
  const more = total - data.length;
  const text = [
    `This would deliver ${isCapped === true ? 'more than ' : ''}${count(total, 'delivery', 'deliveries')} again:`,
    ...data.map((one) => `- ${deliveryLine(one, client.url)}`),
    ...(more > 0 ? [`- and ${more} more`] : []),
    UNDONE,
  ].join('\n');
  return answer(text, { count: total });
}

/** All of them are looked for before any goes out. */
async function redeliverEach(
  given: readonly string[],
  isConfirmed: boolean,
  { client, cli }: Tools,
) {
  if (given.length > MOST_IDS) throw usageError(`ids: expected ${MOST_IDS} at most`);
  const ids = await resolveIds(given, 'delivery', { client, cli, writes: CONFIRMED });
  const found = await mapConcurrently(ids, MAX_REQUESTS, async (id) => {
    const delivery = await client.getDelivery(id);
    if (delivery === null) throw noDelivery(id);
    return delivery;
  });
  if (!isConfirmed) {
    const lines = found.map((one) => `- ${deliveryLine(one, client.url)}`);
    const many = count(found.length, 'delivery', 'deliveries');
    return answerInWords([`This would deliver ${many} again:`, ...lines, UNDONE].join('\n'));
  }
  // One that fails leaves the others done.
  const done = await mapConcurrently(found, MAX_REQUESTS, async ({ id, endpoint }) => {
    try {
      const sent = await client.redeliver(id);
      if (sent === null) throw noDelivery(id);
      const line = `${id} goes out again to ${endpoint} (event ${sent.event_id}).`;
      return { line, result: { ...sent, endpoint } };
    } catch (error) {
      return { line: `${id}: ${errorText(error)}`, result: { id, error: failureOf(error) } };
    }
  });
  const lines = done.map(({ line }) => line);
  const results = done.map(({ result }) => result);
  const said = answer([...lines, 'show_delivery says how it fares.'].join('\n'), { results });
  return { ...said, isError: results.every((result) => 'error' in result) };
}

/** Adds the tool that stops runs; it needs a token with the scope admin. */
export function addStopTool(tools: Tools): void {
  const { client } = tools;
  tools.add(
    'stop_run',
    {
      description:
        'Has its source stop a run, which cannot be taken back; wait_run says when it has stopped. Without `confirm: true` it says which run it would stop and does nothing.',
      arguments: { ...runArguments, confirm },
      annotations: { ...WRITES, destructiveHint: true, idempotentHint: false },
    },
    async ({ confirm: isConfirmed, ...given }) => {
      const watch = await readWatch(await runToChange(given, tools), client);
      const summary = summaryOf(watch, client.url);
      if (isConfirmed !== true) {
        return answer(`This would stop 1 run: ${summary}\n${UNDONE}`, watch);
      }
      const asked = await client.stop({ runId: watch.run_id, source: watch.source });
      const text = `The source of run ${watch.run_id} was asked to stop it; wait_run says when it has.\n${summary}`;
      return answer(text, asked);
    },
  );
}
