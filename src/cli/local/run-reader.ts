import type { EventStreams } from '../../core/feed/run-stream.ts';
import { readRunUrl } from '../../core/run/run-address.ts';
import { canonicalRunId, type PollResult } from '../../core/run/snapshot.ts';
import { noxusHeaders, openNoxus } from '../../noxus/port.ts';
import { runRequest } from '../../noxus/run.ts';
import { NOXUS_TRAITS } from '../../noxus/traits.ts';

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

/** The id of a run of Noxus that a text is, or its URL holds; null for what is of no run. */
export function noxusIdOf(text: string): string | null {
  const url = readRunUrl(text);
  const id = url === null ? text : NOXUS_TRAITS.idInUrl(url);
  return id === null || NOXUS_TRAITS.idProblem(id) !== null ? null : canonicalRunId(id);
}

/** Where a run of Noxus is read, below the base URL. */
export function noxusPathOf(runId: string): string {
  return runRequest(runId).path;
}

export function createRunReader({ apiKey, ...settings }: RunReaderSettings): RunReader {
  const port = openNoxus({ ...settings, headers: noxusHeaders(apiKey) });
  const { streams } = port;
  return {
    readRun: (runId, options) => port.readRun(runId, options),
    ...(streams !== null && { follow: streams.follow }),
    close: () => port.close(),
  };
}
