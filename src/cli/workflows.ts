import type { DaemonClient } from '../client/client.ts';

/**
 * Ids of workflows by what users call them, for a query.
 * @param text names or ids, separated by commas
 */
export async function workflowIds(
  text: string | undefined,
  _client: DaemonClient,
): Promise<string | undefined> {
  return text;
}
