import { signal } from '@preact/signals';
import { middleCut } from './format.ts';

/** Workflows that were seen on any screen, with their names where those are known. */
export const workflowNames = signal<ReadonlyMap<string, string | null>>(new Map());

interface Named {
  workflow_id?: string | null | undefined;
  workflow_name?: string | null | undefined;
}

/** Remembers the names that an answer carries. */
export function learnNames(items: readonly Named[]): void {
  const known = workflowNames.peek();
  const news = items.filter(
    ({ workflow_id: id, workflow_name: name = null }) =>
      id !== null &&
      id !== undefined &&
      (!known.has(id) || (name !== null && known.get(id) !== name)),
  );
  if (news.length === 0) return;
  const next = new Map(known);
  for (const { workflow_id: id, workflow_name: name } of news) {
    if (id !== null && id !== undefined) next.set(id, name ?? next.get(id) ?? null);
  }
  workflowNames.value = next;
}

/** What a workflow is called; its id where it has no name. */
export function workflowText(id: string | null | undefined): string {
  if (id === null || id === undefined) return '–';
  return workflowNames.value.get(id) ?? middleCut(id, 13);
}
