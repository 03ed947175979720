/** What clients send as `X-API-Key`, unless a test sets another. */
export const SIMULATOR_API_KEY = 'noxus-simulator-key';
