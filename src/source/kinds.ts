import type { SourceConfig } from '../config/schema.ts';
import type { SourceHeaders, SourcePort } from '../core/source/port.ts';
import type { SourceTraits } from '../core/source/traits.ts';
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

/** Every source is a Noxus workspace. */
export const kindOf: KindOf = (_name, { base_url: baseUrl, api_key }) => {
  const headers = noxusHeaders(api_key);
  return {
    traits: NOXUS_TRAITS,
    headers,
    open: (options) => openNoxus({ ...options, baseUrl, headers }),
  };
};

/** What a source is and can be asked, for what has only its configuration. */
export function traitsOf(name: string, config: SourceConfig): SourceTraits {
  return kindOf(name, config).traits;
}
