/** What doctor asks of a daemon, with the cures. What it finds without one, with theirs, is in `cli/local/doctor.ts`. */
import type { DaemonClient } from '../../client/client.ts';
import type { ProcessesView, ReadinessView, StoreView } from '../../client/types.ts';
import { messageOf, RunwatchError } from '../../core/errors.ts';
import type { CommandLine } from '../command-line.ts';
import type { Output } from '../output.ts';
import type { LocalInspection } from '../local/doctor.ts';
import type { LocalVerbs } from '../local/local-verbs.ts';
import { serverChecks, type Diagnosis } from '../diagnosis.ts';
import { EXIT } from '../exit.ts';
import { lasting, number, plain } from '../render/text.ts';
import { writeJson } from '../report.ts';
import { daemonCommand, type DaemonFlags } from '../verb.ts';

interface DoctorFlags extends DaemonFlags {
  config?: string;
  json?: boolean;
}

export function addDoctorVerb(cli: CommandLine, local: LocalVerbs): void {
  daemonCommand<'GET /v1/processes' | 'GET /v1/sources' | 'GET /v1/store'>(
    cli.program,
    'doctor',
    'read',
  )
    .description('say what is wrong with this setup, and the cure')
    .option('--config <path>', 'the configuration file')
    .option('--json', 'print the checks as JSON')
    .addHelpText('after', HELP)
    .action((flags: DoctorFlags) =>
      cli.run(async () => {
        const found = await local.inspect(flags.config);
        return report(await diagnose(cli, flags, found), cli, flags);
      }),
    );
}

const HELP = `
It looks at the daemon, its token, Redis, sources, endpoints, clocks and
versions. The daemon has a configuration of its own: what is wrong with that of
this shell is a note, unless --config names a file. It asks a source itself that
has never answered the daemon, where that source is configured here. Where no
daemon answers, it judges the configuration here, and asks Redis and the sources
itself. Exits 0 when all is well, also with warnings and notes, and 1 when
something is wrong.

Examples:
  runwatch doctor
  runwatch doctor --config /etc/runwatch/runwatch.yaml
  runwatch doctor --json | jq '.checks[] | select(.status != "ok")'`;

async function diagnose(
  cli: CommandLine,
  flags: DoctorFlags,
  local: LocalInspection,
): Promise<Diagnosis[]> {
  // What is wrong now is asked for, not in five seconds.
  const client = await cli.connect(flags, { startupMs: 0 });
  const readiness = await client.readiness().catch((error: unknown) => failureOf(error));
  if (readiness instanceof RunwatchError) {
    const daemon: Diagnosis = {
      name: 'daemon',
      status: 'problem',
      detail: messageOf(readiness).split('; ')[0] ?? '',
      cure: 'start it with `runwatch serve`, or name it by RUNWATCH_URL',
    };
    return [...local.configuration, daemon, ...(await local.inspectOutside())];
  }
  return [
    ...besideDaemon(local, flags),
    { name: 'daemon', status: 'ok', detail: `answers at ${client.url}`, cure: null },
    ...(await behindToken(client, cli, local)),
    ...readiness.checks.map(ofReadiness),
  ];
}

/** What of the configuration here counts where a daemon answers: nothing, unless a file of it was named. */
function besideDaemon(
  { configuration, isConfigured }: LocalInspection,
  { config }: DoctorFlags,
): Diagnosis[] {
  if (config !== undefined) return configuration;
  if (!isConfigured) return [NO_CONFIGURATION];
  const [first, ...others] = configuration.filter(({ status }) => status !== 'ok');
  if (first === undefined) return configuration;
  const more = others.length === 0 ? '' : `, and ${others.length} more`;
  return [
    {
      name: 'configuration',
      status: 'note',
      detail: `this shell's configuration was not judged, since the daemon has its own: ${first.detail}${more}`,
      cure: JUDGED_BY_SERVICE,
    },
  ];
}

/** As deploy/systemd, docker-compose.yml and deploy/helm run the service. */
const JUDGED_BY_SERVICE = `to judge the file of the service, with its variables and secrets:
systemd     sudo systemd-run --pipe --wait --quiet --unit=runwatch-check --uid=runwatch \\
              -p LoadCredential=noxus-api-key:/etc/runwatch/noxus-api-key \\
              -p LoadCredential=api-token:/etc/runwatch/api-token \\
              --setenv=NOXUS_API_KEY_FILE=/run/credentials/runwatch-check.service/noxus-api-key \\
              --setenv=RUNWATCH_API_TOKEN_FILE=/run/credentials/runwatch-check.service/api-token \\
              runwatch config --check --config /etc/runwatch/runwatch.yaml
compose     docker compose exec runwatch node dist/main.js config --check
Kubernetes  kubectl exec deploy/runwatch -- node dist/main.js config --check`;

const NO_CONFIGURATION: Diagnosis = {
  name: 'configuration',
  status: 'ok',
  detail: 'none here; the daemon has its own',
  cure: null,
};

function failureOf(error: unknown): RunwatchError {
  if (error instanceof RunwatchError) return error;
  throw error;
}

