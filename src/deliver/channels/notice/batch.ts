import { bareNotice, counted, oneLine, shortRunId, type Notice } from './notice.ts';
import type { SentBatch, SentEvent } from './sent-event.ts';

/** Failed runs that a message lists. */
const MOST_LISTED = 10;

/** What an event of a batch says. */
export function batchNotice(event: SentEvent, batch: SentBatch): Notice {
  const { by_status: byStatus, failed, max_failed: most, total } = batch;
  const failures = sumOf(byStatus, ['failed', 'gone', 'expired']);
  const name = oneLine(batch.batch, 63);
  const isEnd = event.type === 'batch.completed';
  const title = isEnd
    ? `Batch ${name} has ended: ${byStatus['completed'] ?? 0} of ${counted(total, 'run')} completed${failures === 0 ? '' : `, ${failures} failed`}`
    : `Batch ${name}: ${counted(failures, 'run')} of ${total} failed, more than ${most ?? 0}`;
  return {
    ...bareNotice(event, title),
    tone: failures === 0 ? 'good' : 'bad',
    lines: batch.reason === 'idle' ? ['It was not closed: no run was active for an hour'] : [],
    facts: Object.entries(byStatus).map(([status, count]) => [
      status.charAt(0).toUpperCase() + status.slice(1).replaceAll('_', ' '),
      String(count),
    ]),
    runs: failed.slice(0, MOST_LISTED).map((id) => ({ text: shortRunId(id), url: null })),
    unlisted: { count: Math.max(0, failures - MOST_LISTED), url: null },
  };
}

function sumOf(counts: Readonly<Record<string, number>>, names: readonly string[]): number {
  return names.reduce((sum, name) => sum + (counts[name] ?? 0), 0);
}
