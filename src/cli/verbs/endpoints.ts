import { type Command, Option } from 'commander';
import type { EndpointSwitch } from '../../client/client.ts';
import type { EndpointView } from '../../client/types.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import { showRows, wideFlag, type TableView } from '../listing.ts';
import { durationText } from '../options.ts';
import type { Colors } from '../output.ts';
import { attemptText } from '../render/deliveries.ts';
import type { Column } from '../render/table.ts';
import { paint, plain, count, lasting, roughly, upcoming } from '../render/text.ts';
import { note, writeJson } from '../report.ts';
import { daemonCommand, refuseUnknownVerb, type DaemonFlags } from '../verb.ts';
import { openWeb, webFlag, type WebFlags } from '../web.ts';

interface EndpointFlags extends WebFlags {
  wide?: boolean;
  json?: boolean;
}

export function addEndpointsVerb(cli: CommandLine): void {
  const endpoints = daemonCommand<'GET /v1/endpoints'>(cli.program, 'endpoints', 'read')
    .description('list endpoints; test, pause, retry or rotate one')
    .addOption(wideFlag())
    .option('--json', "print the API's answer")
    .addOption(webFlag())
    .helpCommand(false)
    .allowExcessArguments()
    .addHelpText('after', HELP)
    .action((flags: EndpointFlags, command: Command) => {
      refuseUnknownVerb(command);
      return cli.run(() => listEndpoints(cli, flags));
    });
  addEndpointActions(cli, endpoints);
}

const HELP = `
An endpoint that is failing is probed now and then, and its deliveries wait. One that is disabled is
sent nothing until it is resumed.

Examples:
  runwatch endpoints
  runwatch endpoints test ops && echo works
  runwatch endpoints --json | jq '.data[] | select(.health.state != "active")'`;

async function listEndpoints(cli: CommandLine, flags: EndpointFlags): Promise<number> {
  if (flags.web === true) return openWeb(cli, flags, { path: '/endpoints' });
  const client = await cli.connect(flags);
  const page = await client.listEndpoints();
  showRows(cli, flags, { page, none: 'No endpoints are configured.', columns: columnsFor });
  return EXIT.ok;
}

interface ActionFlags extends DaemonFlags {
  json?: boolean;
}

interface RotateFlags extends ActionFlags {
  overlap?: string;
  now?: boolean;
}

type Action<Flags> = (cli: CommandLine, name: string, flags: Flags) => Promise<number>;

/** The routes of the verbs that do something with one endpoint. */
type Acting =
  | 'POST /v1/endpoints/{name}/test'
  | 'POST /v1/endpoints/{name}/pause'
  | 'POST /v1/endpoints/{name}/resume'
  | 'POST /v1/endpoints/{name}/retry'
  | 'GET /v1/endpoints/{name}/secret'
  | 'POST /v1/endpoints/{name}/rotate';

/** Adds the verbs that do something with one endpoint. */
function addEndpointActions(cli: CommandLine, endpoints: Command): void {
  const add = <Flags extends ActionFlags>(verb: string, act: Action<Flags>): Command =>
    daemonCommand<Acting>(endpoints, `${verb} <name>`, 'admin')
      .option('--json', "print the API's answer")
      .allowExcessArguments(false)
      // The list takes --url and --json as well, wherever they stand.
      .action((name: string, _flags: unknown, command: Command) =>
        cli.run(() => act(cli, name, command.optsWithGlobals<Flags>())),
      );

  add('test', testEndpoint)
    .description('send an event of the type runwatch.test now, whatever state it is in')
    .addHelpText('after', TEST_HELP);
  add('pause', switchEndpoint('pause'))
    .description('keep its deliveries until it is resumed')
    .addHelpText('after', examplesOf('pause'));
  add('resume', switchEndpoint('resume'))
    .description('deliver to it again after it was paused or disabled')
    .addHelpText('after', RESUME_HELP);
  add('retry', retryEndpoint)
    .description('send all that waits there now')
    .addHelpText('after', RETRY_HELP);
  add('secret', showSecret)
    .description('print the secret that signs for an endpoint without one of its own')
    .addHelpText('after', SECRET_HELP);
  add<RotateFlags>('rotate', rotateSecret)
    .description('make a new signing secret and print it, this once')
    .option('--overlap <duration>', 'how long the old one signs too (default: 24h)', durationText)
    .addOption(new Option('--now', 'end all old ones at once').conflicts('overlap'))
    .addHelpText('after', ROTATE_HELP);
}

