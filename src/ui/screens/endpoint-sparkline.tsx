import { lengthText } from '../parts/format.ts';
import type { Hour } from './endpoint-hour.ts';

const WIDTH = 240;
const HEIGHT = 40;

/** Deliveries of the last hour as columns, what failed hatched; the line is how long answers took. */
export function Sparkline({ hour: { stretches, count } }: { hour: Hour }) {
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
