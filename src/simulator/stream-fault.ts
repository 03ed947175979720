import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Fault } from './fault.ts';
import { openStream } from './run-events.ts';
import { PRIVATE_CANARY } from './wire-run.ts';

const STREAM_FAULTS = ['silence', 'drop', 'endless_line'] as const;

type StreamFault = Extract<Fault, { kind: (typeof STREAM_FAULTS)[number] }>;

/** True for faults that are meant for streams. */
export function isStreamFault(fault: Fault): fault is StreamFault {
  return STREAM_FAULTS.some((kind) => kind === fault.kind);
}

export async function spoilStream(response: ServerResponse, fault: StreamFault): Promise<void> {
  openStream(response);
  switch (fault.kind) {
    case 'silence':
      return;
    case 'drop':
      response.destroy();
      return;
    case 'endless_line':
      // Clients are meant to hang up on this.
      await pipeline(Readable.from(endlessLine()), response).catch(() => undefined);
  }
}

function* endlessLine(): Generator<string> {
  yield 'data: ';
  for (;;) yield PRIVATE_CANARY.repeat(1_000);
}
