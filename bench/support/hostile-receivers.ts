import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { listenRaw } from '../../test/support/raw-server.ts';
import type { BenchContext } from './context.ts';

const GIBIBYTE = 1_073_741_824;

const MEBIBYTE = 1_048_576;

/** Zeroes shrink to a thousandth; members of a gzip file may follow one another (RFC 1952, 2.2). */
const BOMB_MEMBER_BYTES = 64 * MEBIBYTE;
const BOMB_MEMBER = gzipSync(Buffer.alloc(BOMB_MEMBER_BYTES));

/** Harmful receivers. */
const MALICE = {
  'drips its answer, a byte a second': (socket: Socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n');
    every(socket, 1_000, 'x');
  },
  'drips its head, a byte a second': (socket: Socket) => {
    socket.write('HTTP/1.1 200 OK\r\nx: ');
    every(socket, 1_000, 'x');
  },
  'sends headers without end': (socket: Socket) => {
    socket.write('HTTP/1.1 200 OK\r\n');
    flood(socket, Buffer.from(`x-filler: ${'x'.repeat(1_000)}\r\n`.repeat(64)), Infinity);
  },
  'sends headers without end, slowly': (socket: Socket) => {
    socket.write('HTTP/1.1 200 OK\r\n');
    every(socket, 50, 'x-filler: x\r\n');
  },
  'answers with 1 GiB': (socket: Socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${GIBIBYTE}\r\n\r\n`);
    flood(socket, Buffer.alloc(MEBIBYTE), GIBIBYTE / MEBIBYTE);
  },
  'answers with a gzip bomb of 1 GiB': (socket: Socket) => {
    const times = GIBIBYTE / BOMB_MEMBER_BYTES;
    const head = `content-encoding: gzip\r\ncontent-length: ${BOMB_MEMBER.length * times}`;
    socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n`);
    flood(socket, BOMB_MEMBER, times);
  },
};

/** A harmful receiver, and how long each connection to it lasted. */
export interface HostileReceiver {
  name: string;
  url: string;
  connections(): number;
  /** From the first byte of a request to the end of its connection, the longest, ms. */
  longestMs(): number;
}

export async function startHostileReceivers(context: BenchContext): Promise<HostileReceiver[]> {
  return Promise.all(
    Object.entries(MALICE).map(async ([name, answer]) => {
      let longestMs = 0;
      const server = await listenRaw((socket) => {
        socket.once('data', () => {
          const startedAt = performance.now();
          socket.once('close', () => {
            longestMs = Math.max(longestMs, performance.now() - startedAt);
          });
          socket.resume();
          answer(socket);
        });
      });
      context.onEnd(() => server.close());
      return {
        name,
        url: `${server.origin}/hook`,
        connections: server.connects,
        longestMs: () => longestMs,
      };
    }),
  );
}

function every(socket: Socket, ms: number, text: string): void {
  const timer = setInterval(() => socket.write(text), ms);
  socket.once('close', () => clearInterval(timer));
}

/** Writes as much as the other side takes. */
function flood(socket: Socket, chunk: Buffer, times: number): void {
  let left = times;
  const pump = () => {
    while (left > 0 && !socket.destroyed) {
      left -= 1;
      if (!socket.write(chunk)) return;
    }
  };
  socket.on('drain', pump);
  pump();
}
