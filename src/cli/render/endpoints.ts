import type { CliContext } from '../context.ts';
import type { EndpointView } from '../client/wire.ts';
import { paint } from './paint.ts';
import { renderTable, type Column } from './table.ts';
import { relative, roughly } from './text.ts';

type Health = EndpointView['health'];

export function renderEndpoints(endpoints: readonly EndpointView[], context: CliContext): string {
  const now = context.now();
  const { colors } = context.io.stdout;
  const columns: Column<EndpointView>[] = [
    { head: 'NAME', value: (endpoint) => endpoint.name },
    { head: 'TYPE', value: (endpoint) => endpoint.type },
    { head: 'DEFAULT', value: (endpoint) => (endpoint.default ? 'yes' : '-') },
    {
      head: 'HEALTH',
      value: ({ health }) => healthText(health, now),
      paint: (text, { health }) => paint(text, health.state, colors),
    },
    { head: 'NEXT PROBE', value: ({ health }) => relative(health.next_probe_at, now) },
    { head: 'DELIVERED', value: counted('delivered'), align: 'right' },
    { head: 'PENDING', value: counted('pending'), align: 'right' },
    { head: 'PARKED', value: counted('parked'), align: 'right' },
    { head: 'SKIPPED', value: counted('skipped'), align: 'right' },
    {
      head: 'DEAD',
      value: counted('dead'),
      paint: (text, endpoint) => ((endpoint.counts['dead'] ?? 0) > 0 ? colors.red(text) : text),
      align: 'right',
    },
    { head: 'URL', value: (endpoint) => endpoint.url ?? '-' },
    { head: 'EVENTS', value: (endpoint) => endpoint.events?.join(' ') ?? '(default)' },
  ];
  return renderTable(endpoints, columns, context.io.stdout);
}

function counted(state: string): (endpoint: EndpointView) => string {
  return (endpoint) => String(endpoint.counts[state] ?? 0);
}

/** Why an endpoint is disabled, for people; a reason that is newer than this program is told as it is. */
const REASONS: Record<string, string> = {
  gone: 'answered 410',
  failing: 'only failures for five days',
};

/**
 * How an endpoint does, with what there is to add: `failing for 5m`, `disabled (answered 410)`.
 * @param now milliseconds since the epoch
 */
export function healthText(health: Health, now: number): string {
  const since = health.failing_since === null ? null : now - Date.parse(health.failing_since);
  const throttledMs =
    health.throttled_until === null ? 0 : Date.parse(health.throttled_until) - now;
  const reason = health.reason === null ? '' : ` (${REASONS[health.reason] ?? health.reason})`;
  const failing = since === null ? '' : failingText(health.state, since);
  const throttled = throttledMs > 0 ? `, throttled for ${roughly(throttledMs)}` : '';
  return `${health.state}${reason}${failing}${throttled}`;
}

/** An endpoint may be active and its latest attempts may have failed. */
function failingText(state: string, ms: number): string {
  return state === 'failing' ? ` for ${roughly(ms)}` : `, failing for ${roughly(ms)}`;
}
