import { SEVERITY_OF } from '../../core/attention.ts';
import { overdueText } from '../../core/source/overdue.ts';
import type { Daemon } from '../../daemon.ts';
import { troubledSources } from '../sources.ts';
import type { AttentionQuery, Found } from './found.ts';

/** Sources that refuse, do not answer or contradict themselves, overdue polls, and lists that cannot be read. */
export async function sourcesOf(
  { poller, now }: Daemon,
  { sources }: AttentionQuery,
): Promise<Found> {
  const [troubled, unread] = await Promise.all([
    troubledSources(poller.sources),
    poller.discovery.troubles(),
  ]);
  const unwell = troubled.map(({ name, since, text }) => ({
    kind: 'source' as const,
    severity: SEVERITY_OF.source,
    count: 1,
    since,
    message: text,
    source: name,
  }));
  const overdue = poller.overdue().map((one) => ({
    kind: 'overdue' as const,
    severity: SEVERITY_OF.overdue,
    count: one.polls,
    since: now() - one.oldestMs,
    message: overdueText(one),
    source: one.source,
  }));
  const lists = (unread ?? []).map(({ source, workflowId, since, text }) => ({
    kind: 'discovery' as const,
    severity: SEVERITY_OF.discovery,
    count: 1,
    since,
    message: `runs cannot be discovered: ${text}`,
    source,
    workflowId,
  }));
  const items = [...unwell, ...overdue, ...lists].filter(
    ({ source }) => sources?.includes(source) ?? true,
  );
  return { items, isCapped: false };
}
