import { loadConfig } from '../../config/load.ts';
import { formatProblem } from '../../config/problems.ts';
import type { Config, SourceConfig } from '../../config/schema.ts';
import { messageOf } from '../../core/errors.ts';
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

/** What is asked of Redis and of sources. */
type Probes = Pick<LocalVerbs, 'probeRedis' | 'findOwnServer' | 'createRunReader' | 'userAgent'>;

/** Checks the configuration here and, where asked to, Redis and the sources that it names. */
export async function inspectInstallation(
  local: Probes,
  configPath: string | undefined,
  env?: NodeJS.ProcessEnv,
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
  return {
    configuration: [good, ...warnings],
    isConfigured: true,
    inspectOutside: async () => [
      ...(await redisChecks(local, config)),
      ...(await sourceChecks(local, Object.entries(config.sources))),
    ],
    inspectSources: (names) =>
      sourceChecks(
        local,
        Object.entries(config.sources).filter(([name]) => names.includes(name)),
      ),
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

function sourceChecks(local: Probes, sources: [string, SourceConfig][]): Promise<Diagnosis[]> {
  return Promise.all(
    sources.map(async ([name, source]) => {
      const reader = await local.createRunReader({
        baseUrl: source.base_url,
        apiKey: source.api_key,
        timeoutMs: READ_TIMEOUT_MS,
        userAgent: local.userAgent,
        maxSockets: 1,
        maxStreams: 1,
        proxy: source.proxy,
      });
      try {
        const result = await reader.readRun(NO_RUN, {
          signal: AbortSignal.timeout(READ_TIMEOUT_MS),
        });
        return ofSource(name, result);
      } catch (error) {
        return ofSource(name, { kind: 'unavailable', message: messageOf(error) });
      } finally {
        reader.close();
      }
    }),
  );
}

const ANSWERS: ReadonlySet<string> = new Set(['run', 'not_found', 'rejected']);

function ofSource(name: string, result: { kind: string; message?: string }): Diagnosis {
  const what = `source ${name}`;
  if (ANSWERS.has(result.kind)) return { name: what, status: 'ok', detail: 'answers', cure: null };
  const detail = result.message ?? result.kind;
  const isRefused = result.kind === 'unauthorized' || result.kind === 'forbidden';
  const cure = isRefused
    ? 'give it a key of this workspace (NOXUS_API_KEY, or sources.*.api_key)'
    : 'see that its base_url is right and can be reached from here';
  return { name: what, status: 'problem', detail, cure };
}
