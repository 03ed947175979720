import { Option } from 'commander';
import type { AuditQuery, AuditView } from '../../client/types.ts';
import type { CommandLine } from '../command-line.ts';
import {
  addFilterFlags,
  addListingFlags,
  showListing,
  timeFilters,
  type Listing,
  type ListingFlags,
  type TableView,
} from '../listing.ts';
import type { Column } from '../render/table.ts';
import { relative } from '../render/text.ts';
import { daemonCommand } from '../verb.ts';

const AUDIT: Listing<AuditView, AuditQuery, ListingFlags> = {
  what: ['record', 'records'],
  none: 'Nothing was done so far that the audit log has.',
  filters: {
    by: new Option('--by <token>', 'by the token of this name'),
    ...timeFilters('done'),
  },
  list: (client, query) => client.listAudit(query),
  page: { path: '/system/audit' },
  columns: auditColumns,
};

export function addAuditVerb(cli: CommandLine): void {
  const audit = daemonCommand<'GET /v1/audit'>(cli.program, 'audit', 'admin').description(
    'list what users did, the newest first',
  );
  addListingFlags(addFilterFlags(audit, AUDIT.filters), AUDIT.page)
    .allowExcessArguments(false)
    .addHelpText('after', HELP)
    .action((flags: ListingFlags) => cli.run(() => showListing(cli, AUDIT, flags)));
}

const HELP = `
BY is the name of the token; the name that a user types stands in the details as person.

Examples:
  runwatch audit --since 1d
  runwatch audit --by ci --json
  runwatch audit --all --json | jq '.data[] | select(.action == "run.stop")'`;

function auditColumns(_records: unknown, { now }: TableView): Column<AuditView>[] {
  return [
    { head: 'AT', value: ({ at }) => relative(at, now), passes: true },
    { head: 'ACTION', value: ({ action }) => action },
    { head: 'TARGET', value: ({ target }) => target },
    { head: 'BY', value: ({ by }) => by ?? '-' },
    { head: 'VIA', value: ({ via }) => via },
    { head: 'DETAILS', value: detailsText },
  ];
}

function detailsText({ details }: AuditView): string {
  const parts = Object.entries(details).map(([name, value]) => `${name}: ${value}`);
  return parts.join(', ') || '-';
}
