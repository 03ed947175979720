import { z } from 'zod';
import type { DaemonClient, FailedRuns, RunRef } from '../../client/client.ts';
import type { AlertDetailView, OneBatchView, WatchView } from '../../client/types.ts';
import { RunwatchError } from '../../core/errors.ts';
import { usageError } from '../exit.ts';
import { readFailures, resolveFailures, workflowIds } from '../listing.ts';
import { readRun, resolveAlert, resolveRun } from '../resolve.ts';
import type { Tools } from './tools.ts';
import { quoted } from './texts.ts';

/*
 * What arguments name, found as the command line does. What there is not is an error that says what there is.
 */

export const runArguments = {
  run_id: z.string().min(1).describe("the run's id, its beginning or last part, or its URL"),
  source: z.string().optional().describe('the source, where several have the run'),
};

export interface RunArguments {
  run_id: string;
  source?: string | undefined;
}

/** Nothing is asked: input is the protocol's, and the person has confirmed the call. */
export const CONFIRMED = { yes: true };

/** The run that arguments name. Throws RunwatchError. */
export async function runOf(
  { run_id: given, source }: RunArguments,
  { client, cli }: Tools,
): Promise<RunRef> {
  return resolveRun(readRun(given), { client, cli, source });
}

/** The same for a tool that changes something. */
export async function runToChange(
  { run_id: given, source }: RunArguments,
  { client, cli }: Tools,
): Promise<RunRef> {
  return resolveRun(readRun(given), { client, cli, source, writes: CONFIRMED });
}

export async function readWatch(run: RunRef, client: DaemonClient): Promise<WatchView> {
  const watch = await client.getWatch(run);
  if (watch === null) throw notWatched(run.runId);
  return watch;
}

export function notWatched(runId: string): RunwatchError {
  return new RunwatchError(
    `run ${runId} is not watched; list_runs lists those that are, and watch_run begins to watch one`,
    { code: 'watch_not_found' },
  );
}

/** The batch that a name or an id means. Throws RunwatchError. */
export async function batchNamed(given: string, client: DaemonClient): Promise<OneBatchView> {
  const batch = await client.getBatch(given);
  if (batch !== null) return batch;
  throw new RunwatchError(`there is no batch ${quoted(given)}; list_batches lists them`, {
    code: 'batch_not_found',
  });
}

/** The alert that a text names. Throws RunwatchError. */
export async function alertOf(
  given: string,
  { client, cli }: Tools,
  writes?: typeof CONFIRMED,
): Promise<AlertDetailView> {
  const id = await resolveAlert(given, { client, cli, ...(writes && { writes }) });
  const alert = await client.getAlert(id);
  if (alert === null) throw noAlert(id);
  return alert;
}

export function noAlert(id: string): RunwatchError {
  return new RunwatchError(`there is no alert ${id}; list_alerts lists them`, {
    code: 'alert_not_found',
  });
}

/** Ids of the workflows that texts name. Throws RunwatchError. */
export async function workflowsOf(
  given: string | readonly string[] | undefined,
  client: DaemonClient,
): Promise<string[] | undefined> {
  const text = given === undefined ? undefined : [given].flat().join(',');
  return workflowIds(text, client).catch(throwQuoted);
}

/** The failures that arguments name; null where they name something else. Throws RunwatchError. */
export async function failuresOf(
  { id, source }: { id: string; source?: string | undefined },
  { client, cli }: Tools,
): Promise<FailedRuns | null> {
  const named = readFailures(id);
  if (named === null) return null;
  if (named.place === 'source') {
    await requireSources(named.name, client);
    if (source === undefined || source === named.name) {
      return { source: named.name, workflowId: null };
    }
    throw usageError(
      `expected either source/${named.name} or the source ${quoted(source)}; not both`,
    );
  }
  await requireSources(source, client);
  const resolver = { client, cli, source, writes: CONFIRMED };
  return resolveFailures(named, resolver).catch(throwQuoted);
}

/** Messages about workflows repeat names and ids that others chose: with this code they come in quotes. */
function throwQuoted(error: unknown): never {
  if (!(error instanceof RunwatchError)) throw error;
  throw new RunwatchError(error.message, { code: 'workflow_not_found' });
}

/** Throws a usage error where there is no such source. */
export async function requireSources(
  given: string | readonly string[] | undefined,
  client: DaemonClient,
): Promise<void> {
  if (given === undefined) return;
  const { data } = await client.listSources();
  requireKnown(
    'source',
    given,
    data.map(({ name }) => name),
  );
}

/** Throws a usage error where there is no such endpoint. */
export async function requireEndpoints(
  given: string | readonly string[] | undefined,
  client: DaemonClient,
): Promise<void> {
  if (given === undefined) return;
  const { data } = await client.listEndpoints();
  requireKnown(
    'endpoint',
    given,
    data.filter(isConfigured).map(({ name }) => name),
  );
}

function isConfigured({ name, type }: { name: string; type: string }): boolean {
  return type !== 'unconfigured' && !name.includes('://');
}

/** The shortest time for which the daemon tries its rules: their names are all that is wanted. */
const RULES_SINCE = '1s';

/** Throws a usage error where there is no such rule. A token that is limited to sources does not learn of rules. */
export async function requireRules(
  given: string | readonly string[] | undefined,
  client: DaemonClient,
): Promise<void> {
  if (given === undefined) return;
  const names = await client.testRules({ since: RULES_SINCE }).then(
    ({ rules }) => rules.map(({ rule }) => rule),
    (error: unknown) => {
      if (error instanceof RunwatchError && error.code === 'forbidden') return null;
      throw error;
    },
  );
  if (names !== null) requireKnown('rule', given, names);
}

/** Most names that are listed where one is unknown. */
const MOST_NAMED = 20;

function requireKnown(
  kind: string,
  given: string | readonly string[],
  known: readonly string[],
): void {
  const unknown = [given].flat().find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const more = known.length > MOST_NAMED ? ` and ${known.length - MOST_NAMED} more` : '';
  const names = known.slice(0, MOST_NAMED).join(', ');
  const expected = known.length === 0 ? 'there is none' : `expected one of: ${names}${more}`;
  throw usageError(`there is no ${kind} ${quoted(unknown)}; ${expected}`);
}