function examplesOf(verb: string): string {
  return `\nExamples:\n  runwatch endpoints ${verb} ops`;
}

const TEST_HELP = `
Exits 0 when the receiver took it, 1 when it did not.

Examples:
  runwatch endpoints test ops && echo works
  runwatch endpoints test ops --json | jq .attempt.response`;

const RESUME_HELP = `
Deliveries that were skipped while it was disabled are not sent until they are redelivered.

Examples:
  runwatch endpoints resume ops
  runwatch redeliver --endpoint ops --state skipped`;

const RETRY_HELP = `
If its circuit breaker is open, one delivery probes at once, and the others follow when it succeeds.

Examples:
  runwatch endpoints retry ops`;

const SECRET_HELP = `
It is derived from the endpoint's name. One that is configured, or was made by a rotation, is shown nowhere.

Examples:
  (umask 077; runwatch endpoints secret ops > secret)`;

const ROTATE_HELP = `
The new secret signs from now on, and both do until the overlap ends, so that the receiver may take
either. It is printed alone on standard output and never shown again. A secret that is lost is no loss:
rotate again, and those before sign on until the time that was promised for each, three in all at the most.

Examples:
  runwatch endpoints rotate ops
  (umask 077; runwatch endpoints rotate ops --overlap 2h > new-secret)`;

/** Exits 1 when the endpoint did not take the test, for scripts. */
async function testEndpoint(cli: CommandLine, name: string, flags: ActionFlags): Promise<number> {
  const client = await cli.connect(flags);
  const test = await client.testEndpoint(name);
  const { stdout } = cli.io;
  const { delivered, attempt } = test;
  if (flags.json === true) {
    writeJson(stdout, test);
  } else {
    const verdict = delivered
      ? paint('delivered', 'delivered', stdout.colors)
      : paint('not delivered', 'failed', stdout.colors);
    const result = plain(attemptText(attempt));
    stdout.write(
      `${verdict} to ${plain(name)}: ${result}, after ${lasting(attempt.duration_ms)}\n`,
    );
    if (attempt.response !== null && attempt.response !== '') {
      stdout.write(`${stdout.colors.dim('answer:')} ${plain(attempt.response)}\n`);
    }
  }
  if (delivered) await offerRetry(cli, name, flags);
  return delivered ? EXIT.ok : EXIT.failure;
}

/** A receiver that took the test takes what waits for it, too. */
async function offerRetry(cli: CommandLine, name: string, flags: ActionFlags): Promise<void> {
  const client = await cli.connect(flags);
  // A token that may test may not be one that may list; the test is done either way.
  const { data } = await client.listEndpoints().catch(() => ({ data: [] }));
  const { counts } = data.find((one) => one.name === name) ?? {};
  const waiting = (counts?.pending ?? 0) + (counts?.parked ?? 0);
  if (waiting === 0) return;
  const what = count(waiting, 'delivery waits', 'deliveries wait');
  note(cli.io.stderr, `${what}: \`runwatch endpoints retry ${plain(name)}\` sends them now.`);
}

async function retryEndpoint(cli: CommandLine, name: string, flags: ActionFlags): Promise<number> {
  const client = await cli.connect(flags);
  const answer = await client.retryEndpoint(name);
  const { stdout } = cli.io;
  if (flags.json === true) writeJson(stdout, answer);
  else stdout.write(`${count(answer.count, 'delivery is', 'deliveries are')} due now\n`);
  return EXIT.ok;
}

