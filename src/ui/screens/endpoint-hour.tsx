import type { DeliveryView } from '../../client/types.ts';
import { countText, lengthText, percentText } from '../parts/format.ts';
import { PAGE_SIZE } from '../parts/list.ts';

/** How a receiver did in one stretch of the last hour. */
interface Stretch {
  taken: number;
  failed: number;
  /** The median of how long its answers took, ms; null without any. */
  medianMs: number | null;
}

/** How a receiver did in the last hour, as far as the newest deliveries tell. */
interface Hour {
  stretches: readonly Stretch[];
  count: number;
  /** Share of what was tried that was taken; null without any. */
  successRate: number | null;
  medianMs: number | null;
  /** True where the hour had more deliveries than were read. */
  isCut: boolean;
}

const STRETCHES = 30;
const HOUR_MS = 3_600_000;

function hourOf(deliveries: readonly DeliveryView[], now: number): Hour {
  const recent = deliveries.filter(
    ({ created_at: at, last }) => last !== null && now - Date.parse(at) < HOUR_MS,
  );
  const buckets: DeliveryView[][] = Array.from({ length: STRETCHES }, () => []);
  for (const delivery of recent) {
    const share = 1 - (now - Date.parse(delivery.created_at)) / HOUR_MS;
    buckets[Math.max(0, Math.min(STRETCHES - 1, Math.floor(share * STRETCHES)))]?.push(delivery);
  }
  const taken = recent.filter(isTaken).length;
  return {
    stretches: buckets.map(stretchOf),
    count: recent.length,
    successRate: recent.length === 0 ? null : taken / recent.length,
    medianMs: medianOf(recent),
    isCut: recent.length >= PAGE_SIZE,
  };
}

function stretchOf(deliveries: readonly DeliveryView[]): Stretch {
  const taken = deliveries.filter(isTaken).length;
  return { taken, failed: deliveries.length - taken, medianMs: medianOf(deliveries) };
}

function isTaken({ state }: DeliveryView): boolean {
  return state === 'delivered';
}

function medianOf(deliveries: readonly DeliveryView[]): number | null {
  const times = deliveries
    .flatMap(({ last }) => (last === null ? [] : [last.duration_ms]))
    .sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? null;
}

/** The last hour of a receiver: what it took, and how fast. */
export function LastHour({ deliveries }: { deliveries: readonly DeliveryView[] }) {
  const hour = hourOf(deliveries, Date.now());
  return (
    <div class="hour">
      <Sparkline hour={hour} />
      <div class="scale" aria-hidden="true">
        {['60 min ago', '30', 'now'].map((text, at) => (
          <span key={text} style={{ left: `${at * 50}%` }}>
            {text}
          </span>
        ))}
      </div>
      <HourFigures hour={hour} />
    </div>
  );
}

function HourFigures({ hour }: { hour: Hour }) {
  const { count, isCut, successRate: rate, medianMs } = hour;
  if (count === 0) {
    return (
      <div class="hour-figures">
        <span class="faint">Nothing sent in the last hour</span>
      </div>
    );
  }
  return (
    <div class="hour-figures">
      <span>
        <strong class={`num ${rate !== null && rate < 0.95 ? 'tone-bad' : ''}`}>
          {rate === null ? '–' : percentText(rate)}
        </strong>{' '}
        <span class="faint">taken</span>
      </span>
      <span>
        <strong class="num">{medianMs === null ? '–' : lengthText(medianMs)}</strong>{' '}
        <span class="faint">median</span>
      </span>
      <span class="faint">{`${isCut ? 'last ' : ''}${countText(count)} in the last hour`}</span>
    </div>
  );
}

const WIDTH = 240;
const HEIGHT = 40;

/** Deliveries of the last hour as columns, what failed hatched; the line is how long answers took. */
function Sparkline({ hour: { stretches, count } }: { hour: Hour }) {
  const step = WIDTH / stretches.length;
  const most = Math.max(1, ...stretches.map(({ taken, failed }) => taken + failed));
  const slowest = Math.max(1, ...stretches.map(({ medianMs }) => medianMs ?? 0));
  const y = (ms: number) => HEIGHT - 4 - (ms / slowest) * (HEIGHT - 10);
  const points = stretches.flatMap(({ medianMs }, at) =>
    medianMs === null ? [] : [`${(at + 0.5) * step},${y(medianMs)}`],
  );
  const failed = stretches.reduce((sum, one) => sum + one.failed, 0);
  return (
    <svg
      class="sparkline"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`${count} deliveries in the last hour, ${failed} not taken, answers took up to ${lengthText(slowest)}`}
    >
      <line class="base" x1={0} x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
      {stretches.map(({ taken, failed: lost }, at) => {
        const tall = (lost / most) * (HEIGHT - 2);
        const rest = (taken / most) * (HEIGHT - 2);
        return (
          <g key={at}>
            {taken > 0 && (
              <rect
                class="taken"
                x={at * step + 1}
                width={step - 2}
                y={HEIGHT - rest}
                height={rest}
              />
            )}
            {lost > 0 && (
              <rect
                class="lost"
                x={at * step + 1}
                width={step - 2}
                y={HEIGHT - rest - tall}
                height={tall}
              />
            )}
          </g>
        );
      })}
      {points.length > 1 && <polyline points={points.join(' ')} />}
    </svg>
  );
}
