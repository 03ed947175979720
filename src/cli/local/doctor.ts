/** What doctor finds without a daemon. What it asks of one, and how all is shown, is in `cli/verbs/doctor.ts`. */
import { loadConfig } from '../../config/load.ts';
import { formatProblem } from '../../config/problems.ts';
import type { Config, SourceConfig } from '../../config/schema.ts';
import { loadSourceAuthorities } from '../../config/tls-files.ts';
import { messageOf } from '../../core/errors.ts';
import { kindOf as configuredKind, type KindOf } from '../../source/kinds.ts';
import { serverChecks, type Diagnosis } from '../diagnosis.ts';
import type { LocalVerbs } from './local-verbs.ts';

/** What can be found out without a daemon. */
export interface LocalInspection {
  configuration: Diagnosis[];
  /** True where a configuration was found here that a daemon could start with. */
  isConfigured: boolean;
  /** Asks Redis and the sources themselves. */
  inspectOutside: () => Promise<Diagnosis[]>;
  /** Asks those of these sources that are configured here. */
  inspectSources: (names: readonly string[]) => Promise<Diagnosis[]>;
}

/** What is asked of Redis, and as whom sources are asked. */
type Probes = Pick<LocalVerbs, 'probeRedis' | 'findOwnServer' | 'userAgent'>;

interface InspectionOptions {
  /** The environment of this process, unless given. */
  env?: NodeJS.ProcessEnv;
  /** Of what kind sources are; as their configuration says, unless given. */
  kindOf?: KindOf;
}

/** Checks the configuration here and, where asked to, Redis and the sources that it names. */
export async function inspectInstallation(
  local: Probes,
  configPath: string | undefined,
  { env, kindOf = configuredKind }: InspectionOptions = {},
): Promise<LocalInspection> {
  const loaded = loadConfig({ purpose: 'serve', configPath, ...(env !== undefined && { env }) });
  const warnings = loaded.warnings.map((one): Diagnosis => ({
    name: 'configuration',
    status: 'warning',
    detail: formatProblem(one),
    cure: null,
  }));
  if (loaded.kind === 'invalid') {
    const problems = loaded.problems.map((one): Diagnosis => ({
      name: 'configuration',
      status: 'problem',
      detail: formatProblem(one),
      cure: null,
    }));
    // All that is missing are sources: nothing is configured here.
    const isEmpty = loaded.problems.every(
      ({ path, place }) => path.join('.') === 'sources' && place === undefined,
    );
    return {
      configuration: [...problems, ...warnings],
      isConfigured: !isEmpty,
      inspectOutside: async () => [],
      inspectSources: async () => [],
    };
  }
  const { config, file } = loaded;
  const good: Diagnosis = {
    name: 'configuration',
    status: 'ok',
    detail: file ?? 'from the environment alone',
    cure: null,
  };
  const sourceChecks = (sources: [string, SourceConfig][]) =>
    Promise.all(
      sources.map(([name, source]) =>
        sourceCheck(name, source, { userAgent: local.userAgent, kindOf }),
      ),
    );
  const sources = Object.entries(config.sources);
  return {
    configuration: [good, ...warnings],
    isConfigured: true,
    inspectOutside: async () => [
      ...(await redisChecks(local, config)),
      ...(await sourceChecks(sources)),
    ],
    inspectSources: (names) => sourceChecks(sources.filter(([name]) => names.includes(name))),
  };
}

async function redisChecks(local: Probes, config: Config): Promise<Diagnosis[]> {
  const { url, sentinels, cluster } = config.redis;
  if (url === undefined && sentinels === undefined && cluster === undefined) {
    return [ofOwnServer(await local.findOwnServer())];
  }
  try {
    const server = await local.probeRedis(config);
    const answers: Diagnosis = { name: 'redis', status: 'ok', detail: 'answers', cure: null };
    return [answers, ...(server === null ? [] : serverChecks(server))];
  } catch (error) {
    const cure = 'see that it runs, and that REDIS_URL names it';
    const failed: Diagnosis = { name: 'redis', status: 'problem', detail: messageOf(error), cure };
    return [failed];
  }
}

function ofOwnServer(found: string | null): Diagnosis {
  const name = 'redis';
  if (found !== null) {
    return { name, status: 'ok', detail: `the daemon runs its own: ${found}`, cure: null };
  }
  return {
    name,
    status: 'problem',
    detail: 'no redis-server or valkey-server is installed, and no REDIS_URL is set',
    cure: 'install redis-server (apt), redis (apk, brew) or valkey (dnf), or set REDIS_URL',
  };
}

/** A run that no source has: only the answer matters. */
const NO_RUN = '00000000-0000-4000-8000-000000000000';
const READ_TIMEOUT_MS = 5_000;

/** How a source is asked. */
interface Asking {
  userAgent: string;
  kindOf: KindOf;
}

async function sourceCheck(name: string, source: SourceConfig, asking: Asking): Promise<Diagnosis> {
  try {
    return ofSource(name, source, await askSource(name, source, asking));
  } catch (error) {
    return ofSource(name, source, { kind: 'unavailable', message: messageOf(error) });
  }
}

/** What a source answered; null where only a run shows whether it answers. */
type Answer = { kind: string; message?: string } | null;

/**
 * Asks a source as a daemon would that knows no run of it.
 * @throws RunwatchError where it cannot be asked at all
 */
async function askSource(
  name: string,
  source: SourceConfig,
  { userAgent, kindOf }: Asking,
): Promise<Answer> {
  const kind = kindOf(name, source);
  const port = kind.open({
    timeoutMs: READ_TIMEOUT_MS,
    userAgent,
    maxSockets: 1,
    maxStreams: 1,
    ca: loadSourceAuthorities(name, source),
    proxy: source.proxy,
  });
  try {
    if (port.probe === null) return null;
    const probed = await port.probe();
    // A key that may read runs need not be one that may list them.
    const isDenied = probed.kind === 'not_offered' && kind.traits.idProblem(NO_RUN) === null;
    return isDenied ? await port.readRun(NO_RUN) : probed;
  } finally {
    port.close();
  }
}

/** What is wrong with where a source is asked. */
function cureOf(kind: string): string {
  return kind === 'invalid_response'
    ? 'see that its base_url is that of its API, not of its pages, and its probe one that answers with JSON'
    : 'see that its base_url is right and can be reached from here';
}

const ANSWERS: ReadonlySet<string> = new Set(['answered', 'run', 'not_found', 'rejected']);

function ofSource(name: string, { type }: SourceConfig, answer: Answer): Diagnosis {
  const what = `source ${name}`;
  const good = (detail: string): Diagnosis => ({ name: what, status: 'ok', detail, cure: null });
  if (answer === null) {
    return good(
      'not asked: only a run of it shows whether it answers, as by ' +
        `\`runwatch try <run-id> --source ${name}\``,
    );
  }
  if (ANSWERS.has(answer.kind)) return good('answers');
  const detail = answer.message ?? answer.kind;
  const isRefused = answer.kind === 'unauthorized' || answer.kind === 'forbidden';
  const accepted =
    type === 'http'
      ? 'give it headers that its API accepts (sources.*.headers)'
      : 'give it a key of this workspace (NOXUS_API_KEY, or sources.*.api_key)';
  const cure = isRefused ? accepted : cureOf(answer.kind);
  return { name: what, status: 'problem', detail, cure };
}
