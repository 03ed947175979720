import type { DiscoveryCursor } from '../core/feed/discovery.ts';
import type { RunList } from '../core/feed/run-list.ts';
import type { RequestClaim } from '../poll/schedule.ts';

interface CursorStore {
  /** Null for a list that has none. */
  cursors(lists: readonly RunList[]): Promise<(DiscoveryCursor | null)[]>;
  moveCursor(list: RunList, claim: RequestClaim, cursor: DiscoveryCursor): Promise<boolean>;
}

/**
 * The cursors of lists as this process has last seen them. A store that has lost one would begin the list
 * with its present runs, and all that began meanwhile would never be watched: then the pass goes on from
 * here, and moves the cursor as ever.
 */
export class RememberedCursors {
  private readonly seen = new Map<string | null, DiscoveryCursor>();

  /** @param lists the lists of one source */
  constructor(
    private readonly store: CursorStore,
    private readonly lists: readonly RunList[],
  ) {}

  /** Takes in how far other processes have come. */
  async refresh(): Promise<void> {
    const found = await this.store.cursors(this.lists);
    this.lists.forEach((list, at) => this.note(list, found[at] ?? null));
  }

  async cursor(list: RunList): Promise<DiscoveryCursor | null> {
    const [found = null] = await this.store.cursors([list]);
    this.note(list, found);
    return found ?? this.seen.get(list.workflowId) ?? null;
  }

  async moveCursor(list: RunList, claim: RequestClaim, cursor: DiscoveryCursor): Promise<boolean> {
    const isMoved = await this.store.moveCursor(list, claim, cursor);
    if (isMoved) this.note(list, cursor);
    return isMoved;
  }

  private note({ workflowId }: RunList, cursor: DiscoveryCursor | null): void {
    if (cursor !== null) this.seen.set(workflowId, cursor);
  }
}
