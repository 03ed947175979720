import type { HttpSourceConfig, NoxusSourceConfig, SourceConfig } from '../config/schema.ts';
import type { SourceHeaders, SourcePort } from '../core/source/port.ts';
import type { SourceTraits } from '../core/source/traits.ts';
import { openDeclared } from '../declared/port.ts';
import { declaredTraits } from '../declared/traits.ts';
import { noxusHeaders, openNoxus, type NoxusOptions } from '../noxus/port.ts';
import { NOXUS_TRAITS } from '../noxus/traits.ts';

/** By what a source is opened, besides its configuration. */
type OpenOptions = Omit<NoxusOptions, 'baseUrl' | 'headers'>;

/** What a source is, and how it is opened. */
export interface SourceKind {
  readonly traits: SourceTraits;
  /** What each request carries; all of it is secret. */
  readonly headers: SourceHeaders;
  /**
   * Sends nothing.
   * @throws RunwatchError `invalid_source` when no request could ever be made
   */
  open(options: OpenOptions): SourcePort;
}

/** Of what kind a source is, by its name and configuration. */
export type KindOf = (name: string, config: SourceConfig) => SourceKind;

export const kindOf: KindOf = (name, config) =>
  config.type === 'http' ? declaredKind(name, config) : noxusKind(config);

function noxusKind({ base_url: baseUrl, api_key }: NoxusSourceConfig): SourceKind {
  const headers = noxusHeaders(api_key);
  return {
    traits: NOXUS_TRAITS,
    headers,
    open: (options) => openNoxus({ ...options, baseUrl, headers }),
  };
}

function declaredKind(name: string, config: HttpSourceConfig): SourceKind {
  const { base_url: baseUrl, headers } = config;
  return {
    traits: declaredTraits(name, config),
    headers,
    open: (options) => openDeclared({ ...options, baseUrl, headers, declaration: config }),
  };
}
