import type { Stats } from 'node:fs';

const ROOT = 0;
const WRITABLE_BY_ALL = 0o002;

/** The allowed owners of a file or directory besides root, and its name in messages. */
interface Trust {
  path: string;
  stats: Pick<Stats, 'uid' | 'mode'>;
  /** Undefined where users have no ids. */
  uids: readonly (number | undefined)[];
}

/**
 * Why a file or directory that another user of the machine may have put there is refused, with the
 * cure; null where it is trusted. Group-writable is allowed: volumes of Kubernetes are (`fsGroup`).
 */
export function distrust({ path, stats: { uid, mode }, uids }: Trust): string | null {
  const [self] = uids;
  if (self === undefined) return null;
  if (uid !== ROOT && !uids.includes(uid)) {
    return `${path} belongs to user ${uid}, neither to this user (${self}) nor to root: chown ${self} ${path}`;
  }
  if ((mode & WRITABLE_BY_ALL) === 0) return null;
  return `every user of this machine may write to ${path}: chmod o-w ${path}`;
}

/** The ids of this process's user, and of the user behind sudo. */
export function ownUids(env: NodeJS.ProcessEnv): number[] {
  const self = process.getuid?.();
  if (self === undefined) return [];
  const sudo = Number(env['SUDO_UID'] || NaN);
  return Number.isInteger(sudo) ? [self, sudo] : [self];
}
