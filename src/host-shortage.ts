import { open } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { RunwatchError } from './core/errors.ts';

/**
 * What this host can run out of when it opens a connection, by the code of the system: descriptors of
 * the process, of the host, local ports, memory for sockets. Source: socket(2), connect(2).
 */
const SHORTAGES = ['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS'] as const;

export type HostShortage = (typeof SHORTAGES)[number];

/** A lookup that can open neither file nor socket ends like one that finds nothing. */
const LOOKUPS: ReadonlySet<unknown> = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'EAI_SYSTEM']);

/**
 * Throws RunwatchError `host_exhausted` where a connection failed because this host ran out of what it
 * takes. That says nothing about the other side.
 */
export async function throwIfExhausted(error: unknown): Promise<void> {
  const shortage = shortageIn(error) ?? (await shortageBehindLookup(error));
  if (shortage === null) return;
  throw new RunwatchError(`this host cannot open a connection (${shortage})`, {
    code: 'host_exhausted',
    retriable: true,
    cause: { code: shortage },
  });
}

export function isHostExhausted(error: unknown): boolean {
  return error instanceof RunwatchError && error.code === 'host_exhausted';
}

/** The fields of an error of Node, or of a library that wraps one. */
interface Failure {
  code?: unknown;
  errno?: unknown;
  address?: unknown;
  cause?: unknown;
  /** One for each address that was tried. */
  errors?: unknown[];
}

/** What the host lacked by an error; null where it failed for another reason. */
export function shortageIn(error: unknown): HostShortage | null {
  if (typeof error !== 'object' || error === null) return null;
  const { code, errno, address, cause, errors } = error as Failure;
  if (errors !== undefined) {
    const found = errors.map(shortageIn);
    return found.every((one) => one !== null) ? (found[0] ?? null) : null;
  }
  const named = typeof errno === 'number' && errno < 0 ? getSystemErrorName(errno) : undefined;
  const shortage = SHORTAGES.find((one) => one === code || one === named);
  if (shortage === undefined) return shortageIn(cause);
  return shortage === 'EADDRNOTAVAIL' && isOfAbsentFamily(address) ? null : shortage;
}

/** Without IPv6 no IPv6 address can ever be connected to, and that fails as if ports were short. */
function isOfAbsentFamily(address: unknown): boolean {
  if (typeof address !== 'string' || !address.includes(':')) return false;
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return own.every(({ family }) => family !== 'IPv6');
}

async function shortageBehindLookup(error: unknown): Promise<HostShortage | null> {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : null;
  if (!LOOKUPS.has(code)) return null;
  try {
    await (await open(process.execPath)).close();
    return null;
  } catch (failure) {
    return shortageIn(failure);
  }
}
