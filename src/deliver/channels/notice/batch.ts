import { spanText } from '../../../core/time.ts';
import { bareNotice, counted, isLink, oneLine, shortRunId, type Notice } from './notice.ts';
import type { SentBatch, SentEvent } from './sent-event.ts';

/** What an event of a batch says. */
export function batchNotice(event: SentEvent, batch: SentBatch): Notice {
  const { by_status: byStatus, max_failed: most, total, batch_url: url, reason } = batch;
  const failures = sumOf(byStatus, ['failed', 'gone', 'expired']);
  const name = oneLine(batch.batch, 63);
  const isEnd = event.type === 'batch.completed';
  const title = isEnd
    ? `Batch ${name} has ended: ${byStatus['completed'] ?? 0} of ${counted(total, 'run')} completed${failures === 0 ? '' : `, ${failures} failed`}`
    : `Batch ${name}: ${failures} of ${counted(total, 'run')} failed, more than ${most ?? 0}`;
  const runs = runsOf(batch);
  return {
    ...bareNotice(event, title),
    tone: failures === 0 ? 'good' : 'bad',
    lines: reason === 'idle' ? ['It was not closed: no run was active for an hour'] : [],
    facts: [
      ['Runs', countsText(byStatus)],
      [isEnd ? 'Duration' : 'Since its beginning', spanText(batch.duration_ms)],
    ],
    runs,
    unlisted: {
      count: runs.length === 0 ? 0 : failures - runs.length,
      url: isLink(url) ? `${url}?status=failed` : null,
    },
    links: isLink(url) ? [{ label: 'Open in runwatch', url }] : [],
  };
}

/** The first runs that failed; what became of one is said where it did not just fail. */
function runsOf({ failed_runs: runs }: SentBatch): Notice['runs'] {
  return runs.map(({ run_id: id, workflow_name: name, status, run_url, watch_url: watchUrl }) => ({
    text: [oneLine(name ?? '', 60), status === 'failed' ? '' : status, shortRunId(id)]
      .filter((part) => part !== '')
      .join(' · '),
    url: [run_url, watchUrl].find(isLink) ?? null,
  }));
}

/** `36 completed, 2 failed, 1 gone`. */
function countsText(byStatus: SentBatch['by_status']): string {
  const counts = Object.entries(byStatus).sort(([, one], [, other]) => other - one);
  return counts.map(([status, count]) => `${count} ${status.replaceAll('_', ' ')}`).join(', ');
}

function sumOf(counts: SentBatch['by_status'], names: readonly string[]): number {
  return names.reduce((sum, name) => sum + (counts[name] ?? 0), 0);
}
