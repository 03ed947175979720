import { RunwatchError } from '../core/errors.ts';

/** A reply by which a server that answers says that it does not serve, for now or to this user. */
export interface Refusal {
  /** The first word of the reply. Source: Redis 7, `server.c`, `acl.c`, `cluster.c`. */
  code: string;
  /** What is wrong, to follow "Redis refuses …: ". */
  reason: string;
}

const REASONS: Readonly<Record<string, string>> = {
  OOM: 'its memory is full (maxmemory)',
  MISCONF: 'it cannot write to its disk',
  READONLY: 'it is a read-only replica',
  NOREPLICAS: 'too few of its replicas follow (min-replicas-to-write)',
  MASTERDOWN: 'it is a replica that has lost its primary',
  LOADING: 'it is loading its data',
  BUSY: 'a script of another client keeps it busy',
  UNBLOCKED: 'it has changed its role',
  MOVED: 'another node of its cluster holds the keys',
  ASK: 'its cluster is moving the keys',
  TRYAGAIN: 'its cluster is moving the keys',
  CLUSTERDOWN: 'its cluster is down',
  NOPERM: 'its user lacks a right',
  NOAUTH: 'it asks for a password',
  WRONGPASS: 'it does not know this user and password',
};

/** Redis 6.2 puts the reply of a command behind where it stands in the script. */
const IN_SCRIPT = /^ERR Error running script .*@user_script: ?\d+: -?/;
/** Redis 7.0 words what 7.2 calls NOPERM. */
const NOT_IN_SCRIPT = /^ERR The user executing the script can't/;

/** What a reply refuses; null where it says something else. */
export function refusalOf({ message }: Error): Refusal | null {
  if (NOT_IN_SCRIPT.test(message)) return refusal('NOPERM');
  const [code = ''] = message.replace(IN_SCRIPT, '').split(' ', 1);
  return refusal(code);
}

function refusal(code: string): Refusal | null {
  const reason = Object.hasOwn(REASONS, code) ? REASONS[code] : undefined;
  return reason === undefined ? null : { code, reason };
}

/** For what failed because of a refusal; the message may be shown to users of the API. */
export function refusedError({ code, reason }: Refusal, cause?: unknown): RunwatchError {
  return new RunwatchError(`Redis refuses what it is asked: ${reason} (${code})`, {
    code: 'redis_refuses',
    retriable: true,
    cause,
  });
}
