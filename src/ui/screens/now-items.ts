import type { Attention } from '../api/types.ts';
import { href, runPath } from '../app/router.ts';
import { plural } from '../parts/format.ts';
import type { Tone } from '../parts/status.tsx';
import { workflowText } from '../parts/workflows.ts';

/** Something that needs a person, as it is shown. */
export interface Item {
  name: string;
  tone: Tone;
  what: string;
  detail: string;
  /** Where it is seen to; null where there is no screen for it. */
  to: string | null;
  canAcknowledge: boolean;
}

const KINDS: Readonly<Record<string, { name: string; tone: Tone }>> = {
  awaiting: { name: 'Awaits feedback', tone: 'warn' },
  stalled: { name: 'Stalled', tone: 'warn' },
  gone: { name: 'Gone', tone: 'bad' },
  unreachable: { name: 'Unreachable', tone: 'bad' },
  alert: { name: 'Alert', tone: 'bad' },
  dead: { name: 'Dead delivery', tone: 'bad' },
  parked: { name: 'Parked', tone: 'warn' },
  endpoint: { name: 'Endpoint', tone: 'bad' },
  source: { name: 'Source', tone: 'bad' },
  overdue: { name: 'Polls overdue', tone: 'warn' },
  discovery: { name: 'Discovery', tone: 'warn' },
};

/** The kinds that there are any of, in the order of the contract. */
export function kindsOf(counts: Record<string, number>) {
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => ({ kind, count, name: KINDS[kind]?.name ?? kind }));
}

export function describe(item: Attention): Item {
  const known = KINDS[item.kind] ?? { name: item.kind, tone: 'warn' as const };
  const { run_id: id, source, message } = item;
  const place = placeOf(item);
  const isRun = id !== undefined && source !== undefined;
  const canAcknowledge =
    isAcknowledgeable(item.kind) && (isRun || typeof item['alert_id'] === 'string');
  return { ...known, ...place, detail: place.detail ?? message ?? '', canAcknowledge };
}

function isAcknowledgeable(kind: string): boolean {
  return /^(awaiting|stalled|gone|unreachable|alert)$/.test(kind);
}

interface Place {
  what: string;
  to: string | null;
  detail?: string;
}

function placeOf(item: Attention): Place {
  const { kind, run_id: id, source, endpoint } = item;
  if (typeof item['alert_id'] === 'string') return alertPlace(item, item['alert_id']);
  if (kind === 'dead' || kind === 'parked') return deliveryPlace(item);
  if (kind === 'endpoint') return { what: endpoint ?? 'endpoint', to: href('/endpoints') };
  if (id !== undefined && source !== undefined) {
    const workflow = workflowOf(item);
    const to = href(runPath({ run_id: id, source }));
    return { what: workflow === null ? id : `${workflow} · ${id}`, to };
  }
  return { what: source ?? kind, to: href('/system') };
}

function alertPlace(item: Attention, id: string): Place {
  const rule = typeof item['rule'] === 'string' ? item['rule'] : 'alert';
  const workflow = workflowOf(item);
  const to = href(`/alerts/${encodeURIComponent(id)}`);
  const detail =
    typeof item['count'] === 'number' ? `fires on ${plural(item['count'], 'event')}` : 'fires';
  return { what: workflow === null ? rule : `${rule} · ${workflow}`, to, detail };
}

function deliveryPlace({ kind, endpoint }: Attention): Place {
  return { what: endpoint ?? 'a receiver', to: href('/deliveries', { state: kind, endpoint }) };
}

function workflowOf({ workflow_name: name, workflow_id: id }: Attention): string | null {
  return name ?? (id == null ? null : workflowText(id));
}
