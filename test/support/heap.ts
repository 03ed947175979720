import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes of live objects after two collections. */
export function liveHeapBytes(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

/** Bytes of live objects and of the buffers that they hold. */
function heldBytes(): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** @returns by how much the most that the process held meanwhile exceeds what it held before */
export async function growthWhile(work: () => Promise<unknown>): Promise<number> {
  const before = heldBytes();
  let most = 0;
  let sampling: NodeJS.Timeout;
  const sample = () => {
    const startedAt = performance.now();
    most = Math.max(most, heldBytes() - before);
    // A collection takes long on a busy machine: what is measured gets most of the time.
    sampling = setTimeout(sample, SAMPLE_EVERY_MS + 10 * (performance.now() - startedAt));
  };
  sampling = setTimeout(sample, SAMPLE_EVERY_MS);
  try {
    await work();
  } finally {
    clearTimeout(sampling);
  }
  return most;
}

function collect(): void {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  gc();
  gc();
}

const SAMPLE_EVERY_MS = 500;

interface LargeBody {
  head: string;
  /** Number of bytes between head and tail, sent as one text. */
  bytes: number;
  tail: string;
}

/**
 * Answers with a large body.
 * @returns by how much its client, in this process, grew until all but the tail was read
 */
export async function growthByBody(
  response: ServerResponse,
  { head, bytes, tail }: LargeBody,
): Promise<number> {
  const piece = Buffer.alloc(65_536, 'x');
  response.writeHead(200, { 'content-type': 'application/json' });
  response.write(head);
  const before = heldBytes();
  for (let sent = 0; sent < bytes; sent += piece.length) {
    if (!response.write(piece)) await once(response, 'drain');
  }
  const growth = heldBytes() - before;
  response.end(tail);
  return growth;
}
