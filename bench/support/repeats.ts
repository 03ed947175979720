/** How long after an answer its result may take to be written, ms. */
const COMMIT_WITHIN_MS = 3_000;

/** Clocks of two processes on one machine, and timers, agree this well, ms. */
const SLACK_MS = 50;

/** A webhook as its receiver saw it. Times are milliseconds since the epoch. */
export interface SeenRequest {
  /** The daemon that sent it. */
  daemon: number;
  at: number;
  /** When it was answered, or cut by its sender at the latest. */
  until: number;
  /** Whether the answer was success. */
  taken: boolean;
}

/** A kill of a process. Times are milliseconds since the epoch. */
export interface Kill {
  victim: number | 'redis';
  at: number;
  /** The end of its effects; for Redis, when it was back. */
  until: number;
}

/** An attempt in the store. */
interface RecordedAttempt {
  at: number;
  durationMs: number;
  error: unknown;
}

/** All data on one event at one endpoint. */
export interface Story {
  requests: SeenRequest[];
  attempts: RecordedAttempt[];
  /** Number of its redeliveries by the operator. */
  askedFor: number;
}

/** Repeated events, and whether each repeat has a reason. */
export interface Repeats {
  /** Requests under way when a process was killed, and without a written result by then. */
  cutOff: number;
  /** Requests without a written result although no process was killed. */
  unrecorded: SeenRequest[];
  /** How often the receiver took it again without a redelivery. */
  repeats: number;
  /** Repeats without a request that a kill cut off, and without an answer that came too late. */
  unexplained: number;
}

/** Compares the requests that a receiver saw with the recorded attempts. */
export function judgeRepeats({ requests, attempts, askedFor }: Story, kills: Kill[]): Repeats {
  const taken = requests.filter((request) => request.taken);
  const lost = requests.filter((request) => !attempts.some((one) => isOf(one, request)));
  const cutOff = lost.filter((request) => kills.some((kill) => wasCutOff(request, kill)));
  const rest = lost.filter((request) => !cutOff.includes(request));
  const outages = kills.filter(({ victim }) => victim === 'redis');
  const heldUp = requests.filter(
    (request) => !lost.includes(request) && outages.some((one) => wasHeldUp(request, one, rest)),
  );
  // The late write settled the event, so the result of a request made meanwhile is void.
  const unrecorded = rest.filter((request) => !heldUp.some(({ at }) => at < request.at));
  // The sender did not wait long enough for the answer, so it had to try again.
  const late = taken.filter((request) =>
    attempts.some((one) => one.error !== null && isOf(one, request)),
  );
  const repeats = Math.max(0, taken.length - 1 - askedFor);
  const onTheirWay = [...cutOff, ...heldUp];
  const explained = onTheirWay.filter((request) => request.taken).length + late.length;
  return {
    cutOff: onTheirWay.length,
    unrecorded,
    repeats,
    unexplained: Math.max(0, repeats - explained),
  };
}

/** Whether a receiver had not answered a request yet when a process was killed. */
export function wasOpen({ daemon, at, until }: SeenRequest, kill: Kill): boolean {
  return isOfVictim(daemon, kill) && at <= kill.at && until > kill.at;
}

/** Kills within this many ms of a request, each with its time after the request's answer. */
export function killsAround({ at, until }: SeenRequest, kills: Kill[], withinMs: number): string[] {
  return kills
    .filter((kill) => kill.at - until < withinMs && at - kill.until < withinMs)
    .map((kill) => `${kill.victim} ${kill.at - until} ms after, for ${kill.until - kill.at} ms`);
}

/** An attempt lasts from before its request is seen to after its answer. */
function isOf({ at, durationMs }: RecordedAttempt, request: SeenRequest): boolean {
  return request.at >= at - SLACK_MS && request.at <= at + durationMs + SLACK_MS;
}

function wasCutOff({ daemon, at, until }: SeenRequest, kill: Kill): boolean {
  return isOfVictim(daemon, kill) && at <= kill.until && until >= kill.at - COMMIT_WITHIN_MS;
}

/**
 * Whether a result was written only after Redis was back. Its request was open when Redis was
 * killed, or had been answered just before. In the latter case the event was sent once more.
 */
function wasHeldUp(request: SeenRequest, outage: Kill, sentAgain: SeenRequest[]): boolean {
  if (request.at > outage.at) return false;
  return (
    wasOpen(request, outage) ||
    (wasCutOff(request, outage) && sentAgain.some(({ at }) => at > outage.at))
  );
}

function isOfVictim(daemon: number, { victim }: Kill): boolean {
  return victim === 'redis' || victim === daemon;
}
