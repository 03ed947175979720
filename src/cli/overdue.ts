import type { DaemonClient } from '../client/client.ts';
import type { CliContext } from './context.ts';
import { plain } from './render/text.ts';
import { note } from './report.ts';

/** Says on stderr which polls are overdue, and what would help; nothing where that cannot be known. */
export async function noteOverdue(
  { io }: CliContext,
  client: Pick<DaemonClient, 'listSources'>,
): Promise<void> {
  const page = await client.listSources().catch(() => null);
  for (const { overdue } of page?.data ?? []) {
    // Absent from a daemon that does not know it.
    const message = overdue?.message;
    if (message !== undefined) note(io.stderr, plain(message));
  }
}
