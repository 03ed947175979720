import type { DaemonClient } from '../client/client.ts';

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
