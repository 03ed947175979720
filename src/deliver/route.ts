import type { Channel } from './channel.ts';

/** Where a delivery goes and how often it is tried. */
export interface Route {
  channel: Channel;
  /** Delays in ms after the first, second, … failed attempt. */
  retry: readonly number[];
}
