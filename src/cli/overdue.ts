import type { DaemonClient } from '../client/client.ts';
import type { CliContext } from './context.ts';
import { plain } from './render/text.ts';
import { note } from './report.ts';

/** Says on stderr which polls are overdue, or which runs are read too rarely, and what would help; nothing where that cannot be known. */
export async function noteOverdue(
  { io }: CliContext,
  client: Pick<DaemonClient, 'listSources'>,
): Promise<void> {
  const page = await client.listSources().catch(() => null);
  for (const { overdue, reads } of page?.data ?? []) {
    // Both are absent from a daemon that does not know them.
    const isRare = (reads?.beyond_max_interval ?? 0) > 0;
    const message = overdue?.message ?? (isRare ? reads?.message : undefined);
    if (message !== undefined) note(io.stderr, plain(message));
  }
}
