import { Option } from 'commander';
import { SIMULATOR_API_KEY } from '../../simulator/simulation.ts';
import type { CommandLine } from '../command-line.ts';
import type { LocalVerbs } from '../local/local-verbs.ts';
import type { ServeOptions } from '../local/serve.ts';
import { portNumber } from '../options.ts';

/* Verbs that do their work in this process instead of asking a daemon. */

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];
const DEFAULT_LISTEN_PORT = 8788;
const DEFAULT_SIMULATE_PORT = 8789;

interface ServeFlags extends Omit<ServeOptions, 'configPath'> {
  config?: string;
}

export function addServeVerb(cli: CommandLine, local: LocalVerbs): void {
  cli.program
    .command('serve')
    .description('run the daemon')
    .option('--config <path>', 'the configuration file')
    .option('--host <host>', 'the address to listen on')
    .option('--port <port>', 'the port to listen on', portNumber)
    .option('--data-dir <path>', 'where the own Redis keeps its data')
    .addOption(new Option('--log-level <level>', 'what is logged').choices(LOG_LEVELS))
    .option('--strict', 'refuse a configuration that cannot work, instead of warning')
    .option('--no-deliver', 'observe and show, and send and delete nothing: deliveries wait')
    .addHelpText('after', SERVE_HELP)
    .action(({ config, ...flags }: ServeFlags) =>
      cli.runUnguarded(() =>
        local.serve({ ...flags, ...(config !== undefined && { configPath: config }) }),
      ),
    );
}

const SERVE_HELP = `
Flags win over the environment, the environment over the file. Without REDIS_URL the daemon runs a
Redis of its own. SIGTERM or Ctrl-C ends it in order; a second one ends it at once.

Examples:
  NOXUS_API_KEY=... runwatch serve
  runwatch serve --config /etc/runwatch/runwatch.yaml --log-level debug
  runwatch serve --no-deliver --data-dir /tmp/trial   looks at a backup`;

interface ShowConfigFlags {
  config?: string;
  check?: boolean;
  strict?: boolean;
  json?: boolean;
  schema?: boolean;
}

export function addConfigVerb(cli: CommandLine, local: LocalVerbs): void {
  cli.program
    .command('config')
    .description('show the configuration, without its secrets')
    .option('--config <path>', 'the configuration file')
    .option('--check', 'only say whether it is good')
    .option('--strict', 'take warnings for errors')
    .option('--json', 'print it as JSON')
    .addOption(
      new Option('--schema', 'print the JSON Schema of the file, for editors').conflicts([
        'config',
        'check',
        'strict',
      ]),
    )
    .addHelpText('after', CONFIG_HELP)
    .action(({ config, check, strict, json, schema }: ShowConfigFlags) =>
      cli.run(() => {
        if (schema === true) return local.showConfigSchema();
        return local.showConfig({
          check: check === true,
          strict: strict === true,
          json: json === true,
          ...(config !== undefined && { configPath: config }),
        });
      }),
    );
}

const CONFIG_HELP = `
Exits 2 when something is wrong with it, and says where. What is valid but cannot work, or is not safe,
is a warning; --strict makes it an error. It connects nowhere.

With --schema, an editor completes keys and says what is wrong, where the first line of the file is
# yaml-language-server: $schema=runwatch.schema.json

Examples:
  runwatch config
  runwatch config --schema > runwatch.schema.json
  runwatch config --check --strict --config runwatch.yaml`;

export function addReencryptVerb(cli: CommandLine, local: LocalVerbs): void {
  cli.program
    .command('reencrypt')
    .description('encrypt the kept secrets with the first key')
    .option('--config <path>', 'the configuration file')
    .option('--discard', 'give up what no key decrypts')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', REENCRYPT_HELP)
    .action(({ config, json, discard }: { config?: string; json?: boolean; discard?: boolean }) =>
      cli.run(() =>
        local.reencrypt({
          json: json === true,
          discard: discard === true,
          ...(config !== undefined && { configPath: config }),
        }),
      ),
    );
}

const REENCRYPT_HELP = `
To replace a key: put the new one before the old one in RUNWATCH_ENCRYPTION_KEY or encryption.keys,
restart every daemon, run this, and then take the old key away. It may be interrupted and repeated.
The key that a daemon made for itself, in its data directory, counts as the last of the old ones.
Exits 1 when no key decrypts something, and names it. A daemon whose key is lost does not start: with
--discard, webhooks of watches and rotated secrets that were encrypted by it are given up.

Examples:
  RUNWATCH_ENCRYPTION_KEY=<new>,<old> runwatch reencrypt
  runwatch reencrypt --discard`;

export function addListenVerb(cli: CommandLine, local: LocalVerbs): void {
  cli.program
    .command('listen')
    .description('receive webhooks, verify and print the events')
    .option('--port <port>', 'the port to listen on', portNumber, DEFAULT_LISTEN_PORT)
    .option('--json', 'print one event on a line')
    .addHelpText('after', LISTEN_HELP)
    .action(({ port, json }: { port: number; json?: boolean }) =>
      cli.run(() => {
        const secret = cli.env.webhookSecret();
        return local.listen({
          port,
          secrets: secret === undefined ? [] : [secret],
          json: json === true,
        });
      }),
    );
}

const LISTEN_HELP = `
Signatures are verified with RUNWATCH_WEBHOOK_SECRET (or RUNWATCH_WEBHOOK_SECRET_FILE).

Examples:
  runwatch listen
  RUNWATCH_WEBHOOK_SECRET=whsec_... runwatch listen --port 9000 --json`;

export function addSimulateVerb(cli: CommandLine, local: LocalVerbs): void {
  cli.program
    .command('simulate')
    .description('run a fake Noxus with scripted runs')
    .option('--port <port>', 'the port to listen on', portNumber, DEFAULT_SIMULATE_PORT)
    .addHelpText('after', SIMULATE_HELP)
    .action(({ port }: { port: number }) => cli.run(() => local.simulate({ port })));
}

const SIMULATE_URL = `http://127.0.0.1:${DEFAULT_SIMULATE_PORT}`;

const SIMULATE_HELP = `
It listens on 127.0.0.1 and takes one API key, ${SIMULATOR_API_KEY}. It serves
what the official noxus-sdk asks for: start, read, stream, list, stop and delete runs.
Each of its workflows has the name of what its runs do; a run plays another story
where its input says {"story": "<name>"}.

Examples:
  runwatch simulate
  NOXUS_BACKEND_URL=${SIMULATE_URL} \\
    NOXUS_API_KEY=${SIMULATOR_API_KEY} runwatch serve

With the SDK (pip install noxus-sdk):
  from noxus_sdk.client import Client
  client = Client("${SIMULATOR_API_KEY}", "${SIMULATE_URL}")
  flows = {flow.name: flow for flow in client.workflows.list(page_size=100)}
  run = flows["completes"].run({"n": 1}, callback_url="http://127.0.0.1:9000")
  print(run.id, run.wait().output)
  print(client.runs.get(run.workflow_id, run.id).status)`;

export function addDemoVerb(cli: CommandLine, local: LocalVerbs): void {
  cli.program
    .command('demo')
    .description('see it all at work on this machine, in a minute')
    .option('--keep', 'stay up afterwards')
    .addHelpText('after', DEMO_HELP)
    .action(({ keep }: { keep?: boolean }) => cli.run(() => local.demo({ keep: keep === true })));
}

const DEMO_HELP = `
It needs no account and no key: Noxus is simulated.

Examples:
  runwatch demo
  runwatch demo --keep`;
