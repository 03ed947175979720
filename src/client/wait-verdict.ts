import { isAwaiting, type RunSnapshot } from '../core/run/snapshot.ts';

/** What `wait` says about a run, from the worst to the best. */
const BADNESS = [
  'failed',
  'stopped',
  'cannot_tell',
  'timed_out',
  'awaiting_human_feedback',
  'completed',
] as const;

export type VerdictKind = (typeof BADNESS)[number];

/** How waiting for one run came out. */
export interface Verdict {
  kind: VerdictKind;
  /** Why, where the kind does not say it all. */
  reason: { code: string; message: string } | null;
}

/** A run as `wait` sees it, by the daemon or by a poll of its own. */
export interface RunView {
  state: string;
  run: RunSnapshot | null;
  /** Why nothing can be learned of the run at the moment. */
  trouble: { code: string; message: string } | null;
}

/**
 * The one verdict that stands for several: the worst. A run that failed outweighs one that was
 * stopped, that outweighs not knowing, and so on down to completed, which is also what none give.
 */
export function worstVerdict(kinds: readonly VerdictKind[]): VerdictKind {
  return BADNESS.find((kind) => kinds.includes(kind)) ?? 'completed';
}

/**
 * The verdict on a run, or null while there is something to wait for.
 * @param throughFeedback wait on while the run awaits human feedback
 */
export function judge(
  view: RunView,
  { throughFeedback }: { throughFeedback: boolean },
): Verdict | null {
  switch (view.state) {
    case 'finished':
      return finished(view);
    case 'gone':
      return cannotTell(
        view.trouble ?? { code: 'gone', message: 'its source does not know this run' },
      );
    case 'cancelled':
      return cannotTell({ code: 'cancelled', message: 'its watch was cancelled' });
    case 'expired':
      return { kind: 'timed_out', reason: { code: 'expired', message: 'its watch expired' } };
    default:
      return isAwaiting(view.run?.status ?? '') && !throughFeedback
        ? { kind: 'awaiting_human_feedback', reason: null }
        : null;
  }
}

function finished({ run }: RunView): Verdict {
  const status = run?.status;
  if (status === 'completed' || status === 'failed' || status === 'stopped') {
    return { kind: status, reason: null };
  }
  return cannotTell({
    code: 'status_unknown',
    message: `it finished as ${status ?? 'nothing known'}`,
  });
}

export function cannotTell(reason: { code: string; message: string }): Verdict {
  return { kind: 'cannot_tell', reason };
}
