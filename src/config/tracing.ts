import type { Environment } from './environment.ts';
import type { ConfigProblem } from './problems.ts';

/** How traces are exported. OpenTelemetry reads the other standard variables itself. */
export interface TracingSettings {
  /** The share of runs that are traced, 0 to 1. */
  ratio: number;
}

interface ReadTracing {
  /** Null where traces are off. */
  tracing: TracingSettings | null;
  /** Variables that cannot work. They never keep the daemon from starting: they are shared by many programs. */
  warnings: ConfigProblem[];
}

const PREFIX = 'OTEL_EXPORTER_OTLP';

/**
 * Reads the standard variables that decide whether traces are exported, and of which runs:
 * https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export function readTracing(environment: Pick<Environment, 'lookup'>): ReadTracing {
  const read = (name: string) => {
    const found = environment.lookup(name);
    return found.kind === 'found' ? found.text.trim() : null;
  };
  const endpoint = firstOf(read, ['TRACES_ENDPOINT', 'ENDPOINT']);
  const isOff =
    read('OTEL_SDK_DISABLED')?.toLowerCase() === 'true' || read('OTEL_TRACES_EXPORTER') === 'none';
  if (endpoint === null || isOff) return { tracing: null, warnings: [] };
  const problem =
    problemOf(endpoint) ?? protocolProblem(firstOf(read, ['TRACES_PROTOCOL', 'PROTOCOL']));
  if (problem !== null) return { tracing: null, warnings: [problem] };
  return readSampler(read);
}

interface Variable {
  name: string;
  text: string;
}

type Read = (name: string) => string | null;

function firstOf(read: Read, names: readonly string[]): Variable | null {
  for (const name of names.map((one) => `${PREFIX}_${one}`)) {
    const text = read(name);
    if (text !== null) return { name, text };
  }
  return null;
}

function problemOf({ name, text }: Variable): ConfigProblem | null {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return null;
  return { path: [name], message: 'expected an http or https URL; traces are off' };
}

function protocolProblem(protocol: Variable | null): ConfigProblem | null {
  if (protocol === null || protocol.text.startsWith('http/')) return null;
  const cure = 'set http/json, and an endpoint that speaks it (usually port 4318)';
  const message = `traces are exported over HTTP only, so they are off: ${cure}`;
  return { path: [protocol.name], message };
}

const SAMPLER = 'OTEL_TRACES_SAMPLER';

/** The span of a run has no parent, so `parentbased_` samplers are what they are based on. */
function readSampler(read: Read): ReadTracing {
  const sampler = read(SAMPLER)?.replace(/^parentbased_/, '') ?? 'always_on';
  switch (sampler) {
    case 'always_on':
      return { tracing: { ratio: 1 }, warnings: [] };
    case 'always_off':
      return { tracing: null, warnings: [] };
    case 'traceidratio':
      return readRatio(read);
    default: {
      const warning = { path: [SAMPLER], message: 'it is not known, so every run is traced' };
      return { tracing: { ratio: 1 }, warnings: [warning] };
    }
  }
}

function readRatio(read: Read): ReadTracing {
  const name = `${SAMPLER}_ARG`;
  const ratio = Number(read(name) ?? 1);
  if (ratio >= 0 && ratio <= 1) return { tracing: { ratio }, warnings: [] };
  const message = 'expected a number from 0 to 1; every run is traced';
  return { tracing: { ratio: 1 }, warnings: [{ path: [name], message }] };
}
