import { refusal } from './problem.ts';

/** Each open stream holds a connection and a reader of the event log. */
const MAX_STREAMS = 100;

/** One token leaves room for the others. */
const MAX_STREAMS_OF_TOKEN = MAX_STREAMS / 4;

/** The places of event streams, which are limited. */
export interface StreamPlaces {
  /**
   * Takes a place, before anything is awaited: what is counted later lets any number through.
   * Throws RunwatchError `too_many_streams`, `closing`.
   * @param tokenName null without tokens
   * @returns aborts when the server closes
   */
  take(tokenName: string | null): AbortController;
  leave(stream: AbortController): void;
  /** Ends all streams; no place is given any more. */
  close(): void;
}

export function createStreamPlaces(): StreamPlaces {
  const open = new Map<AbortController, string | null>();
  let isClosed = false;
  return {
    take(tokenName) {
      if (isClosed) throw refusal('closing', 'this process is ending; connect again');
      if (open.size >= MAX_STREAMS) {
        throw refusal('too_many_streams', `this server keeps up to ${MAX_STREAMS} streams open`);
      }
      const own = [...open.values()].filter((name) => name === tokenName).length;
      if (tokenName !== null && own >= MAX_STREAMS_OF_TOKEN) {
        const most = `one token holds up to ${MAX_STREAMS_OF_TOKEN} of ${MAX_STREAMS} streams`;
        throw refusal('too_many_streams', `${most}, and "${tokenName}" has that many open`);
      }
      const stream = new AbortController();
      open.set(stream, tokenName);
      return stream;
    },
    leave(stream) {
      open.delete(stream);
    },
    close() {
      isClosed = true;
      for (const stream of open.keys()) stream.abort();
    },
  };
}
