import type { LookupAddress } from 'node:dns';
import { lookup as resolveHost, Resolver } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import type { Duplex } from 'node:stream';
import { callbackify } from 'node:util';

/** Every address of a host name. */
export type Resolve = (hostname: string) => Promise<LookupAddress[]>;

/** Whether the name servers of a host say anything about it. Takes no thread. */
type Probe = (hostname: string) => Promise<boolean>;

/** Name servers that say nothing for this time are taken for silent, ms. */
const PROBE_MS = 1_500;
/** A lookup of this time or longer shows that a name's servers are silent, ms. */
const SLOW_MS = 2_000;
/** A receiver's name is not looked up for this time after its name servers were silent, ms. */
const REMEMBERED_MS = 30_000;
/** How long a lookup waits for its turn where the name servers are silent, ms. */
const TURN_MS = 5_000;
/** How long the answer to a lookup may take before the last good addresses serve, ms. */
const PATIENCE_MS = 250;
/** How long the last good addresses may serve, ms. */
const LAST_GOOD_MS = 300_000;
/** Names that are remembered. */
const MOST_NAMES = 4_096;

interface Known {
  /** The lookup that is under way. */
  pending: Promise<LookupAddress[]> | null;
  /** The last answer, for names of our own. */
  lastGood: { addresses: LookupAddress[]; at: number } | null;
  /** Why the last lookup failed, and when; only where that took its time. */
  silent: { error: unknown; at: number } | null;
  /** Whether the last lookup took its time although the name servers answered before. */
  isSlow: boolean;
}

/**
 * Looks host names up. The system's resolver blocks one of Node's four threads, for ten seconds where a
 * name server is silent, and files, compression and other lookups wait for a thread. So at most three
 * lookups hold one: one of receivers, one of names of our own (sources, Redis), and one of names whose
 * servers did not answer a question that takes no thread.
 */
export class Names {
  readonly #resolve: Resolve;
  readonly #probe: Probe;
  /** A monotonic clock, ms. */
  readonly #now: () => number;
  readonly #known = new Map<string, Known>();
  readonly #receivers = new Turns();
  readonly #own = new Turns();
  readonly #silent = new Turns();

  constructor(
    resolve: Resolve = bySystem,
    probe: Probe = byNameServer,
    now: () => number = () => performance.now(),
  ) {
    this.#resolve = resolve;
    this.#probe = probe;
    this.#now = now;
  }

  /** The addresses of a receiver's host. A name whose servers were silent fails at once for 30 s. */
  readonly ofReceiver: Resolve = async (host) => {
    const { silent } = this.#entry(host);
    if (silent !== null && this.#now() - silent.at < REMEMBERED_MS) throw silent.error;
    return this.#ask(host, this.#receivers);
  };

  /**
   * The addresses of a source or of Redis. Where the answer is not there at once, the last good addresses
   * serve, for five minutes at most and never after a connection was refused.
   */
  async ofOwn(host: string): Promise<LookupAddress[]> {
    const answer = this.#ask(host, this.#own);
    const { lastGood } = this.#entry(host);
    if (lastGood === null || this.#now() - lastGood.at >= LAST_GOOD_MS) return answer;
    return Promise.race([
      answer.catch(() => lastGood.addresses),
      new Promise<LookupAddress[]>((resolve) => {
        setTimeout(resolve, PATIENCE_MS, lastGood.addresses).unref();
      }),
    ]);
  }

  /** Notices a connection to a host of our own that is refused. @returns the connection */
  watched<Connection extends Duplex>(connection: Connection, host: string): Connection {
    connection.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED') this.#refused(host);
    });
    return connection;
  }

  /** {@link ofOwn} as connections ask for it. */
  readonly lookupOwn: LookupFunction = (hostname, options, callback) => {
    callbackify(this.ofOwn.bind(this))(hostname, (error, found) => {
      if (error !== null) callback(error, '');
      else answerLookup(found, { hostname, options, callback });
    });
  };

