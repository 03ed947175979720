import type { ListedRun } from '../core/feed/run-list.ts';
import { parsePath, WHOLE_DOCUMENT, type JsonPath } from '../core/source/json-path.ts';
import { joinId, type IdTemplate } from '../core/source/run-template.ts';
import {
  attemptIn,
  firstOf,
  progressIn,
  progressSlots,
  slotOf,
  timeAt,
  type FieldsDeclaration,
  type ProgressDeclaration,
  type ProgressSlots,
  type RunMapping,
  type Values,
} from './mapping.ts';
import { PathTree } from './scalar-reader.ts';

/** Where the items of a list stand, and the fields of a run in each; those that are not given stand as in a run. */
export interface ListDeclaration {
  /** A path to the list; the others begin at an item. */
  readonly items: string;
  /** One path, or one for each part of the id. */
  readonly id?: string | Readonly<Record<string, string>> | undefined;
  readonly status?: readonly string[] | undefined;
  readonly created?: string | undefined;
  readonly progress?: ProgressDeclaration | undefined;
  readonly attempt?: string | undefined;
}

/** What a page of a list shows. */
interface ListedRuns {
  /** Each once, in the order of the list. */
  runs: ListedRun[];
  /** Keys of the configuration whose paths lead to nothing in some item. */
  unread: string[];
}

/** What the items of a list mean, by the configuration. */
export class ListMapping {
  readonly tree = new PathTree();
  private readonly itemTree = new PathTree();
  private readonly id: readonly number[];
  private readonly status: readonly number[];
  private readonly created: number | null;
  private readonly progress: ProgressSlots;
  private readonly attempt: number | null;

  constructor(
    list: ListDeclaration,
    run: FieldsDeclaration,
    private readonly ids: IdTemplate,
    private readonly mapping: RunMapping,
  ) {
    const { itemTree } = this;
    const { id = run.id, created = run.created, attempt = run.attempt } = list;
    this.id = ids.map((part) =>
      slotOf(typeof id === 'string' ? id : (id[part] ?? run.id), itemTree),
    );
    this.status = (list.status ?? run.status).map((path) => slotOf(path, itemTree));
    this.created = created === undefined ? null : slotOf(created, itemTree);
    this.progress = progressSlots(list.progress ?? run.progress, itemTree);
    this.attempt = attempt === undefined ? null : slotOf(attempt, itemTree);
    this.tree.addList(listPath(list.items), itemTree);
  }

  /** An item without id or status is left out: what is wrong with one must not hide the others. */
  runsOf(items: readonly Values[]): ListedRuns {
    const runs = new Map<string, ListedRun>();
    const unread = new Set<string>();
    for (const values of items) {
      const id = joinId(
        this.ids,
        this.id.map((slot) => values[slot] ?? ''),
      );
      const meaning = this.mapping.meaningOf(firstOf(values, this.status));
      const created_at = timeAt(values, this.created);
      if (id === null) unread.add('list.id');
      if (meaning === null) unread.add('list.status');
      if (created_at === null) unread.add('list.created');
      if (id === null || meaning === null || runs.has(id)) continue;
      const progress = progressIn(values, this.progress);
      const attempt = attemptIn(values, this.attempt);
      if (attempt === undefined) unread.add('list.attempt');
      runs.set(id, {
        id,
        workflow_id: null,
        status: meaning.status,
        progress,
        created_at,
        ...(typeof attempt === 'number' && { attempt }),
      });
    }
    return { runs: [...runs.values()], unread: [...unread] };
  }
}

function listPath(text: string): JsonPath {
  if (text === WHOLE_DOCUMENT) return [];
  const path = parsePath(text);
  if (path === null) throw new Error(`the configuration lets a path pass that is none: ${text}`);
  return path;
}
