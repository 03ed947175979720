import type { EventStreams } from '../../core/feed/run-stream.ts';
import type { PollResult } from '../../core/run/snapshot.ts';
import { createNoxusClient } from '../../noxus/client.ts';
import { runRequest } from '../../noxus/run.ts';
import { createEventStreams } from '../../noxus/event-stream.ts';

/** Reads runs straight from Noxus. */
export interface RunReader {
  /** Absent where no event streams are followed. */
  follow?: EventStreams['follow'];
  readRun(runId: string, options: { signal: AbortSignal }): Promise<PollResult>;
  close(): void;
}

export interface RunReaderSettings {
  baseUrl: string;
  apiKey: string;
  timeoutMs: number;
  userAgent: string;
  /** Connections for reads, and for event streams: as many may be open at once. */
  maxSockets: number;
  maxStreams: number;
  proxy: string | undefined;
}

export function createRunReader(settings: RunReaderSettings): RunReader {
  const client = createNoxusClient(settings);
  const streams = createEventStreams({
    ...settings,
    maxSockets: settings.maxStreams,
    now: Date.now,
  });
  return {
    readRun: (runId, options) => client.send(runRequest(runId), options),
    follow: streams.follow,
    close() {
      client.close();
      streams.close();
    },
  };
}
