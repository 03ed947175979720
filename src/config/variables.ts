import { problemWith, type ConfigProblem } from './problem.ts';
import { suggest } from './suggest.ts';

/** Every variable of the product; each may also name a file, as `NAME_FILE`. */
const KNOWN = [
  'RUNWATCH_API_TOKEN',
  'RUNWATCH_CONFIG',
  'RUNWATCH_DATA_DIR',
  'RUNWATCH_EGRESS_ALLOW',
  'RUNWATCH_ENCRYPTION_KEY',
  'RUNWATCH_HOST',
  'RUNWATCH_LOG_LEVEL',
  'RUNWATCH_PORT',
  'RUNWATCH_PUBLIC_URL',
  'RUNWATCH_SIGNING_SECRET',
  'RUNWATCH_URL',
  'RUNWATCH_WEBHOOK_SECRET',
  'RUNWATCH_WEBHOOK_URL',
];

/**
 * Variables that Kubernetes sets in every pod for a Service with a name that begins with runwatch.
 * Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
const SERVICE_LINK = /_(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP|SCTP))(_\w+)?$/;

/** True for the address that Kubernetes gives as `RUNWATCH_PORT` and the like. */
export function isServiceLink(value: string): boolean {
  return /^(tcp|udp|sctp):\/\/.+:\d+$/.test(value);
}

/**
 * Variables that look like ours and have no effect.
 * @param referenced the names that the file asks for
 */
export function unknownVariables(
  env: NodeJS.ProcessEnv,
  referenced: ReadonlySet<string>,
): ConfigProblem[] {
  const known = new Set([...KNOWN, ...referenced]);
  return Object.entries(env).flatMap(([name, value = '']) => {
    if (!name.startsWith('RUNWATCH_') || value.trim() === '') return [];
    if (known.has(name) || known.has(name.replace(/_FILE$/, ''))) return [];
    if (SERVICE_LINK.test(name) || isServiceLink(value)) return [];
    const meant = suggest(name, [...KNOWN, ...KNOWN.map((one) => `${one}_FILE`)]);
    const hint = meant === null ? '' : ` (did you mean ${meant}?)`;
    return [problemWith(name, `there is no such variable, so it has no effect${hint}`)];
  });
}
