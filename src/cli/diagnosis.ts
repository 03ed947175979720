import type { StoreView } from '../client/types.ts';

/** The result of one check. */
export interface Diagnosis {
  name: string;
  /** `note`: it does not count. */
  status: 'ok' | 'note' | 'warning' | 'problem';
  detail: string;
  /** What to do about it, in lines; null where nothing is wrong, or the detail says it. */
  cure: string | null;
}

/** What is found of a Redis, whether its daemon was asked or the server itself. */
export function serverChecks(server: NonNullable<StoreView['server']>): Diagnosis[] {
  const { policy, persistence, version } = server;
  const isSafe = policy === 'noeviction';
  const isKept = persistence !== 'none';
  return [
    {
      name: 'redis policy',
      status: isSafe ? 'ok' : 'problem',
      detail: `version ${version}, maxmemory-policy ${policy}`,
      cure: isSafe ? null : 'set maxmemory-policy noeviction, or Redis drops what it is to keep',
    },
    {
      name: 'redis persistence',
      status: persistence === 'append_only_file' ? 'ok' : 'warning',
      detail: PERSISTENCE[persistence] ?? persistence,
      cure: isKept && persistence !== 'snapshots' ? null : 'set appendonly yes',
    },
  ];
}

const PERSISTENCE: Record<string, string> = {
  append_only_file: 'append-only file: a restart loses nothing',
  snapshots: 'snapshots only: a restart loses what came since the last',
  none: 'nothing on disk: a restart loses everything',
};