  /** Its last good addresses are of use no more. */
  #refused(host: string): void {
    const known = this.#known.get(host);
    if (known !== undefined) known.lastGood = null;
  }

  #entry(host: string): Known {
    const known = this.#known.get(host) ?? {
      pending: null,
      lastGood: null,
      silent: null,
      isSlow: false,
    };
    this.#known.delete(host);
    this.#known.set(host, known);
    if (this.#known.size > MOST_NAMES) this.#forgetOldest();
    return known;
  }

  #forgetOldest(): void {
    for (const [host, { pending }] of this.#known) {
      if (pending !== null) continue;
      this.#known.delete(host);
      return;
    }
  }

  /** One lookup of a name at a time, which all that ask for it share. */
  #ask(host: string, turns: Turns): Promise<LookupAddress[]> {
    const known = this.#entry(host);
    known.pending ??= this.#lookUp(host, known, turns).finally(() => (known.pending = null));
    return known.pending;
  }

  async #lookUp(host: string, known: Known, turns: Turns): Promise<LookupAddress[]> {
    // These are answered by this machine, without a name server.
    if (isIP(host) !== 0 || isLocalName(host)) return this.#resolve(host);
    const isSilent = known.isSlow || !(await this.#probe(host));
    let startedAt = this.#now();
    let end: (() => void) | null = null;
    try {
      const isFirst = turns === this.#own;
      end = await (isSilent ? this.#silent.next({ isFirst, waitMs: TURN_MS }) : turns.next());
      startedAt = this.#now();
      const addresses = await this.#resolve(host);
      Object.assign(known, { lastGood: { addresses, at: this.#now() }, silent: null });
      return addresses;
    } catch (error) {
      const isSlow = end === null || this.#now() - startedAt >= SLOW_MS;
      known.silent = isSlow ? { error, at: this.#now() } : null;
      throw error;
    } finally {
      known.isSlow = end !== null && this.#now() - startedAt >= SLOW_MS;
      end?.();
    }
  }
}

/** Names that mean this machine whatever a resolver says (RFC 6761, section 6.3). */
export function isLocalName(host: string): boolean {
  return /^(?:.+\.)?localhost\.?$/i.test(host);
}

interface LookupCall {
  hostname: string;
  options: Parameters<LookupFunction>[1];
  callback: Parameters<LookupFunction>[2];
}

/** Answers a lookup of Node's with the addresses of the family that it wants. */
export function answerLookup(
  found: readonly LookupAddress[],
  { hostname, options, callback }: LookupCall,
): void {
  const wanted = options.family;
  const matching = found.filter(
    ({ family }) => (wanted !== 4 && wanted !== 6) || family === wanted,
  );
  const [first] = matching;
  if (first === undefined) {
    const error = Object.assign(new Error(`no address for ${hostname}`), { code: 'ENOTFOUND' });
    return callback(error, '');
  }
  if (options.all === true) callback(null, matching);
  else callback(null, first.address, first.family);
}

/** Work that goes on one at a time. */
class Turns {
  #isTaken = false;
  readonly #waiting: (() => void)[] = [];

  /**
   * Waits for the turn. Fails with the code `EAI_AGAIN` where that takes longer than `waitMs`.
   * @returns ends the turn
   */
  async next({ isFirst = false, waitMs = null }: TurnOptions = {}): Promise<() => void> {
    if (this.#isTaken) await this.#wait(isFirst, waitMs);
    this.#isTaken = true;
    return () => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#isTaken = false;
      else next();
    };
  }

  #wait(isFirst: boolean, waitMs: number | null): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer =
        waitMs === null ? undefined : setTimeout(giveUp, waitMs, this.#waiting, go, reject).unref();
      function go(): void {
        clearTimeout(timer);
        resolve();
      }
      if (isFirst) this.#waiting.unshift(go);
      else this.#waiting.push(go);
    });
  }
}

interface TurnOptions {
  isFirst?: boolean;
  waitMs?: number | null;
}

function giveUp(waiting: (() => void)[], go: () => void, reject: (error: Error) => void): void {
  const at = waiting.indexOf(go);
  if (at < 0) return;
  waiting.splice(at, 1);
  // As Node says it of a lookup that no name server answers.
  reject(Object.assign(new Error('no name server answers'), { code: 'EAI_AGAIN' }));
}

function bySystem(hostname: string): Promise<LookupAddress[]> {
  return resolveHost(hostname, { all: true });
}

/** Any answer counts, also that there is no such name: the system may know it from elsewhere. */
async function byNameServer(hostname: string): Promise<boolean> {
  const resolver = new Resolver({ timeout: PROBE_MS, tries: 1 });
  const timer = setTimeout(() => resolver.cancel(), PROBE_MS);
  const answers = await Promise.allSettled([
    resolver.resolve4(hostname),
    resolver.resolve6(hostname),
  ]);
  clearTimeout(timer);
  return answers.every((answer) => answer.status === 'fulfilled' || !isSilence(answer.reason));
}

function isSilence(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === 'ETIMEOUT' || code === 'ECANCELLED';
}
