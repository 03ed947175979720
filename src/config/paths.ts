import { resolveUserPath } from './data-directory.ts';
import type { Config, EndpointConfig } from './schema.ts';

interface Place {
  env: NodeJS.ProcessEnv;
  /** What relative paths start from. */
  cwd: string;
}

/** The configuration with absolute paths, so that it means the same wherever it is used. */
export function resolvePaths(config: Config, place: Place): Config {
  const endpoints = Object.entries(config.endpoints).map(
    ([name, endpoint]) => [name, resolveEndpoint(endpoint, place)] as const,
  );
  return {
    ...config,
    data_dir: resolveUserPath(config.data_dir, place),
    endpoints: Object.fromEntries(endpoints),
  };
}

function resolveEndpoint(endpoint: EndpointConfig, place: Place): EndpointConfig {
  if (endpoint.type !== 'webhook' || endpoint.tls === undefined) return endpoint;
  const paths = Object.entries(endpoint.tls).map(
    ([key, path]) => [key, path === undefined ? path : resolveUserPath(path, place)] as const,
  );
  return { ...endpoint, tls: Object.fromEntries(paths) };
}
