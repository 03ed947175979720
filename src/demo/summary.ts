import { count } from '../cli/render/text.ts';
import { FIXED_INTERVAL_MS, type Figures } from './figures.ts';
import { BLANK, bold, dim, inColorOf, seconds, text, type Line } from './line.ts';

const LABEL_WIDTH = 14;
const TYPE_WIDTH = 28;
const COUNT_WIDTH = 6;
const DELIVERED_WIDTH = 11;

/** The figures for people. Every line fits into 80 columns. */
export function summaryLines(figures: Figures): Line[] {
  return [
    BLANK,
    [
      bold('Events'.padEnd(TYPE_WIDTH)),
      dim('seen'.padStart(COUNT_WIDTH)),
      dim('delivered'.padStart(DELIVERED_WIDTH)),
    ],
    ...figures.byType.map(typeLine),
    BLANK,
    ...toldLines(figures),
    ...lateLines(figures),
    ...requestLines(figures),
    ...balanceLines(figures),
  ];
}

function typeLine({ type, seen, told }: Figures['byType'][number]): Line {
  const shown = told === 0 ? '–' : String(told);
  return [
    inColorOf(type, type.padEnd(TYPE_WIDTH)),
    text(String(seen).padStart(COUNT_WIDTH)),
    text(shown.padStart(DELIVERED_WIDTH)),
  ];
}

function toldLines({ sent, verified, turnedAway, duplicates }: Figures): Line[] {
  const twice = duplicates === 0 ? 'none of them twice' : `${duplicates} of them again`;
  return [
    field('Delivered', `${count(verified, 'webhook')}, each verified by its signature, ${twice}`),
    hanging(`${sent} attempts: ${turnedAway} got a 503 from the receiver, and was repeated`),
  ];
}

function lateLines({ late }: Figures): Line[] {
  if (late === null) return [];
  const { medianMs, maxMs, maxUnhinderedMs, hindrance, runs } = late;
  const figures = `p50 ${seconds(medianMs)}, max ${seconds(maxMs)}`;
  const why = `the slowest: ${hindrance}; the others: max ${seconds(maxUnhinderedMs)}`;
  return [
    field('Delay', `${figures}, from finished_at to arrival (${count(runs, 'run')})`),
    ...(hindrance === null ? [] : [hanging(why)]),
  ];
}

function requestLines({ requests, fixed }: Figures): Line[] {
  const { total, perRun, atOnceForOneRun, inPause } = requests;
  const once = atOnceForOneRun === 1 ? 'never two' : `up to ${atOnceForOneRun}`;
  const delay = `a mean delay of ${seconds(fixed.meanDelayMs)}`;
  return [
    field(
      'Requests',
      `${total} to Noxus, ${perRun.toFixed(1)} per run, ${once} at once for one run`,
    ),
    ...(inPause === null ? [] : [hanging(`${inPause} in the pause that Noxus had asked for`)]),
    field(
      `Every ${FIXED_INTERVAL_MS / 1_000} s`,
      `${fixed.requests} requests, ${delay} (computed, not measured)`,
    ),
  ];
}

function balanceLines({ balance }: Figures): Line[] {
  const { delivered = 0, pending = 0, dead = 0, ...others } = balance.counts;
  const rest = Object.entries(others).filter(([, number]) => number > 0);
  const states = [['delivered', delivered], ['pending', pending], ['dead', dead], ...rest];
  const sum = states.map(([state, number]) => `${number} ${state}`).join(' + ');
  const sign = balance.addsUp ? '=' : '≠';
  return [field('Deliveries', `${balance.owed} events × 1 receiver ${sign} ${sum}`)];
}

function field(label: string, value: string): Line {
  return [bold(label.padEnd(LABEL_WIDTH)), text(value)];
}

function hanging(value: string): Line {
  return [text(' '.repeat(LABEL_WIDTH)), dim(value)];
}
