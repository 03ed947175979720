import { readFileSync } from 'node:fs';
import { messageOf } from '../core/errors.ts';
import { shortageIn, type HostShortage } from '../host-shortage.ts';
import type { Logger } from '../telemetry/logger.ts';

/** Work that a shortage stopped is tried again each second: so long without one, it is over, ms. */
const OVER_AFTER_MS = 5_000;

/** What this host has run out of, for readiness and the log. */
export interface HostShortages {
  /** Takes note of an error of work that this host could not open a connection for. */
  note(error: unknown): void;
  /** What is short, as text; null when nothing is. */
  trouble(): string | null;
}

/** @param monotonic ms of a clock that never steps */
export function createHostShortages({
  log,
  monotonic = () => performance.now(),
  descriptors = descriptorLimit(),
}: {
  log: Pick<Logger, 'warn'>;
  monotonic?: () => number;
  descriptors?: number | null;
}): HostShortages {
  let last: { shortage: HostShortage; at: number } | null = null;
  const isOver = () => last === null || monotonic() - last.at > OVER_AFTER_MS;
  return {
    note(error) {
      const shortage = shortageIn(error);
      if (shortage === null) return;
      const isNew = isOver() || last?.shortage !== shortage;
      last = { shortage, at: monotonic() };
      if (isNew)
        log.warn({ error: messageOf(error) }, `descriptors: ${textOf(shortage, descriptors)}`);
    },
    trouble: () => (last === null || isOver() ? null : textOf(last.shortage, descriptors)),
  };
}

function textOf(shortage: HostShortage, descriptors: number | null): string {
  const wait = 'polls and deliveries wait';
  switch (shortage) {
    case 'EMFILE': {
      const used = descriptors === null ? 'all' : `${descriptors} of ${descriptors}`;
      return `${used} are in use, ${wait}; raise the limit of open files (ulimit -n, LimitNOFILE)`;
    }
    case 'ENFILE':
      return `this host has none left, ${wait}; raise fs.file-max, or see which process holds them`;
    case 'EADDRNOTAVAIL':
      return `no local port is left, ${wait}; widen net.ipv4.ip_local_port_range`;
    case 'ENOBUFS':
      return `this host has no memory left for sockets, ${wait}; raise net.ipv4.tcp_mem`;
  }
}

/** How many descriptors this process may open; null where the system does not say. */
function descriptorLimit(): number | null {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    const [, soft] = /^Max open files\s+(\d+)/m.exec(limits) ?? [];
    return soft === undefined ? null : Number(soft);
  } catch {
    // Only Linux has it, and the text does without.
    return null;
  }
}
