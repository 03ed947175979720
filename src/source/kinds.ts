import type { SourceConfig } from '../config/schema.ts';
import type { SourceTraits } from '../core/source/traits.ts';
import { NOXUS_TRAITS } from '../noxus/traits.ts';

/** What a source is, by its name and configuration. */
type TraitsOf = (name: string, config: SourceConfig) => SourceTraits;

/** Every source is a Noxus workspace. */
export const traitsOf: TraitsOf = () => NOXUS_TRAITS;
