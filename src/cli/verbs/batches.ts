import { Option } from 'commander';
import type { BatchQuery, OneBatchView } from '../../client/types.ts';
import { BATCH_STATES, FAILED_MEMBERS } from '../../core/batch.ts';
import type { CommandLine } from '../command-line.ts';
import {
  addFilterFlags,
  addListingFlags,
  showListing,
  type Listing,
  type ListingFlags,
  type TableView,
} from '../listing.ts';
import type { Column } from '../render/table.ts';
import { plain, relative } from '../render/text.ts';
import { daemonCommand } from '../verb.ts';

const BATCHES: Listing<OneBatchView, BatchQuery, ListingFlags> = {
  what: ['batch', 'batches'],
  none: 'No batches. `runwatch watch --batch <name> --file ids.txt` begins one.',
  filters: {
    state: new Option('--state <state>', 'in this state').choices(BATCH_STATES),
  },
  list: (client, query) => client.listBatches(query),
  page: { path: '/batches' },
  columns: columnsFor,
};

export function addBatchesVerb(cli: CommandLine): void {
  const batches = daemonCommand<'GET /v1/batches'>(cli.program, 'batches', 'read').description(
    'list batches: runs that are waited for together',
  );
  addListingFlags(addFilterFlags(batches, BATCHES.filters), BATCHES.page)
    .allowExcessArguments(false)
    .addHelpText('after', HELP)
    .action((flags: ListingFlags) => cli.run(() => showListing(cli, BATCHES, flags)));
}

const HELP = `
FAILED counts runs that failed or are gone, and those whose watch has expired.

Examples:
  runwatch batches
  runwatch batches --state open
  runwatch list --batch nightly --status failed`;

function columnsFor(_batches: unknown, { now }: TableView): Column<OneBatchView>[] {
  return [
    { head: 'BATCH', value: ({ name }) => plain(name), keep: 'always' },
    { head: 'STATE', value: ({ state }) => state, keep: 'always' },
    { head: 'RUNS', value: runsText },
    { head: 'COMPLETED', value: ({ by_status: counts }) => String(counts.completed ?? 0) },
    { head: 'FAILED', value: failedText },
    { head: 'BEGAN', value: ({ created_at: at }) => relative(at, now), passes: true },
    { head: 'ID', value: ({ id }) => id },
  ];
}

function runsText({ total, expected }: OneBatchView): string {
  return expected === null ? String(total) : `${total} of ${expected}`;
}

function failedText({ by_status: counts }: OneBatchView): string {
  return String(FAILED_MEMBERS.reduce((sum, status) => sum + (counts[status] ?? 0), 0));
}
