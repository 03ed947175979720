import { FIXED_INTERVAL_MS, type Figures } from './figures.ts';
import { BLANK, bold, dim, inColorOf, seconds, text, type Line } from './line.ts';

const LABEL_WIDTH = 14;
const TYPE_WIDTH = 28;
const COUNT_WIDTH = 6;

/** The figures for people. Every line fits into 80 columns. */
export function summaryLines(figures: Figures): Line[] {
  return [
    BLANK,
    [bold('Events'.padEnd(TYPE_WIDTH)), dim('  seen'), dim('  told')],
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
    text(shown.padStart(COUNT_WIDTH)),
  ];
}

function toldLines({ sent, verified, turnedAway, duplicates }: Figures): Line[] {
  return [
    field('Told', `${verified} webhooks verified by their signatures, ${duplicates} of them twice`),
    hanging(`(${sent} sent: the receiver answered ${turnedAway} with 503, and got it again)`),
  ];
}

function lateLines({ late }: Figures): Line[] {
  if (late === null) return [];
  const { medianMs, maxMs, maxUnhinderedMs, hindrance, runs } = late;
  const latest = `p50 ${seconds(medianMs)}, max ${seconds(maxMs)}`;
  const source = `from finished_at to arrival, of ${runs} runs`;
  const why = `the latest: ${hindrance}; with nothing in the way max ${seconds(maxUnhinderedMs)}`;
  return [
    field('How late', `${latest}, ${source}`),
    ...(hindrance === null ? [] : [hanging(`(${why})`)]),
  ];
}

function requestLines({ requests, fixed }: Figures): Line[] {
  const { total, perRun, atOnceForOneRun, inPause } = requests;
  const once = `at most ${atOnceForOneRun} at once for a run`;
  const pause = inPause === null ? '' : ` ${inPause} in the pause that Noxus asked for`;
  const every = `Every ${FIXED_INTERVAL_MS / 1_000} s`;
  return [
    field('Requests', `${total} to Noxus, ${perRun.toFixed(1)} per run, ${once},${pause}`),
    field(every, `${fixed.requests} requests, told ${seconds(fixed.meanDelayMs)} late on average`),
    hanging('(computed for the same runs, not measured)'),
  ];
}

function balanceLines({ balance }: Figures): Line[] {
  const states = Object.entries(balance.counts).filter(
    ([state, count]) => count > 0 || state === 'pending' || state === 'dead',
  );
  const sum = states.map(([state, count]) => `${count} ${state}`).join(' + ');
  const verdict = balance.addsUp ? '' : ' does not add up';
  return [field('Deliveries', `${balance.owed} events × 1 receiver = ${sum}${verdict}`)];
}

function field(label: string, value: string): Line {
  return [bold(label.padEnd(LABEL_WIDTH)), text(value)];
}

function hanging(value: string): Line {
  return [text(' '.repeat(LABEL_WIDTH)), dim(value)];
}
