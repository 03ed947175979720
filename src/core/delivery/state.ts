/** Whether a delivery in this state may still be attempted. */
export function isOutstanding(state: string): boolean {
  return state === 'pending' || state === 'parked';
}

/**
 * A state as people read it, `waiting for ops`: whether a delivery that waits is parked is a matter of the relay.
 * @param endpoint the receiver, unless it stands beside
 */
export function deliveryText(state: string, endpoint?: string): string {
  if (!isOutstanding(state)) return state;
  return endpoint === undefined ? 'waiting' : `waiting for ${endpoint}`;
}
