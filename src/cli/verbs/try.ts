import { isKnownStatus, percentText } from '../../core/run/snapshot.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import type { LocalVerbs } from '../local/local-verbs.ts';
import type { TryFlags, TryView } from '../local/try.ts';
import type { Output } from '../output.ts';
import { renderFields, renderTable, type Column } from '../render/table.ts';
import { exactly, lasting, paint, plain } from '../render/text.ts';
import { writeJson } from '../report.ts';

interface TryVerbFlags extends TryFlags {
  json?: boolean;
}

export function addTryVerb(cli: CommandLine, local: LocalVerbs): void {
  cli.program
    .command('try <run-id>')
    .description('read a run once, and show what becomes of its answer')
    .option('--source <name>', 'the source that the run belongs to')
    .option('--answer <path>', 'read this recorded answer, and ask no source; - is standard input')
    .option('--also-answer <path>', 'the recorded answer to the second request, of `also`')
    .option('--config <path>', 'the configuration file')
    .option('--json', 'print it as JSON')
    .addHelpText('after', HELP)
    .action((run: string, { json, ...flags }: TryVerbFlags) =>
      cli.run(async () => {
        const view = await local.tryRun(run, flags);
        if (view === null) return EXIT.usage;
        if (json === true) writeJson(cli.io.stdout, view);
        else cli.io.stdout.write(render(view, cli));
        return view.run !== null && isKnownStatus(view.run.status) ? EXIT.ok : EXIT.failure;
      }),
    );
}

const HELP = `
It needs no daemon and no Redis. It shows each request, what each path of the source finds in the answer,
the status and why, what a daemon would do, and what to mend. Nothing else of the answer is shown, and
no header. With --answer, no variable of a header need be set.
Exits 0 when the answer shows a run in a known status, 1 when it does not, and 2 when something is wrong
with the configuration or the call.

Examples:
  runwatch try acme/shop/16437219845 --source github
  runwatch try 4711 --config jobs.yaml --answer answer.json
  curl -s https://jobs.example.com/jobs/4711 | runwatch try 4711 --answer -`;

type Field = readonly [string, string];

function render(view: TryView, { io: { stdout }, now }: CommandLine): string {
  const { colors } = stdout;
  const head: Field[] = [
    ['run', colors.bold(plain(view.run_id))],
    ['source', `${plain(view.source)} (${view.type})`],
  ];
  const requests = view.requests.map(
    (request) => `\n${colors.bold(titleOf(request))}\n${requestText(request, stdout)}`,
  );
  const result = `\n${colors.bold('Result')}\n${renderFields(resultFields(view, stdout, now()), stdout)}`;
  return renderFields(head, stdout) + requests.join('') + result;
}

type Request = TryView['requests'][number];

function titleOf({ of }: Request): string {
  return of === 'run' ? 'Read of the run' : 'Second read, by also';
}

function requestText(request: Request, stdout: Output): string {
  const { method, url, recorded, status, duration_ms: ms, problem, values } = request;
  const answer = recorded === null ? liveText(status, ms) : `recorded in ${plain(recorded)}`;
  const fields: Field[] = [
    ['request', `${method} ${plain(url)}`],
    ['answer', answer],
    ...(problem === null ? [] : [['problem', stdout.colors.red(plain(problem))] as const]),
  ];
  const table = values.length === 0 ? '' : `\n${renderTable(values, COLUMNS, stdout)}`;
  return renderFields(fields, stdout) + table;
}

function liveText(status: number | null, ms: number | null): string {
  if (ms === null) return 'none';
  return status === null ? `none after ${lasting(ms)}` : `status ${status} after ${lasting(ms)}`;
}

/** Longest value that is shown, characters. */
const MAX_VALUE = 100;

const COLUMNS: Column<Request['values'][number]>[] = [
  { head: 'KEY', value: ({ key }) => key },
  { head: 'PATH', value: ({ path }) => path },
  {
    head: 'VALUE',
    value: ({ value }) => (value === null ? 'nothing found' : shortened(value)),
  },
];

function shortened(value: string): string {
  return value.length <= MAX_VALUE ? value : `${value.slice(0, MAX_VALUE)}…`;
}

function resultFields(view: TryView, { colors }: Output, now: number): Field[] {
  const { run, message, reasons, hints } = view;
  const hint = hints.map(plain).join('\n');
  return [
    ...(run === null
      ? [['no run', colors.red(plain(message ?? view.result))] as const]
      : runFields(view, run, { colors, now })),
    ...(reasons.length === 0 ? [] : [['because', reasons.map(plain).join('\n')] as const]),
    ['next', plain(view.next)],
    ...(hint === '' ? [] : [['to do', colors.yellow(hint)] as const]),
  ];
}

function runFields(
  { workflow_name: name, run_url: url }: TryView,
  run: NonNullable<TryView['run']>,
  { colors, now }: { colors: Output['colors']; now: number },
): Field[] {
  const { workflow_id: id, source_status: word, progress, attempt } = run;
  const status = isKnownStatus(run.status)
    ? paint(plain(run.status), run.status, colors)
    : `${colors.yellow(plain(run.status))}, which is none of the six statuses`;
  const workflow = name === null || name === id ? id : `${name} (${id ?? 'no id'})`;
  const times = (['created_at', 'started_at', 'finished_at'] as const).flatMap((field) =>
    run[field] === null ? [] : [[field.replace('_at', ''), exactly(run[field], now)] as const],
  );
  return [
    ['status', progress === null ? status : `${status} (${percentText(progress)})`],
    ...(word === undefined ? [] : [["the source's word", plain(word)] as const]),
    ...(attempt === undefined ? [] : [['attempt', String(attempt)] as const]),
    ...(workflow === null ? [] : [['workflow', plain(workflow)] as const]),
    ...times,
    ...(url === null ? [] : [['link', plain(url)] as const]),
  ];
}
