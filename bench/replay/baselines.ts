import { shownAt, type Follower, type Policy } from './policy.ts';

interface Schedule {
  name: string;
  firstS: number;
  growth: number;
  mostS: number;
  /** Whether it starts anew with each observed change. */
  restarts: boolean;
}

/** The fallback of the Noxus SDK, which follows the event stream first, if there is one. */
export const FIXED = schedule({
  name: 'fixed 5 s (SDK fallback)',
  firstS: 5,
  growth: 1,
  mostS: 5,
  restarts: false,
});

/** The policy of careful scripts. */
export const BACKOFF = schedule({
  name: 'backoff 1 s × 1.5 to 60 s',
  firstS: 1,
  growth: 1.5,
  mostS: 60,
  restarts: false,
});

/** For users that follow progress: backoff that starts anew with each change. */
export const RESTARTING = schedule({
  name: 'backoff, anew at each change',
  firstS: 1,
  growth: 1.5,
  mostS: 60,
  restarts: true,
});

export function schedule({ name, firstS, growth, mostS, restarts }: Schedule): Policy {
  function follow(): Follower {
    let intervalS = firstS;
    let seen: { status: string; progress: number } | null = null;
    return {
      look({ run, now, fails }) {
        const shown = fails ? seen : shownAt(run, now);
        const started = seen?.status === 'queued' && shown?.status === 'running' ? 1 : 0;
        const moved = seen !== null && shown !== null && shown.progress !== seen.progress ? 1 : 0;
        const isFirst = seen === null;
        seen = shown;
        if (!fails && now >= run.finished) return { nextAt: null, updates: started + moved };
        const waitS = restarts && started + moved > 0 ? firstS : intervalS;
        intervalS = Math.min(mostS, waitS * (isFirst && fails ? 1 : growth));
        return { nextAt: now + waitS, updates: started + moved };
      },
      deadline: (dueAt) => dueAt,
    };
  }
  return { name, follow };
}