function switchEndpoint(to: EndpointSwitch): Action<ActionFlags> {
  return async (cli, name, flags) => {
    const client = await cli.connect(flags);
    const endpoint = await client.switchEndpoint(name, to);
    const { stdout, stderr } = cli.io;
    if (flags.json === true) {
      writeJson(stdout, endpoint);
      return EXIT.ok;
    }
    const { health } = endpoint;
    const state = paint(plain(healthText(health, cli.now())), health.state, stdout.colors);
    stdout.write(`${plain(endpoint.name)} is ${state}\n`);
    const advice = adviceOn(endpoint);
    if (advice !== null) note(stderr, advice);
    return EXIT.ok;
  };
}

/** What is left to do for an endpoint in the state that it came to. */
function adviceOn({ health, counts, ...endpoint }: EndpointView): string | null {
  const name = plain(endpoint.name);
  if (health.state === 'paused') {
    return `Its deliveries are kept until \`runwatch endpoints resume ${name}\`.`;
  }
  if (health.state === 'disabled') {
    return `Its deliveries are skipped until \`runwatch endpoints resume ${name}\`.`;
  }
  return counts.skipped > 0
    ? `What was skipped goes out by \`runwatch redeliver --endpoint ${name} --state skipped\`.`
    : null;
}

async function showSecret(cli: CommandLine, name: string, flags: ActionFlags): Promise<number> {
  const client = await cli.connect(flags);
  const shown = await client.endpointSecret(name);
  const { stdout } = cli.io;
  if (flags.json === true) writeJson(stdout, shown);
  else stdout.write(`${plain(shown.secret)}\n`);
  return EXIT.ok;
}

async function rotateSecret(
  cli: CommandLine,
  name: string,
  { overlap, now, ...flags }: RotateFlags,
): Promise<number> {
  const body = { ...(overlap !== undefined && { overlap }), ...(now === true && { now }) };
  const client = await cli.connect(flags);
  const rotated = await client.rotateEndpoint(name, body);
  const { stdout, stderr } = cli.io;
  if (flags.json === true) writeJson(stdout, rotated);
  else stdout.write(`${plain(rotated.secret)}\n`);
  const { previous_expires_at: end } = rotated;
  const old =
    end === null ? 'No old one signs any more.' : `Old ones sign too until ${plain(end)}.`;
  note(stderr, `This secret of ${plain(name)} signs from now on. ${old} It is not shown again.`);
  return EXIT.ok;
}

type Health = EndpointView['health'];

function columnsFor(_endpoints: unknown, { now, colors }: TableView): Column<EndpointView>[] {
  return [
    { head: 'NAME', value: (endpoint) => endpoint.name },
    {
      head: 'HEALTH',
      value: ({ health }) => healthText(health, now),
      paint: (text, { health }) => paint(text, health.state, colors),
    },
    ...countColumns<EndpointView>(colors),
    {
      head: 'NEXT PROBE',
      value: ({ health }) => upcoming(health.next_probe_at, now),
      passes: true,
    },
    { head: 'TYPE', value: (endpoint) => endpoint.type },
    { head: 'SKIPPED', value: ({ counts }) => String(counts.skipped), align: 'right' },
    { head: 'DEFAULT', value: (endpoint) => (endpoint.default ? 'yes' : '-') },
    { head: 'URL', value: (endpoint) => endpoint.url ?? '-' },
    { head: 'EVENTS', value: (endpoint) => endpoint.events.join(' ') },
  ];
}

type Counted = Pick<EndpointView, 'counts'>;

/** What waits for a receiver, whether it is due or kept while the receiver is unwell, and what came of the rest. */
export function countColumns<Receiver extends Counted>(colors: Colors): Column<Receiver>[] {
  return [
    {
      head: 'WAITING',
      value: ({ counts }) => String(counts.pending + counts.parked),
      align: 'right',
    },
    {
      head: 'DEAD',
      value: ({ counts }) => String(counts.dead),
      paint: (text, { counts }) => (counts.dead > 0 ? colors.red(text) : text),
      align: 'right',
    },
    { head: 'DELIVERED', value: ({ counts }) => String(counts.delivered), align: 'right' },
  ];
}

/** Why an endpoint is disabled, in words; a reason of a newer daemon is shown as it came. */
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
