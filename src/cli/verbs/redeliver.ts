/** Has a daemon send deliveries again. Which are meant where no state is named is decided in `deliver/replay.ts`. */
import { DELIVERY_STATES } from '../../core/delivery/delivery.ts';
import { RunwatchError } from '../../core/errors.ts';
import { deliveryText } from '../../core/delivery/state.ts';
import type { DaemonClient } from '../../client/client.ts';
import type { RangeBody } from '../../client/types.ts';
import { changeEach, daemonCommand, type DaemonFlags } from '../verb.ts';
import { confirm } from '../confirm.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT, usageError } from '../exit.ts';
import { timeQuery } from '../listing.ts';
import { DELIVERY_STATE_WORDS, deliveryStates, moment, type Moment } from '../options.ts';
import { count, plain } from '../render/text.ts';
import { type Failure, failureOf, note, writeJson } from '../report.ts';
import { resolveIds } from '../resolve.ts';

interface RedeliverFlags extends DaemonFlags {
  endpoint?: string;
  state?: string;
  since?: Moment;
  until?: Moment;
  to?: string;
  yes?: boolean;
  json?: boolean;
}

export function addRedeliverVerb(cli: CommandLine): void {
  daemonCommand<'POST /v1/deliveries/{id}/redeliver' | 'POST /v1/deliveries/redeliver'>(
    cli.program,
    'redeliver [id...]',
    'write',
  )
    .description('deliver again what is dead, skipped or named')
    .option('--endpoint <name>', 'to one endpoint, or to one webhook by its URL')
    .option(
      '--state <state>',
      `in this state; several by comma: ${DELIVERY_STATE_WORDS.join(', ')}`,
      deliveryStates,
    )
    .option('--since <time>', 'created at this time or later, or this long ago', moment)
    .option('--until <time>', 'created before this time', moment)
    .option(
      '--to <name>',
      'send it to this endpoint instead (needs the scope admin instead of write)',
    )
    .option('--yes', 'do not ask')
    .option('--json', "print the API's answer")
    .addHelpText('after', HELP)
    .action((ids: string[], flags: RedeliverFlags) => cli.run(() => redeliver(cli, ids, flags)));
}

const HELP = `
The event ids stay the same, so that receivers know a repeat. A delivery that waits is due at once. Many
deliveries go out as fast as their receivers take them. It asks first without ids, and on a terminal also for
the beginning of an id, which has 8 characters at least; --yes answers.
With --to those that wait go, too; the deliveries that they replace are superseded. Exits 1 when there is
no such delivery, or one could not be delivered again; the others are.

Examples:
  runwatch redeliver dlv_0f3a9c21b7d4_failed_Ww8vXowfSlOaOQ9vCj9_EQ
  runwatch redeliver dlv_0f3a
  runwatch redeliver --endpoint ops --since 2h
  runwatch redeliver --endpoint old-name --to ops
  runwatch redeliver --state delivered --since 2h --until 1h
  runwatch redeliver --endpoint ops --state dead --yes --json | jq .count`;

async function redeliver(cli: CommandLine, ids: string[], flags: RedeliverFlags): Promise<number> {
  const range = rangeOf(flags, cli.now());
  if (ids.length === 0) return redeliverRange(cli, range, flags);
  const { to: _to, ...which } = range;
  if (Object.keys(which).length > 0) {
    throw usageError('give delivery ids, or say by flags which deliveries are meant; not both');
  }
  return redeliverEach(cli, ids, flags);
}

function rangeOf(flags: RedeliverFlags, now: number): RangeBody {
  const { endpoint, state, to } = flags;
  const { since, until } = timeQuery(flags, now);
  return {
    ...(endpoint !== undefined && { endpoint }),
    ...(state !== undefined && { state: statesOf(state) }),
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
    ...(to !== undefined && { to }),
  };
}

/** One state alone goes as it is, which older daemons take as well. */
function statesOf(text: string): NonNullable<RangeBody['state']> {
  const states = DELIVERY_STATES.filter((state) => text.split(',').includes(state));
  const [first] = states;
  return states.length === 1 && first !== undefined ? first : states;
}

async function redeliverRange(
  cli: CommandLine,
  range: RangeBody,
  flags: RedeliverFlags,
): Promise<number> {
  const client = await cli.connect(flags);
  const { stdout, stderr } = cli.io;
  if (flags.yes !== true && !(await confirm(cli, `Deliver again ${inWords(range)}?`))) {
    note(stderr, 'Nothing was delivered again.');
    return EXIT.failure;
  }
  const answer = await client.redeliverRange(range);
  if (flags.json === true) writeJson(stdout, answer);
  else stdout.write(`${count(answer.count, 'delivery goes', 'deliveries go')} out again\n`);
  return EXIT.ok;
}

/** A range in words, for the question before it is redelivered. */
function inWords({ endpoint, state, since, until, to }: RangeBody): string {
  const byDefault = to === undefined ? 'dead or skipped' : 'waiting, dead or skipped';
  const states = new Set([state ?? []].flat().map((one) => deliveryText(one)));
  return [
    `everything ${state === undefined ? byDefault : [...states].join(' or ')}`,
    endpoint === undefined ? 'to all endpoints and webhooks' : `to ${plain(endpoint)}`,
    since === undefined ? '' : `created since ${since}`,
    until === undefined ? '' : `${since === undefined ? 'created ' : ''}until ${until}`,
    to === undefined ? '' : `by endpoint ${plain(to)} instead`,
  ]
    .filter((part) => part !== '')
    .join(' ');
}

async function redeliverEach(
  cli: CommandLine,
  ids: readonly string[],
  flags: RedeliverFlags,
): Promise<number> {
  const client = await cli.connect(flags);
  const { stdout } = cli.io;
  const isJson = flags.json === true;
  const whole = await resolveIds(ids, 'delivery', { client, cli, writes: flags });
  const { results, exitCode } = await changeEach<string, Redelivered>(cli, whole, {
    nameOf: (id) => id,
    async make(id) {
      const sent = await client.redeliver(id, flags.to);
      if (sent === null) throw noDelivery(id);
      if (!isJson) stdout.write(`${plain(sent.id)} goes out again (${plain(sent.event_id)})\n`);
      return sent;
    },
    failed: (id, error) => ({ id, error: failureOf(error) }),
  });
  if (isJson) writeJson(stdout, { results });
  return exitCode;
}

/** What `--json` shows of one delivery: the API's answer, or why there is none. */
type Redelivered =
  | NonNullable<Awaited<ReturnType<DaemonClient['redeliver']>>>
  | { id: string; error: Failure };

function noDelivery(id: string): RunwatchError {
  return new RunwatchError(`${plain(id)}: there is no such delivery`, {
    code: 'delivery_not_found',
  });
}
