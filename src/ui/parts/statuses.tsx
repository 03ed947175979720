import { countText, statusText } from './format.ts';
import { toneOf } from './status.tsx';

/** In the order in which they are drawn; others come last. */
const STATUSES = [
  'completed',
  'stopped',
  'cancelled',
  'failed',
  'gone',
  'expired',
  'awaiting_human_feedback',
  'running',
  'queued',
];

const placeOf = (status: string) => STATUSES.indexOf(status) + 1 || STATUSES.length + 1;

/** How many runs have which status, as far as any has it, in the order in which they are drawn. */
export function inOrder(counts: Readonly<Record<string, number>>): [string, number][] {
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .sort(([one], [other]) => placeOf(one) - placeOf(other));
}

/** Runs as one bar, a stretch for each status. */
export function Statuses({ counts }: { counts: Readonly<Record<string, number>> }) {
  const shown = inOrder(counts);
  const text = shown.map(([status, count]) => `${countText(count)} ${statusText(status)}`);
  if (shown.length === 0) return <span class="faint">–</span>;
  return (
    <span class="statuses" role="img" aria-label={text.join(', ')} title={text.join(', ')}>
      {shown.map(([status, count]) => (
        <span key={status} class={`tone-${toneOf(status)}`} style={{ flexGrow: count }} />
      ))}
    </span>
  );
}
