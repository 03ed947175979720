import { createServer, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { BenchContext } from '../support/context.ts';
import { serve } from '../support/serve.ts';

/** A document as runs carry them: many small objects with some text. */
const PIECE = Buffer.from(`{"id":"part","text":"${'x'.repeat(900)}","score":[1,2,3]},`.repeat(64));

interface LargeRun {
  status: string;
  bytes: number;
}

/** A Noxus with runs that have an input of any size, in front of all that matters. */
export interface LargeNoxus {
  url: string;
  add(id: string, bytes: number): void;
  setStatus(id: string, status: string): void;
  /** How often a run has been read to its end. */
  reads(id: string): number;
}

export async function startLargeNoxus(context: BenchContext): Promise<LargeNoxus> {
  const runs = new Map<string, LargeRun>();
  const reads = new Map<string, number>();

  async function answer(id: string, run: LargeRun, response: ServerResponse): Promise<void> {
    response.writeHead(200, { 'content-type': 'application/json' });
    // A client that hangs up is not this server's concern.
    await pipeline(Readable.from(bodyOf(id, run)), response).catch(() => undefined);
    reads.set(id, (reads.get(id) ?? 0) + 1);
  }

  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    const id = /^\/v1\/runs\/([\w-]+)$/.exec(request.url ?? '')?.[1] ?? '';
    const run = runs.get(id);
    if (run === undefined) response.writeHead(404).end('{"detail":"Not Found"}');
    else void answer(id, run, response);
  });
  const url = await serve(context, server);
  return {
    url,
    add: (id, bytes) => void runs.set(id, { status: 'running', bytes }),
    setStatus: (id, status) => void runs.set(id, { bytes: runs.get(id)?.bytes ?? 0, status }),
    reads: (id) => reads.get(id) ?? 0,
  };
}

function* bodyOf(id: string, { status, bytes }: LargeRun): Generator<Buffer> {
  yield Buffer.from('{"input":{"parts":[');
  for (let sent = 0; sent < bytes; sent += PIECE.length) yield PIECE;
  yield Buffer.from(`{}]},${JSON.stringify(wireRun(id, status)).slice(1)}`);
}

function wireRun(id: string, status: string): Record<string, unknown> {
  const now = new Date().toISOString();
  return {
    id,
    group_id: '6a0d3c52-8f1e-4b7a-9c2d-51e7f0a94b30',
    workflow_id: '5f0c2b7e-3a4d-4c55-9a53-0c1d2e3f4a5b',
    status,
    progress: 10,
    created_at: now,
    started_at: now,
    finished_at: status === 'running' ? null : now,
  };
}
