import { type Command, Option } from 'commander';
import type { Query } from '../client/transport.ts';
import { usageError } from './exit.ts';
import { collectPair, moment, positiveInteger, type Moment } from './options.ts';
import type { DaemonClient } from '../client/client.ts';

/* Filters that several listings have, as flags and as the API takes them. */

/** Flags that bound a listing in time. */
export interface TimeFlags {
  since?: Moment;
  until?: Moment;
}

/**
 * Adds `--since` and `--until`.
 * @param what is bounded, such as `created`
 */
export function addTimeFlags(command: Command, what: string): Command {
  return command
    .option('--since <time>', `${what} at this time or later, or this long ago, such as 1h`, moment)
    .option('--until <time>', `${what} before this time, or this long ago`, moment);
}

/**
 * What `--since` and `--until` come to.
 * @param now milliseconds since the epoch
 * @throws a usage error where nothing lies between the two
 */
export function timeQuery(
  { since, until }: TimeFlags,
  now: number,
): { since: string | undefined; until: string | undefined } {
  const [from, to] = [since?.(now), until?.(now)];
  if (from !== undefined && to !== undefined && from >= to) {
    throw usageError('--since must be before --until');
  }
  return { since: timeText(from), until: timeText(to) };
}

function timeText(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

export type Meta = Readonly<Record<string, string>>;

export function addMetaFlag(command: Command): Command {
  return command.option(
    '--meta <key=value>',
    'with this in the metadata of the watch; may be repeated',
    collectPair,
  );
}

/** Metadata as fields of a query. */
export function metaQuery(meta: Meta = {}): Query {
  return Object.fromEntries(Object.entries(meta).map(([key, value]) => [`metadata.${key}`, value]));
}

/** Flags of every listing. */
export interface ListingFlags {
  limit?: number;
  all?: boolean;
  wide?: boolean;
  json?: boolean;
}

const DEFAULT_LIMIT = 50;

/** Adds `--limit`, `--all`, `--wide` and `--json`. */
export function addListingFlags(command: Command): Command {
  return command
    .option('--limit <n>', `how many at most (default: ${DEFAULT_LIMIT})`, positiveInteger)
    .option('--all', 'all of them')
    .addOption(wideFlag())
    .option('--json', "print the API's answer");
}

export function wideFlag(): Option {
  return new Option('--wide', 'show all columns, whatever the width of the terminal');
}

export function limitOf({ all, limit = DEFAULT_LIMIT }: ListingFlags): number {
  return all === true ? Infinity : limit;
}

/**
 * Ids of workflows by their names, for a query. A text that names no workflow is passed on unchanged.
 * @param text names or ids, separated by commas
 */
export async function workflowIds(
  text: string | undefined,
  client: Pick<DaemonClient, 'listWorkflows'>,
): Promise<string | undefined> {
  if (text === undefined) return undefined;
  // A daemon of an older version knows no names.
  const { data } = await client.listWorkflows({ since: '30d' }).catch(() => ({ data: [] }));
  const ids = text.split(',').flatMap((part) => {
    const wanted = part.trim();
    const named = data.filter(({ name }) => name?.toLowerCase() === wanted.toLowerCase());
    return named.length > 0 ? named.map(({ workflow_id: id }) => id) : [wanted];
  });
  return [...new Set(ids)].join(',');
}