/** What a daemon answers only to requests with a token. */
async function behindToken(
  client: DaemonClient,
  cli: CommandLine,
  local: LocalInspection,
): Promise<Diagnosis[]> {
  try {
    const [processes, store, sources] = await Promise.all([
      client.listProcesses(),
      client.describeStore(),
      client.listSources(),
    ]);
    const unknown = sources.data.filter(({ state }) => state === 'unknown');
    const hasToken = cli.env.apiToken() !== undefined;
    const detail = hasToken ? 'is taken' : 'none is needed';
    return [
      { name: 'token', status: 'ok', detail, cure: null },
      ...versionChecks(processes, cli.version),
      ...clockChecks(processes),
      ...(store === null ? [] : storeChecks(store)),
      ...(await local.inspectSources(unknown.map(({ name }) => name))),
    ];
  } catch (error) {
    const failure = failureOf(error);
    return [
      { name: 'token', status: 'problem', detail: messageOf(failure), cure: cureOf(failure) },
    ];
  }
}

function cureOf({ code }: RunwatchError): string | null {
  if (code === 'forbidden') return 'give the token the scope read (auth.tokens)';
  return code === 'unauthorized' ? 'set RUNWATCH_API_TOKEN to a token of auth.tokens' : null;
}

function versionChecks({ data }: ProcessesView, own: string): Diagnosis[] {
  const versions = [...new Set(data.map(({ version }) => version))];
  const many = data.length === 1 ? '1 daemon' : `${number(data.length)} daemons`;
  const detail = `${many} of version ${versions.join(' and ')}, this command ${own}`;
  if (versions.every((version) => version === own)) {
    return [{ name: 'versions', status: 'ok', detail, cure: null }];
  }
  return [{ name: 'versions', status: 'warning', detail, cure: 'bring all to one version' }];
}

/** From here on a clock is wrong enough to matter, ms. */
const MOST_SKEW_MS = 1_000;

function clockChecks({ data }: ProcessesView): Diagnosis[] {
  const wrong = data.filter(({ clock_skew_ms: skew }) => Math.abs(skew) >= MOST_SKEW_MS);
  if (wrong.length === 0) {
    return [{ name: 'clocks', status: 'ok', detail: 'agree with that of Redis', cure: null }];
  }
  return wrong.map(({ name, clock_skew_ms: skew }) => ({
    name: 'clocks',
    status: 'warning',
    detail: `the clock of ${name} is ${lasting(Math.abs(skew))} ${skew > 0 ? 'ahead of' : 'behind'} that of Redis`,
    cure: 'let NTP set the clock of that host and of Redis',
  }));
}

function storeChecks({ server, memory }: StoreView): Diagnosis[] {
  const limit: Diagnosis = {
    name: 'memory limit',
    status: 'warning',
    detail: 'Redis has no maxmemory: it grows until its host has no memory left',
    cure: 'set maxmemory in its configuration; docs/operations.md says how much runs take',
  };
  return [
    ...(server === null ? [] : serverChecks(server)),
    ...(memory?.max === null ? [limit] : []),
  ];
}

const STATUSES = { ok: 'ok', degraded: 'warning', failed: 'problem' } as const;

function ofReadiness({ name, status, detail }: ReadinessView['checks'][number]): Diagnosis {
  const cure = status === 'ok' ? null : (CURES[name] ?? null);
  return { name, status: STATUSES[status] ?? 'warning', detail, cure };
}

/** What to do about checks of readiness that do not say so themselves. */
const CURES: Readonly<Record<string, string>> = {
  redis: 'see that Redis runs, has memory and disk, and that REDIS_URL names its primary',
  log: 'see that the disk of the log has room, and that its reader reads; a daemon whose reader has ended has to be started again',
  sources: 'see `runwatch sources`; after the cause is gone, `runwatch sources resume <name>`',
  endpoints: 'see `runwatch endpoints`, and try one with `runwatch endpoints test <name>`',
  discovery:
    'see that the API key or headers of the source may list runs, or name workflows in sources.*.discover where each has a list',
};

const MARKS = { ok: '✔', note: 'ℹ', warning: '⚠', problem: '✘' } as const;

function report(checks: Diagnosis[], { io }: CommandLine, { json }: DoctorFlags): number {
  const problems = checks.filter(({ status }) => status === 'problem').length;
  const warnings = checks.filter(({ status }) => status === 'warning').length;
  const isWell = problems === 0;
  if (json === true) {
    writeJson(io.stdout, { ok: isWell, problems, warnings, checks });
    return isWell ? EXIT.ok : EXIT.failure;
  }
  io.stdout.write(checks.map((check) => `${lineOf(check, io.stdout)}\n`).join(''));
  io.stdout.write(`${summary(problems, warnings)}\n`);
  return isWell ? EXIT.ok : EXIT.failure;
}

function lineOf({ name, status, detail, cure }: Diagnosis, { colors }: Output): string {
  const color = {
    ok: colors.green,
    note: colors.cyan,
    warning: colors.yellow,
    problem: colors.red,
  }[status];
  const what = `${color(MARKS[status])} ${colors.bold(name)}: ${plain(detail)}`;
  if (cure === null) return what;
  const lines = cure.split('\n').map(plain).join('\n      ');
  return `${what}\n    → ${lines}`;
}

function summary(problems: number, warnings: number): string {
  if (problems + warnings === 0) return 'All is well.';
  const parts = [
    ...(problems === 0 ? [] : [problems === 1 ? '1 problem' : `${problems} problems`]),
    ...(warnings === 0 ? [] : [warnings === 1 ? '1 warning' : `${warnings} warnings`]),
  ];
  return `${parts.join(', ')}.`;
}
