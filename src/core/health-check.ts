/** The names of all checks of readiness. One that has nothing to say has no line, and is ok. */
export const CHECKS = [
  'redis',
  'data directory',
  'log',
  'descriptors',
  'store',
  'memory',
  'poll workers',
  'delivery worker',
  'sources',
  'polls',
  'discovery',
  'endpoints',
  'configuration',
] as const;

/** `degraded` needs attention but serves; only `failed` makes the process unready. */
export interface HealthCheck {
  name: string;
  status: 'ok' | 'degraded' | 'failed';
  detail: string;
}
