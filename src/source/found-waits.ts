import { isSubscribed } from '../core/delivery/delivery.ts';
import { withWaits, type DiscoveryCursor } from '../core/feed/discovery.ts';
import type { RunList } from '../core/feed/run-list.ts';
import { isAwaiting } from '../core/run/snapshot.ts';
import { withChanges, type Watch } from '../core/watch/watch.ts';
import type { Process } from '../process.ts';
import type { WatchChange } from '../redis/watch-change.ts';
import type { RememberedCursors } from './discovery.ts';
import type { RequestClaim } from './schedule.ts';
import type { Source } from './source.ts';

/** So often a list is read while polls are to confirm what the first pass found waiting, ms. */
const CONFIRM_EVERY_MS = 5_000;

/** The notice does not wait longer for polls that are missing, ms; the runs that they confirm have another. */
const NOTICE_WITHIN_MS = 120_000;

/** Most runs that a notice names. */
const MOST_NAMED = 100;

/** The runs among these that discovery found waiting, and that no notice has named. */
export async function foundWaiting(source: Source, runIds: readonly string[]): Promise<string[]> {
  const stored = await storedOf(source, runIds);
  return stored.flatMap(({ watch }) => (watch.foundWaiting ? [watch.runId] : []));
}

async function storedOf({ process, name: source }: Source, runIds: readonly string[]) {
  const stored = await process.stores.watches.getMany(runIds.map((runId) => ({ source, runId })));
  return stored.flatMap((one) => (one?.watch.state === 'active' ? [one] : []));
}

/**
 * The notice of the runs that the first pass over a list found waiting. It says what polls have confirmed: a list
 * gives hints alone. The cursor holds what is left to notify, and moves in the step that writes the notice.
 */
export class FoundWaitsNotice {
  constructor(
    private readonly source: Source,
    private readonly list: RunList,
    private readonly cursors: RememberedCursors,
  ) {}

  /** Within how long the list is to be read again for it, ms. */
  async dueInMs(): Promise<number> {
    const cursor = await this.cursors.cursor(this.list);
    const at = cursor?.waits?.at ?? -Infinity;
    return this.source.process.now() - at < NOTICE_WITHIN_MS ? CONFIRM_EVERY_MS : Infinity;
  }

  /** Sends the notice once polls have seen all of the runs, or some for long enough. */
  async tend(claim: RequestClaim): Promise<void> {
    await this.notify(claim);
    await this.markNotified(claim);
  }

  private async notify(claim: RequestClaim): Promise<void> {
    const cursor = await this.cursors.cursor(this.list);
    if (cursor?.waits === undefined || cursor.waits.runIds.length === 0) return;
    const { at, runIds, notified } = cursor.waits;
    const found = (await storedOf(this.source, runIds)).map(({ watch }) => watch);
    const unread = found.filter(({ run }) => run === null).map(({ runId }) => runId);
    const now = this.source.process.now();
    if (unread.length > 0 && now - at < NOTICE_WITHIN_MS) return;
    const confirmed = found.filter(
      ({ foundWaiting: isFound, run }) => isFound && run !== null && isAwaiting(run.status),
    );
    const named = confirmed.map(({ runId }) => runId);
    const next = withWaits(cursor, { at: now, runIds: unread, notified: [...notified, ...named] });
    await this.raise(claim, confirmed, next);
  }

  /** Watches that say that they wait for the notice would be in that of another first pass, too. */
  private async markNotified(claim: RequestClaim): Promise<void> {
    const { list, cursors } = this;
    const cursor = await cursors.cursor(list);
    const { waits } = cursor ?? {};
    if (cursor === null || waits === undefined || waits.notified.length === 0) return;
    const { watches } = this.source.process.stores;
    const stored = await storedOf(this.source, waits.notified);
    const changes = stored
      .filter(({ watch }) => watch.foundWaiting)
      .map((before): WatchChange => {
        const after = withChanges(before.watch, { foundWaiting: false });
        return { before, after, events: [], deliveries: [] };
      });
    const written = changes.length === 0 ? [] : await watches.commitMany(changes);
    const notified = changes.flatMap(({ after }, index) =>
      written[index] === null ? [after.runId] : [],
    );
    await cursors.moveCursor(list, claim, withWaits(cursor, { ...waits, notified }));
  }

  private async raise(
    claim: RequestClaim,
    confirmed: readonly Watch[],
    next: DiscoveryCursor,
  ): Promise<void> {
    const { list, cursors } = this;
    const { process } = this.source;
    if (confirmed.length === 0) {
      await cursors.moveCursor(list, claim, next);
      return;
    }
    const data = dataOf(process, list, confirmed);
    const also = receiversOf(process, confirmed);
    await process.raise({ type: 'discovery.waiting', level: 'info', data, also }, (event) =>
      cursors.moveCursor(list, claim, next, event),
    );
  }
}

/** The endpoints that would have had the event of one of these waits. */
function receiversOf({ endpoints }: Process, confirmed: readonly Watch[]): string[] {
  const names = confirmed.flatMap((watch) =>
    watch.subscriptions.flatMap((one) =>
      one.kind === 'endpoint' &&
      isSubscribed(one, 'run.awaiting_human_feedback', watch, endpoints.wants)
        ? [one.endpoint]
        : [],
    ),
  );
  return [...new Set(names)];
}

function dataOf(
  process: Process,
  { source, workflowId }: RunList,
  confirmed: readonly Watch[],
): Record<string, unknown> {
  const count = confirmed.length;
  return {
    source,
    workflow_id: workflowId,
    count,
    runs: confirmed.slice(0, MOST_NAMED).map((watch) => {
      const { workflowName, runUrl, watchUrl } = process.linksOf(watch);
      return {
        run_id: watch.runId,
        workflow_id: watch.run?.workflow_id ?? null,
        workflow_name: workflowName,
        run_url: runUrl,
        watch_url: watchUrl,
      };
    }),
    message: `${count === 1 ? '1 run has' : `${count} runs have`} waited for a human since before discovery began`,
    help: 'see to these runs: no further message says that they wait, but for reminders; `runwatch list --status awaiting_human_feedback` shows them all',
  };
}
